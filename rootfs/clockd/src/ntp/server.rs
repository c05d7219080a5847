//! One server: where it is, when it is asked, and what it answered.

use std::net::SocketAddr;
use std::time::Duration;

use super::packet::{self, Kiss, Rejected};
use super::register::{Register, Sample};
use super::stamp::{Nanos, to_float};
use super::{Action, Moment, ServerId};

/// A server is asked this often at first, and never more often.
pub const SHORTEST_INTERVAL: Duration = Duration::from_secs(2);

/// A server that answers well is asked ever less often, down to this.
pub const LONGEST_INTERVAL: Duration = Duration::from_secs(1024);

/// A server that doesn't answer is asked this often: the network may be back any time.
const LONGEST_UNHEARD: Duration = Duration::from_secs(64);

/// What takes longer is worth nothing, and the next question must find the socket free.
pub const REPLY_TIMEOUT: Duration = Duration::from_millis(1500);

/// So many questions without an answer, and the next address is tried.
pub const UNREACHED_AFTER: u32 = 8;

/// Whoever says no means it. What a name stands for changes, though, and so do firewalls.
const DENIED_FOR: Duration = Duration::from_hours(24);

/// Most addresses of a name that are kept.
const ADDRESSES_MAX: usize = 16;

/// How much the clock may drift between two questions for all that is known about the oscillator:
/// as much as one slow answer of a far server is off.
const DRIFT_ALLOWED: Duration = Duration::from_millis(5);

/// What is not known about an oscillator at first, and what is never known (its temperature).
const UNCERTAIN_AT_FIRST: f64 = 100e-6;
const UNCERTAIN_ALWAYS: f64 = 1e-6;

/// So many answers come quickly, for a first slope.
const QUICK_ANSWERS: usize = 4;

#[derive(Clone, Debug)]
pub(crate) struct Server {
    id: ServerId,
    addresses: Vec<SocketAddr>,
    resolving: bool,
    /// All that the name stands for said no; it is asked again then.
    denied_until: Option<Duration>,
    pub(crate) register: Register,
    question: Option<Question>,
    /// The time of the next question, or the next attempt to resolve.
    next: Duration,
    interval: Duration,
    shortest: Duration,
    missed: u32,
    pub(crate) last_rejected: Option<Rejected>,
    /// It has told the time once since the start.
    pub(crate) was_heard: bool,
}

/// A question without an answer.
#[derive(Clone, Copy, Debug)]
struct Question {
    /// Known once it was sent.
    sent: Option<(u64, Nanos)>,
    until: Duration,
}

impl Server {
    pub(crate) fn new(id: ServerId) -> Self {
        Self {
            id,
            addresses: Vec::new(),
            resolving: false,
            denied_until: None,
            register: Register::default(),
            question: None,
            next: Duration::ZERO,
            interval: SHORTEST_INTERVAL,
            shortest: SHORTEST_INTERVAL,
            missed: 0,
            last_rejected: None,
            was_heard: false,
        }
    }

    pub(crate) fn is_denied(&self) -> bool {
        self.denied_until.is_some()
    }

    /// Nobody has answered for so long that nothing is known of it any more.
    pub(crate) fn is_unheard(&self) -> bool {
        self.register.len() == 0
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match &self.question {
            _ if self.resolving => None,
            Some(question) => Some(question.until),
            None => Some(self.denied_until.unwrap_or(self.next)),
        }
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.question.is_some_and(|question| question.until <= now.boot) {
            self.miss(now, actions);
        }
        if self.denied_until.is_some_and(|until| until <= now.boot) {
            self.denied_until = None;
        }
        let waits = self.denied_until.is_some() || self.next > now.boot;
        if self.resolving || self.question.is_some() || waits {
            return;
        }
        if let Some(address) = self.addresses.first() {
            let until = now.boot.saturating_add(REPLY_TIMEOUT);
            self.question = Some(Question { sent: None, until });
            actions.push(Action::Ask(self.id, *address));
        } else {
            self.resolving = true;
            actions.push(Action::Resolve(self.id));
        }
    }

    pub(crate) fn resolved(&mut self, mut addresses: Vec<SocketAddr>, now: Moment) {
        if !std::mem::take(&mut self.resolving) {
            return;
        }
        addresses.truncate(ADDRESSES_MAX);
        self.addresses = addresses;
        if self.addresses.is_empty() {
            self.slow_down();
            self.next = now.boot.saturating_add(self.interval);
        } else {
            self.next = now.boot;
        }
    }

    pub(crate) fn sent(&mut self, cookie: u64, raw: Nanos) {
        if let Some(question) = &mut self.question {
            question.sent = Some((cookie, raw));
        }
    }

    pub(crate) fn send_failed(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.question.is_some() {
            self.miss(now, actions);
        }
    }

    /// Takes an answer; says whether it is a good one.
    pub(crate) fn received(
        &mut self,
        bytes: &[u8],
        raw: Nanos,
        image: Nanos,
        now: Moment,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some((cookie, sent)) = self.question.and_then(|question| question.sent) else {
            return false;
        };
        let read =
            packet::answer(bytes, cookie).and_then(|answer| sample(&answer, (sent, raw), image));
        match read {
            // Whoever doesn't know the cookie can't end the wait for who does.
            Err(Rejected::NotOurs | Rejected::Short | Rejected::NotAnAnswer) => return false,
            Ok(sample) => self.accept(sample, now),
            Err(rejected) => {
                self.last_rejected = Some(rejected);
                match rejected {
                    Rejected::Kiss(Kiss::Rate) => {
                        self.shortest = self.interval.saturating_mul(4).min(LONGEST_INTERVAL);
                    }
                    Rejected::Kiss(Kiss::Deny) => {
                        self.register.clear();
                        self.missed = 0;
                        // A name may stand for others too, who serve.
                        if !self.addresses.is_empty() {
                            self.addresses.remove(0);
                        }
                        if self.addresses.is_empty() {
                            self.denied_until = Some(now.boot.saturating_add(DENIED_FOR));
                        }
                    }
                    _ => {}
                }
                self.miss(now, actions);
                return false;
            }
        }
        actions.push(Action::Close(self.id));
        true
    }

    fn accept(&mut self, sample: Sample, now: Moment) {
        self.question = None;
        self.missed = 0;
        self.last_rejected = None;
        self.was_heard = true;
        let before = self.register.len();
        self.register.push(sample);
        // A sample that contradicts the others has pushed them out, and all starts over.
        let jumped = self.register.len() < before;
        self.interval = if jumped || self.register.len() < QUICK_ANSWERS {
            self.shortest
        } else {
            self.longer_interval(now)
        };
        self.next = now.boot.saturating_add(self.interval);
    }

    /// Twice as long, unless the oscillator isn't known well enough for that.
    fn longer_interval(&self, now: Moment) -> Duration {
        let slope = self.register.estimate(now.raw, None).and_then(|estimate| estimate.slope);
        let uncertain = slope.map_or(UNCERTAIN_AT_FIRST, |slope| slope.error.max(UNCERTAIN_ALWAYS));
        let doubled = self.interval.saturating_mul(2).min(LONGEST_INTERVAL);
        let fits = doubled.mul_f64(uncertain) <= DRIFT_ALLOWED;
        let longer = if fits { doubled } else { self.interval };
        longer.max(self.shortest)
    }

    fn miss(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.question = None;
        self.missed = self.missed.saturating_add(1);
        if self.missed >= UNREACHED_AFTER {
            self.missed = 0;
            self.register.clear();
            // The next address, and with none left the name is looked up anew.
            if !self.addresses.is_empty() {
                self.addresses.remove(0);
            }
        }
        self.slow_down();
        self.next = now.boot.saturating_add(self.interval);
        actions.push(Action::Close(self.id));
    }

    fn slow_down(&mut self) {
        let doubled = self.interval.saturating_mul(2);
        self.interval = doubled.min(LONGEST_UNHEARD).max(self.shortest);
    }
}

/// What an answer says, if its times make sense.
fn sample(
    answer: &packet::Answer,
    (sent, arrived): (Nanos, Nanos),
    image: Nanos,
) -> Result<Sample, Rejected> {
    let (theirs_in, theirs_out) = (answer.received.to_unix(image), answer.sent.to_unix(image));
    if theirs_in < image || theirs_out < image {
        return Err(Rejected::BeforeFloor);
    }
    let away = arrived.saturating_sub(sent);
    let at_server = theirs_out.saturating_sub(theirs_in);
    // Its clock may be coarser or a little faster than ours, but not by more than this.
    let slack = away / 1000 + COARSE;
    if away < 0 || at_server < 0 || at_server > away.saturating_add(slack) {
        return Err(Rejected::Nonsense);
    }
    let middle = |from: Nanos, to: Nanos| from.saturating_add(to.saturating_sub(from) / 2);
    let raw = middle(sent, arrived);
    Ok(Sample {
        raw,
        apart: middle(theirs_in, theirs_out).saturating_sub(raw),
        delay: away.saturating_sub(at_server).max(0),
        root_distance: answer.root_distance,
    })
}

/// Some servers count in steps of a few milliseconds.
const COARSE: Nanos = 5_000_000;

/// For the status: a duration in milliseconds.
pub(crate) fn milliseconds(nanos: Nanos) -> f64 {
    to_float(nanos) / 1e6
}
