//! A few routers on one simulated segment that loses, delays and reorders; nodes can freeze.

use std::net::IpAddr;
use std::time::Duration;

use vrrp::{Action, Config, Election, Event, Heard, Interval, Priority, State, Version};

pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// How long a message takes on a healthy segment.
pub(crate) const LATENCY: Duration = Duration::from_millis(1);
/// How long a delayed message takes: it arrives after one that was sent later.
pub(crate) const DELAY: Duration = Duration::from_millis(1500);
/// Nodes never start at the same instant.
const START_OFFSET: Duration = Duration::from_millis(37);

/// More messages and timers than any run of a few intervals has.
const STEPS_MAX: usize = 1000;

/// What goes wrong during one round, which lasts one interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// What this node sends is lost.
    Mute(usize),
    /// What this node would receive is lost.
    Deaf(usize),
    /// What this node sends arrives late.
    Late(usize),
    /// This node does not run; what arrives waits in its socket.
    Frozen(usize),
    /// This node is stopped in good order, if it runs, and started again otherwise.
    StopOrStart(usize),
}

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) machine: Election,
    address: IpAddr,
    interval: Interval,
    pub(crate) has_addresses: bool,
    timer: Option<Duration>,
    waiting: Vec<Heard>,
    started: bool,
}

#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) now: Duration,
    pub(crate) nodes: Vec<Node>,
    flying: Vec<(Duration, usize, Heard)>,
    fault: Fault,
    two_since: Option<Duration>,
    /// The longest time with more than one Active since the measure was reset.
    pub(crate) longest_two: Duration,
    /// How often any node became Active since the measure was reset.
    pub(crate) takeovers: usize,
}

impl Network {
    pub(crate) fn new(priorities: &[u8], preempt: bool, permit_required: bool) -> Self {
        let interval = Interval::from_seconds(1).expect("fits");
        let nodes = priorities.iter().zip(1..).map(|(priority, last_byte)| {
            let address = IpAddr::from([10, 0, 0, last_byte]);
            let machine = Election::new(Config {
                version: Version::V3,
                priority: Priority::new(*priority).expect("not zero"),
                interval,
                primary: address,
                preempt,
                preempt_delay: Duration::ZERO,
                permit_required,
                refresh: None,
            });
            Node {
                machine,
                address,
                interval,
                has_addresses: false,
                timer: None,
                waiting: Vec::new(),
                started: false,
            }
        });
        let mut network = Self {
            now: Duration::ZERO,
            nodes: nodes.collect(),
            flying: Vec::new(),
            fault: Fault::Nothing,
            two_since: None,
            longest_two: Duration::ZERO,
            takeovers: 0,
        };
        for index in 0..network.nodes.len() {
            network.start(index);
            network.now += START_OFFSET;
        }
        network
    }

    pub(crate) fn active(&self) -> Vec<usize> {
        let active = |node: &Node| node.machine.state() == State::Active;
        (0..self.nodes.len()).filter(|index| active(&self.nodes[*index])).collect()
    }

    pub(crate) fn reset_measures(&mut self) {
        self.two_since = self.two_since.map(|_| self.now);
        self.longest_two = Duration::ZERO;
        self.takeovers = 0;
    }

    pub(crate) fn start_all(&mut self) {
        for index in 0..self.nodes.len() {
            self.start(index);
        }
    }

    fn start(&mut self, index: usize) {
        if !self.nodes[index].started {
            self.nodes[index].started = true;
            self.step(index, Event::Startup);
        }
    }

    /// Lets the segment run with one fault in force.
    pub(crate) fn run(&mut self, fault: Fault, length: Duration) {
        self.fault = fault;
        if let Fault::StopOrStart(index) = fault {
            if self.nodes[index].started {
                self.nodes[index].started = false;
                self.step(index, Event::Shutdown);
            } else {
                self.start(index);
            }
        }
        let end = self.now + length;
        let mut steps = 0;
        while self.run_next(end) {
            steps += 1;
            assert!(steps < STEPS_MAX, "a timer that is set to a time that has passed, for ever");
        }
        self.now = end;
        self.fault = Fault::Nothing;
        if let Fault::Frozen(index) = fault {
            // As the machine demands: what waited in the socket comes before the timer.
            for heard in std::mem::take(&mut self.nodes[index].waiting) {
                self.step(index, Event::Advert(heard));
            }
        }
        self.measure();
    }

    /// Takes the next message or timer before `end`; messages first when both are due.
    fn run_next(&mut self, end: Duration) -> bool {
        let arrival = self.flying.iter().map(|(at, ..)| *at).min();
        let runs = |index: &usize| self.fault != Fault::Frozen(*index);
        let timer = (0..self.nodes.len())
            .filter(runs)
            .filter_map(|index| Some((self.nodes[index].timer?, index)))
            .min();
        match (arrival, timer) {
            (Some(at), timer) if at < end && timer.is_none_or(|(due, _)| at <= due) => {
                let next = self.flying.iter().position(|(when, ..)| *when == at);
                let (_, to, heard) = self.flying.remove(next.expect("the earliest one"));
                self.now = self.now.max(at);
                self.arrive(to, heard);
            }
            (_, Some((due, index))) if due < end => {
                self.now = self.now.max(due);
                self.nodes[index].timer = None;
                self.step(index, Event::Timer);
            }
            _ => return false,
        }
        true
    }

    fn arrive(&mut self, to: usize, heard: Heard) {
        if self.fault == Fault::Frozen(to) {
            self.nodes[to].waiting.push(heard);
        } else if self.fault != Fault::Deaf(to) && self.nodes[to].started {
            self.step(to, Event::Advert(heard));
        }
    }

    pub(crate) fn step(&mut self, index: usize, event: Event) {
        let was = self.nodes[index].machine.state();
        let actions = self.nodes[index].machine.step(self.now, event);
        for action in actions {
            let node = &mut self.nodes[index];
            match action {
                Action::SendAdvert { priority } => self.send(index, priority.get()),
                Action::SendPriorityZero => {
                    assert!(!node.has_addresses, "released before resigning");
                    self.send(index, 0);
                }
                Action::AddAddresses => {
                    assert!(!node.has_addresses, "added once");
                    node.has_addresses = true;
                }
                Action::Release => {
                    assert!(node.has_addresses, "released once");
                    node.has_addresses = false;
                }
                Action::Announce => assert!(node.has_addresses, "announces what it has"),
                Action::SetTimer { at } => node.timer = Some(at),
                Action::CancelTimer => node.timer = None,
            }
        }
        let node = &self.nodes[index];
        let is = node.machine.state();
        assert_eq!(node.has_addresses, is == State::Active, "addresses exactly while Active");
        self.takeovers += usize::from(was != State::Active && is == State::Active);
        self.measure();
    }

    fn send(&mut self, from: usize, priority: u8) {
        if self.fault == Fault::Mute(from) {
            return;
        }
        let late = self.fault == Fault::Late(from);
        let at = self.now + if late { DELAY } else { LATENCY };
        let Node { address: source, interval, .. } = self.nodes[from];
        let heard = Heard { priority, interval, source };
        let others = (0..self.nodes.len()).filter(|to| *to != from);
        self.flying.extend(others.map(|to| (at, to, heard)));
    }

    /// Keeps account of how long more than one node is Active.
    fn measure(&mut self) {
        if let Some(since) = self.two_since {
            self.longest_two = self.longest_two.max(self.now.saturating_sub(since));
        }
        if self.active().len() < 2 {
            self.two_since = None;
        } else {
            self.two_since.get_or_insert(self.now);
        }
    }
}
