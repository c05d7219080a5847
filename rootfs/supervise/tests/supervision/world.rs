//! A small world for the supervisor: simulated processes that fail to start, become ready, hang,
//! crash or refuse to die, and a judge that looks at every action.

use std::collections::BTreeMap;
use std::time::Duration;

use seed::manifest::{Ready, Service};
use serde_json::Value;
use supervise::{
    Action, Event, Exit, Input, Report, Run, SHORTEST_DELAY, ServiceId, State, Supervisor, Wish,
};

/// A service from the TOML table that an overlay's author would write.
pub(crate) fn service(toml: &str) -> Service {
    let text = format!("command = [\"/bin/true\"]\n{toml}");
    serde_json::from_value(toml_value(&text)).expect("a service")
}

fn toml_value(text: &str) -> Value {
    toml::from_str(text).expect("TOML")
}

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// How one life of a process goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) spawns: bool,
    pub(crate) ready_after: Option<u64>,
    pub(crate) ends_after: Option<(u64, Exit)>,
    /// How long it takes to obey the stop signal; it ignores it if absent.
    pub(crate) stop_takes: Option<u64>,
}

/// A process without faults. A job needs `ends_after` to do its work.
pub(crate) const GOOD: Life =
    Life { spawns: true, ready_after: Some(50), ends_after: None, stop_takes: Some(20) };

#[derive(Debug)]
struct Process {
    run: Run,
    life: Life,
    ready: bool,
    asked: bool,
}

pub(crate) struct World {
    pub(crate) supervisor: Supervisor,
    pub(crate) now: Duration,
    pub(crate) services: Vec<Service>,
    /// What the next lives are like, in turn; without any, all are good.
    pub(crate) lives: Vec<Life>,
    pub(crate) log: Vec<(Duration, Action)>,
    shutdown: bool,
    because: Option<Input>,
    hurried: bool,
    lives_begun: usize,
    news: BTreeMap<(Duration, u64), (usize, Run, Report)>,
    serial: u64,
    processes: BTreeMap<usize, Process>,
    done: Vec<bool>,
    /// When the last life ended by itself, if no wish came since.
    crashed: Vec<Option<Duration>>,
}

impl World {
    pub(crate) fn new(services: &[Service], lives: Vec<Life>) -> Self {
        let supervisor = Supervisor::new(services, &Value::Null).expect("a graph");
        let in_order = supervisor.ids().map(|id| supervisor.service(id).expect("known").clone());
        let services: Vec<Service> = in_order.collect();
        let count = services.len();
        Self {
            supervisor,
            now: Duration::ZERO,
            services,
            lives,
            log: Vec::new(),
            shutdown: false,
            because: None,
            hurried: false,
            lives_begun: 0,
            news: BTreeMap::new(),
            serial: 0,
            processes: BTreeMap::new(),
            done: vec![false; count],
            crashed: vec![None; count],
        }
    }

    pub(crate) fn id(&self, name: &str) -> ServiceId {
        self.supervisor.find(name).expect("a service")
    }

    pub(crate) fn state(&self, name: &str) -> State {
        self.supervisor.state(self.id(name)).expect("a service")
    }

    pub(crate) fn wish(&mut self, id: ServiceId, wish: Wish) {
        if let Some(crashed) = self.crashed.get_mut(id.0) {
            *crashed = None;
        }
        self.event(Event::Operator(id, wish));
    }

    pub(crate) fn shutdown(&mut self, within: Duration) {
        self.shutdown = true;
        self.event(Event::Shutdown { within });
    }

    /// Ends a process from outside, as the kernel does when memory is short.
    pub(crate) fn kill(&mut self, i: usize) {
        if let Some(run) = self.processes.get(&i).map(|process| process.run) {
            self.deliver(i, run, Report::Exited(Exit::Signal(9)));
        }
    }

    /// Lets time pass and everything happen that happens meanwhile.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let news = self.news.keys().next().map(|(at, _)| *at);
            let next = news.into_iter().chain(self.supervisor.next_deadline()).min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.now = at.max(self.now);
            match self.news.first_entry().filter(|entry| entry.key().0 <= self.now) {
                Some(entry) => {
                    let (i, run, report) = entry.remove();
                    self.deliver(i, run, report);
                }
                None => self.event(Event::Tick),
            }
        }
        self.now = end;
        self.event(Event::Tick);
    }

    pub(crate) fn event(&mut self, event: Event) {
        let actions = self.supervisor.step(self.now, event);
        let next = self.supervisor.next_deadline();
        assert!(next.is_none_or(|next| next > self.now), "{next:?} is not after {:?}", self.now);
        for action in actions {
            self.judge_and_do(&action);
            self.log.push((self.now, action));
        }
    }

    fn deliver(&mut self, i: usize, run: Run, report: Report) {
        let Some(process) = self.processes.get_mut(&i).filter(|process| process.run == run) else {
            return;
        };
        match report {
            Report::Spawned => process.ready = self.services[i].ready == Ready::Running,
            Report::Ready => process.ready = true,
            Report::Alive => {}
            Report::SpawnFailed | Report::Exited(_) => {
                let by_itself = !process.asked;
                self.crashed[i] = by_itself.then_some(self.now);
                let well = report == Report::Exited(Exit::Code(0));
                self.done[i] = by_itself && well && self.services[i].ready == Ready::Done;
                self.processes.remove(&i);
            }
        }
        self.event(Event::Process(ServiceId(i), run, report));
    }

    fn plan(&mut self, i: usize, run: Run, after: u64, report: Report) {
        self.serial += 1;
        self.news.insert((self.now + ms(after), self.serial), (i, run, report));
    }

    fn judge_and_do(&mut self, action: &Action) {
        match *action {
            Action::Spawn(ServiceId(i), run) => self.spawn(i, run),
            Action::Signal(ServiceId(i), run) => {
                // What is late is stopped for its own fault; those after it don't mind.
                let order = self.shutdown && self.because != Some(Input::Timer);
                assert!(self.hurried || !self.has_live_waiter(i, order), "order of stop");
                let process = self.processes.get_mut(&i).expect("a process to signal");
                assert_eq!(process.run, run);
                process.asked = true;
                if let Some(takes) = process.life.stop_takes {
                    self.plan(i, run, takes, Report::Exited(Exit::Code(0)));
                }
            }
            Action::KillGroup(ServiceId(i), run) => {
                if let Some(process) = self.processes.get_mut(&i) {
                    process.asked = true;
                    self.plan(i, run, 1, Report::Exited(Exit::Signal(9)));
                }
            }
            Action::Moved { service, because, .. } => {
                assert!(service.0 < self.services.len());
                self.hurried |= because == Input::Hurry;
                self.because = Some(because);
            }
            Action::AllDown { ref left } => {
                let alive: Vec<ServiceId> = self.processes.keys().copied().map(ServiceId).collect();
                assert_eq!(*left, alive);
            }
            Action::Probe(..) => {}
        }
    }

    fn spawn(&mut self, i: usize, run: Run) {
        assert!(!self.shutdown, "a start while the node goes down");
        assert!(!self.processes.contains_key(&i), "two processes of one service");
        for need in &self.services[i].needs {
            let ServiceId(need) = self.id(need.as_str());
            let ready = self.processes.get(&need).is_some_and(|need| need.ready && !need.asked);
            assert!(ready || self.done[need], "{i} starts before {need} is ready");
        }
        assert!(!self.has_live_waiter(i, false), "a start under the feet of who needs it");
        if let Some(crashed) = self.crashed[i] {
            assert!(self.now >= crashed + SHORTEST_DELAY, "a start without a pause");
        }
        let life = match self.lives.len() {
            0 => GOOD,
            count => self.lives[self.lives_begun % count],
        };
        self.lives_begun += 1;
        self.done[i] = false;
        self.processes.insert(i, Process { run, life, ready: false, asked: false });
        let begun = if life.spawns { Report::Spawned } else { Report::SpawnFailed };
        self.plan(i, run, 0, begun);
        let is_job = self.services[i].ready == Ready::Done;
        if let Some(after) = life.ready_after {
            let job_done = Report::Exited(Exit::Code(0));
            self.plan(i, run, after, if is_job { job_done } else { Report::Ready });
        }
        if let Some((after, exit)) = life.ends_after {
            self.plan(i, run, after, Report::Exited(exit));
        }
    }

    /// Whether a process lives that needs this service, directly or through others that live; or
    /// that comes after it, if that counts too.
    fn has_live_waiter(&self, i: usize, after_counts: bool) -> bool {
        let name = &self.services[i].name;
        let waits = |other: &Service| {
            other.needs.contains(name) || (after_counts && other.after.contains(name))
        };
        let waiters = (0..self.services.len()).filter(|other| waits(&self.services[*other]));
        waiters.into_iter().any(|other| {
            let lives = self.processes.contains_key(&other);
            // Without a process between, only the way down of all counts.
            lives || (after_counts && self.has_live_waiter(other, true))
        })
    }
}
