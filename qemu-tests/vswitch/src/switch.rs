//! The switch without sockets: frames and the time go in, frames with their ports come out.
//!
//! ```text
//!   frame ─> learn sender ─> find ports ─> for each port: rules in order ─┬─> out now
//!                                                                         ├─> out later (heap)
//!                                                                         ├─> held by a rule
//!                                                                         └─> lost
//! ```
//! The same frames, times, rules and seed give the same result. Whatever is kept is bounded by
//! [`MOST_KEPT_BYTES`]; what goes beyond is lost, counted, and said.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use crate::forwarding::Forwarding;
use crate::frame::{Class, Header};
use crate::random::Random;
use crate::rule::{Effect, Port, Rule, RuleId};

/// Frames that wait in the switch, in bytes: some seconds of a busy gigabit would be too much for a
/// desk, and a drill's delays are short.
pub const MOST_KEPT_BYTES: usize = 64 << 20;

/// A frame that leaves the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub to: Port,
    pub frame: Vec<u8>,
}

/// Something that was done to a frame, for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// None when the switch itself was full.
    pub rule: Option<RuleId>,
    pub to: Port,
    pub what: What,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Dropped,
    Delayed(Duration),
    Duplicated,
    Corrupted,
    Held,
    /// More was waiting than may wait.
    Overflowed,
}

/// What came of one frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub header: Option<Header>,
    pub faults: Vec<Fault>,
}

/// A frame that comes later. Ordered by time, then by arrival.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    due: Duration,
    sequence: u64,
    to: Port,
    frame: Vec<u8>,
}

/// A rule and what it keeps.
#[derive(Clone, Debug)]
struct Active {
    rule: Rule,
    /// Frames that it took: a fault that took none never bit.
    taken: u64,
    /// When the line of a rate is free again, one line for each destination.
    free_at: BTreeMap<Port, Duration>,
    held: VecDeque<Delivery>,
}

/// What the rules decided about one frame on its way to one port.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    delay: Duration,
    copies: u8,
    corrupt: bool,
}

/// A switch with a fixed number of ports.
#[derive(Clone, Debug)]
pub struct Switch {
    connected: Vec<bool>,
    /// Frames that came from or were for a port whose cable was pulled.
    swallowed: Vec<u64>,
    forwarding: Forwarding,
    rules: BTreeMap<RuleId, Active>,
    next_rule: u64,
    waiting: BinaryHeap<Reverse<Waiting>>,
    sequence: u64,
    kept_bytes: usize,
    random: Random,
}

impl Switch {
    pub fn new(ports: usize, seed: u64) -> Self {
        Self {
            connected: vec![true; ports],
            swallowed: vec![0; ports],
            forwarding: Forwarding::default(),
            rules: BTreeMap::new(),
            next_rule: 1,
            waiting: BinaryHeap::new(),
            sequence: 0,
            kept_bytes: 0,
            random: Random::new(seed),
        }
    }

    /// Adds a fault; it holds until it is removed.
    pub fn add(&mut self, rule: Rule) -> RuleId {
        let id = RuleId(self.next_rule);
        self.next_rule += 1;
        let active = Active { rule, taken: 0, free_at: BTreeMap::new(), held: VecDeque::new() };
        self.rules.insert(id, active);
        id
    }

    /// Removes a fault. What it held comes out now, in order.
    pub fn remove(&mut self, id: RuleId, out: &mut Vec<Delivery>) {
        let Some(active) = self.rules.remove(&id) else { return };
        for delivery in active.held {
            self.kept_bytes = self.kept_bytes.saturating_sub(delivery.frame.len());
            self.hand_over(delivery.to, delivery.frame, out);
        }
    }

    /// How many frames a fault has taken so far.
    pub fn taken(&self, id: RuleId) -> Option<u64> {
        self.rules.get(&id).map(|active| active.taken)
    }

    /// Pulls or plugs the cable of a port, without the guest's noticing.
    pub fn connect(&mut self, port: Port, connected: bool) {
        if let Some(state) = self.connected.get_mut(port.0) {
            *state = connected;
        }
        if !connected {
            self.forwarding.forget(port);
        }
    }

    /// How many frames a port's pulled cable has swallowed so far.
    pub fn swallowed(&self, port: Port) -> u64 {
        self.swallowed.get(port.0).copied().unwrap_or(0)
    }

    fn swallow(&mut self, port: Port) {
        if let Some(count) = self.swallowed.get_mut(port.0) {
            *count += 1;
        }
    }

    /// Takes a frame that came in at a port. What leaves at once is added to `out`. A frame that a
    /// pulled cable swallowed has no header in the outcome: nobody could know of it.
    pub fn take(
        &mut self,
        now: Duration,
        from: Port,
        frame: &[u8],
        out: &mut Vec<Delivery>,
    ) -> Outcome {
        let mut outcome = Outcome { header: Header::read(frame), faults: Vec::new() };
        let Some(header) = outcome.header else { return outcome };
        if !self.is_connected(from) {
            self.swallow(from);
            outcome.header = None;
            return outcome;
        }
        self.forwarding.learn(header.source, from, now);
        let known = match header.destination {
            group if group.is_group() => None,
            station => self.forwarding.find(station, now),
        };
        match known {
            Some(to) if to == from => {}
            Some(to) => self.forward(now, (from, to), &header, frame, &mut outcome, out),
            None => {
                for to in (0..self.connected.len()).map(Port).filter(|to| *to != from) {
                    self.forward(now, (from, to), &header, frame, &mut outcome, out);
                }
            }
        }
        outcome
    }

    /// Moves what is due by now to `out`.
    pub fn release_due(&mut self, now: Duration, out: &mut Vec<Delivery>) {
        while self.next_due().is_some_and(|due| due <= now) {
            let Some(Reverse(waiting)) = self.waiting.pop() else { break };
            self.kept_bytes = self.kept_bytes.saturating_sub(waiting.frame.len());
            self.hand_over(waiting.to, waiting.frame, out);
        }
    }

    /// When the next waiting frame is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.waiting.peek().map(|Reverse(waiting)| waiting.due)
    }

    fn is_connected(&self, port: Port) -> bool {
        self.connected.get(port.0).copied().unwrap_or(false)
    }

    /// A cable that was pulled meanwhile takes nothing any more.
    fn hand_over(&self, to: Port, frame: Vec<u8>, out: &mut Vec<Delivery>) {
        if self.is_connected(to) {
            out.push(Delivery { to, frame });
        }
    }

    fn forward(
        &mut self,
        now: Duration,
        (from, to): (Port, Port),
        header: &Header,
        frame: &[u8],
        outcome: &mut Outcome,
        out: &mut Vec<Delivery>,
    ) {
        if !self.is_connected(to) {
            self.swallow(to);
            return;
        }
        let judged = self.judge(now, (from, to), &header.class, frame, &mut outcome.faults);
        let Some(fate) = judged else { return };
        let mut bytes = frame.to_vec();
        if fate.corrupt {
            self.turn_a_bit(&mut bytes);
        }
        for _ in 0..fate.copies {
            self.send(now, to, bytes.clone(), fate.delay, &mut outcome.faults, out);
        }
        self.send(now, to, bytes, fate.delay, &mut outcome.faults, out);
    }

    /// Asks the rules in order. None means that the frame goes no further by itself.
    fn judge(
        &mut self,
        now: Duration,
        (from, to): (Port, Port),
        class: &Class,
        frame: &[u8],
        faults: &mut Vec<Fault>,
    ) -> Option<Fate> {
        let mut fate = Fate::default();
        for (&rule, active) in &mut self.rules {
            if !active.rule.takes(from, to, class) {
                continue;
            }
            let mut note = |what| faults.push(Fault { rule: Some(rule), to, what });
            let random = &mut self.random;
            let bit = match active.rule.effect {
                Effect::Drop { per_mille } => {
                    if random.chance(per_mille) {
                        active.taken += 1;
                        note(What::Dropped);
                        return None;
                    }
                    false
                }
                Effect::Hold => {
                    active.taken += 1;
                    if self.kept_bytes + frame.len() > MOST_KEPT_BYTES {
                        note(What::Overflowed);
                        return None;
                    }
                    self.kept_bytes += frame.len();
                    active.held.push_back(Delivery { to, frame: frame.to_vec() });
                    note(What::Held);
                    return None;
                }
                Effect::Delay { base, jitter } => {
                    let nanoseconds = u64::try_from(jitter.as_nanos()).unwrap_or(u64::MAX);
                    let more = base + Duration::from_nanos(random.below(nanoseconds));
                    fate.delay += more;
                    note(What::Delayed(more));
                    true
                }
                Effect::Reorder { per_mille, by } => {
                    let late = random.chance(per_mille);
                    if late {
                        fate.delay += by;
                        note(What::Delayed(by));
                    }
                    late
                }
                Effect::Duplicate { per_mille } => {
                    let twice = random.chance(per_mille);
                    if twice {
                        fate.copies = fate.copies.saturating_add(1);
                        note(What::Duplicated);
                    }
                    twice
                }
                Effect::Corrupt { per_mille } => {
                    let damaged = random.chance(per_mille);
                    if damaged {
                        fate.corrupt = true;
                        note(What::Corrupted);
                    }
                    damaged
                }
                Effect::Rate { bytes_per_second, queue } => {
                    let free_at = active.free_at.entry(to).or_insert(now);
                    let start = (*free_at).max(now);
                    let wait = start.saturating_sub(now);
                    if wait > queue {
                        active.taken += 1;
                        note(What::Dropped);
                        return None;
                    }
                    *free_at = start + time_on_the_line(frame.len(), bytes_per_second);
                    fate.delay += wait;
                    !wait.is_zero()
                }
            };
            active.taken += u64::from(bit);
        }
        Some(fate)
    }

    fn send(
        &mut self,
        now: Duration,
        to: Port,
        frame: Vec<u8>,
        delay: Duration,
        faults: &mut Vec<Fault>,
        out: &mut Vec<Delivery>,
    ) {
        if delay.is_zero() {
            out.push(Delivery { to, frame });
        } else if self.kept_bytes + frame.len() > MOST_KEPT_BYTES {
            faults.push(Fault { rule: None, to, what: What::Overflowed });
        } else {
            self.kept_bytes += frame.len();
            self.sequence += 1;
            let due = now + delay;
            self.waiting.push(Reverse(Waiting { due, sequence: self.sequence, to, frame }));
        }
    }

    /// The addresses stay as they are: a frame for nobody would only be a lost one.
    fn turn_a_bit(&mut self, bytes: &mut [u8]) {
        let Some(payload) = bytes.get_mut(crate::frame::SHORTEST_FRAME..) else { return };
        let bits = u64::try_from(payload.len()).unwrap_or(0) * 8;
        let bit = self.random.below(bits);
        let at = usize::try_from(bit / 8).unwrap_or(0);
        if let Some(byte) = payload.get_mut(at) {
            *byte ^= 1 << (bit % 8);
        }
    }
}

/// How long a line is busy with a frame.
fn time_on_the_line(bytes: usize, bytes_per_second: u64) -> Duration {
    let nanoseconds = u128::try_from(bytes).unwrap_or(0) * 1_000_000_000;
    let each = nanoseconds / u128::from(bytes_per_second.max(1));
    Duration::from_nanos(u64::try_from(each).unwrap_or(u64::MAX))
}
