//! The client: servers, what they agree on, and what that means for the clock.

use std::time::Duration;

use super::packet::Rejected;
use super::select::{Consensus, select};
use super::server::{Server, milliseconds};
use super::stamp::{NANOS_PER_SECOND, Nanos, to_nanos};
use super::{Action, Event, Moment, ServerId};

/// How long the start waits for most servers, and for any; then the clock goes with what there is.
pub const SETTLE: Duration = Duration::from_secs(10);

/// After the start, most servers must have said for so long that the clock is further off than the
/// threshold before it is stepped. By then slewing has mended a leap second, a server that was wrong
/// while it started is right, and each has been asked twice at least.
pub const STEP_OUT: Duration = Duration::from_mins(20);

/// How often the time is saved: a node that loses its power and its battery is that late at most.
pub const SAVE_EVERY: Duration = Duration::from_mins(10);

/// How often the battery-backed clock is set. The kernel has the same habit.
pub const BATTERY_EVERY: Duration = Duration::from_mins(11);

/// How long the last consensus keeps the clock plausible: some questions at the longest interval.
pub const SYNCHRONISED_FOR: Duration = Duration::from_hours(2);

/// What an oscillator may be off; the kernel corrects no more.
const FREQUENCY_MAX: f64 = 500e-6;

/// What the operator and the image say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names for the status, in the order of the servers' ids.
    pub servers: Vec<String>,
    /// The clock is stepped only if it is further off than this.
    pub step_threshold: Nanos,
    /// The image's time since 1970; nobody who says an earlier one is believed.
    pub image: Nanos,
    /// Where the clock begins if it shows an earlier time: that of the last run, or the image's.
    pub floor: Nanos,
}

/// The client; see the module.
#[derive(Clone, Debug)]
pub struct Client {
    settings: Settings,
    servers: Vec<Server>,
    /// The first step's time.
    began: Option<Duration>,
    /// The time of the last consensus; the first ends the start.
    agreed: Option<Duration>,
    /// Since when most servers have said that the clock is further off than the threshold.
    far_since: Option<Duration>,
    /// How much faster true time runs than the oscillator.
    frequency: Option<f64>,
    ready: bool,
    save_at: Duration,
    battery_at: Duration,
    status: String,
}

impl Client {
    pub fn new(settings: Settings) -> Self {
        let servers = (0..settings.servers.len()).map(ServerId).map(Server::new).collect();
        Self {
            settings,
            servers,
            began: None,
            agreed: None,
            far_since: None,
            frequency: None,
            ready: false,
            save_at: Duration::ZERO,
            battery_at: Duration::ZERO,
            status: String::new(),
        }
    }

    /// Takes an event and says what to do.
    pub fn step(&mut self, now: Moment, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.began.is_none() {
            self.began = Some(now.boot);
            let behind = self.settings.floor.saturating_sub(now.wall);
            if behind > 0 {
                // A battery that died: nothing before the floor is possible.
                actions.push(Action::Step(behind));
            }
        }
        let news = self.take(now, event, &mut actions);
        for server in &mut self.servers {
            server.tick(now, &mut actions);
        }
        // The start may have waited for others until now.
        let settled = self.agreed.is_none() && self.has_settled(now);
        if news || settled {
            self.decide(now, &mut actions);
        }
        if settled && !self.ready {
            self.become_ready(&mut actions);
            if self.agreed.is_none() {
                self.tell_silence(&mut actions);
            }
        }
        let stale = self.agreed.is_some() && !self.is_synchronised(now);
        if stale && self.servers.iter().all(Server::is_unheard) {
            self.tell_silence(&mut actions);
        }
        self.keep(now, &mut actions);
        actions
    }

    /// The end: what to keep for the next start.
    pub fn finish(&self, now: Moment) -> Vec<Action> {
        if self.is_synchronised(now) { vec![Action::Save, Action::SetBattery] } else { Vec::new() }
    }

    /// When to step next, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Duration> {
        let servers = self.servers.iter().filter_map(Server::deadline);
        let settle = self.began.filter(|_| !self.ready);
        let settle = settle.map(|began| began.saturating_add(SETTLE));
        let keep = self.agreed.map(|_| self.save_at.min(self.battery_at));
        servers.chain(settle).chain(keep).min()
    }

    /// Whether the clock is as good as the servers.
    pub fn is_synchronised(&self, now: Moment) -> bool {
        let age = self.agreed.map(|agreed| now.boot.saturating_sub(agreed));
        age.is_some_and(|age| age <= SYNCHRONISED_FOR) && now.wall >= self.settings.image
    }

    /// Takes an event; says whether a server said something new about time.
    fn take(&mut self, now: Moment, event: Event, actions: &mut Vec<Action>) -> bool {
        let (Event::Resolved(id, _)
        | Event::Sent { server: id, .. }
        | Event::SendFailed(id)
        | Event::Received { server: id, .. }) = &event
        else {
            return false;
        };
        let image = self.settings.image;
        let Some(server) = self.servers.get_mut(id.0) else { return false };
        match event {
            Event::Tick => {}
            Event::Resolved(_, addresses) => server.resolved(addresses, now),
            Event::Sent { cookie, raw, .. } => server.sent(cookie, raw),
            Event::SendFailed(_) => server.send_failed(now, actions),
            Event::Received { bytes, raw, .. } => {
                return server.received(&bytes, raw, image, now, actions);
            }
        }
        false
    }

    fn has_settled(&self, now: Moment) -> bool {
        self.began.is_some_and(|began| now.boot.saturating_sub(began) >= SETTLE)
    }

    /// Corrects the clock by what a majority says.
    fn decide(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let estimate = |(place, server): (usize, &Server)| {
            Some((place, server.register.estimate(now.raw, self.frequency)?))
        };
        let claims: Vec<_> = self.servers.iter().enumerate().filter_map(estimate).collect();
        let most_answered = claims.len() * 2 > self.servers.len();
        if self.agreed.is_none() && !most_answered && !self.has_settled(now) {
            return;
        }
        let Some(consensus) = select(&claims) else {
            self.far_since = None;
            if !claims.is_empty() {
                self.tell("the servers contradict each other; the clock runs free", actions);
            }
            return;
        };
        let off = now.raw.saturating_add(consensus.apart).saturating_sub(now.wall);
        let is_first = self.agreed.is_none();
        let is_far = off.saturating_abs() > self.settings.step_threshold;
        // Those who were never heard of outvote nobody: the network may let none of them through.
        let heard = self.servers.iter().filter(|server| server.was_heard).count();
        let agree = consensus.members.len();
        if is_far && !is_first && agree * 2 < heard {
            // It may be the one liar that the others had outvoted as long as they were heard.
            self.far_since = None;
            let status = "few servers answer, and they say something else; the clock runs free";
            self.tell(status, actions);
            return;
        }
        let silent = self.agreed.map_or(Duration::ZERO, |agreed| now.boot.saturating_sub(agreed));
        self.agreed = Some(now.boot);
        // What was said before a long silence says nothing of the time between.
        let since = self.far_since.filter(|_| silent < STEP_OUT).unwrap_or(now.boot);
        self.far_since = (is_far && agree * 2 > heard).then_some(since);
        let has_lasted = |since: Duration| now.boot.saturating_sub(since) >= STEP_OUT;
        if is_far && (is_first || self.far_since.is_some_and(has_lasted)) {
            actions.push(Action::Step(off));
            self.far_since = None;
            // Set at once: the old time was wrong on the battery, too.
            self.battery_at = now.boot;
        } else {
            actions.push(Action::Slew(off));
        }
        if let Some(slope) = consensus.slope {
            let frequency = slope.value.clamp(-FREQUENCY_MAX, FREQUENCY_MAX);
            self.frequency = Some(frequency);
            actions.push(Action::Tune(to_nanos(frequency * 1e9)));
        }
        actions.push(Action::Declare { error: consensus.error });
        self.become_ready(actions);
        self.tell_consensus(off, &consensus, claims.len(), actions);
    }

    fn become_ready(&mut self, actions: &mut Vec<Action>) {
        if !self.ready {
            self.ready = true;
            actions.push(Action::Ready);
        }
    }

    /// Saves the time where it will be needed, if it is worth it.
    fn keep(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.agreed.is_none() {
            return;
        }
        let worth = self.is_synchronised(now);
        if self.save_at <= now.boot {
            self.save_at = now.boot.saturating_add(SAVE_EVERY);
            actions.extend(worth.then_some(Action::Save));
        }
        if self.battery_at <= now.boot {
            self.battery_at = now.boot.saturating_add(BATTERY_EVERY);
            actions.extend(worth.then_some(Action::SetBattery));
        }
    }

    fn tell_consensus(
        &mut self,
        off: Nanos,
        consensus: &Consensus,
        asked: usize,
        actions: &mut Vec<Action>,
    ) {
        let names = consensus.members.iter().filter_map(|place| self.settings.servers.get(*place));
        let names = names.map(String::as_str).collect::<Vec<_>>().join(", ");
        let (off, error) = (milliseconds(off), milliseconds(consensus.error));
        let drift = self.frequency.unwrap_or(0.0) * 1e6;
        let status = format!(
            "synchronised: off by {off:.3} ms, within {error:.3} ms, oscillator {drift:+.3} ppm; \
             {} of {asked} agree: {names}",
            consensus.members.len()
        );
        self.tell(&status, actions);
    }

    /// Nobody has answered in the time of the start, or for long.
    fn tell_silence(&mut self, actions: &mut Vec<Action>) {
        let reasons = self.servers.iter().zip(&self.settings.servers).map(|(server, name)| {
            let reason = match server.last_rejected {
                _ if server.is_denied() => "not served".to_owned(),
                Some(rejected) => Rejected::to_string(&rejected),
                None => "no answer".to_owned(),
            };
            format!("{name}: {reason}")
        });
        let reasons = reasons.collect::<Vec<_>>().join("; ");
        self.tell(&format!("the clock runs free; {reasons}"), actions);
    }

    fn tell(&mut self, status: &str, actions: &mut Vec<Action>) {
        if self.status != status {
            status.clone_into(&mut self.status);
            actions.push(Action::Status(status.to_owned()));
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let step_threshold = NANOS_PER_SECOND / 2;
        Self { servers: Vec::new(), step_threshold, image: 0, floor: 0 }
    }
}
