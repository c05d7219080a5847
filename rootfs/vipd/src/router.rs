//! One virtual router: an election, the conditions under which it runs, and the reasons it gives.
//!
//! `vrrp::Election` knows two things that keep it from running: it was not started, or its interface
//! is down. A real router has more: no address to send from, a failed check, an address that the
//! kernel refused. This file folds them into the election's events, writes and judges its packets,
//! and remembers why the state changed. It opens nothing and reads no clock.

mod count;
mod settings;

pub use count::{Counters, Dropped};
pub use settings::Settings;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use vrrp::packet::{
    AcceptedChecksum, EncodeError, Metadata, Outgoing, Signer, Verifier, address_difference, parse,
};
use vrrp::{Action, Election, Event, Heard, Interval, Priority, State};

use crate::health::Standing;

/// A change of state and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub from: State,
    pub to: State,
    pub reason: String,
}

/// Something that both sides of an advert should have alike. It is reported and changes nothing:
/// while an operator changes one router after the other, they have to go on electing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// An address that only one of us has.
    Address(IpAddr),
    Interval(Interval),
    /// Both say that the addresses are their own.
    Owner,
}

impl Difference {
    /// The name under which the log remembers that it said so.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Address(_) => "addresses",
            Self::Interval(_) => "other_interval",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(out, "the address {address}"),
            Self::Interval(theirs) => {
                write!(out, "the interval, which is {:?} there", theirs.duration())
            }
            Self::Owner => out.write_str("who owns the addresses: both have priority 255"),
        }
    }
}

/// The last advert of another router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Other {
    pub heard: Heard,
    pub at: Duration,
}

/// One VRID of one family on one interface.
#[derive(Debug, Clone)]
pub struct Router {
    settings: Settings,
    election: Option<Election>,
    started: bool,
    link: bool,
    primary: Option<IpAddr>,
    standing: Standing,
    fault: Option<String>,
    stopped: bool,
    permit_until: Option<Duration>,
    since: Duration,
    other: Option<Other>,
    differences: Vec<Difference>,
    last: Option<Transition>,
    news: Vec<Transition>,
    verifier: Verifier,
    signer: Signer,
    pub counters: Counters,
}

impl Router {
    /// Not running: its interface has not been seen yet.
    pub fn new(settings: Settings, now: Duration) -> Self {
        let standing = Standing::Fit(settings.priority);
        Self {
            settings,
            election: None,
            started: false,
            link: false,
            primary: None,
            standing,
            fault: None,
            stopped: false,
            permit_until: None,
            since: now,
            other: None,
            differences: Vec::new(),
            last: None,
            news: Vec::new(),
            verifier: Verifier::default(),
            signer: Signer::default(),
            counters: Counters::default(),
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn state(&self) -> State {
        self.election.as_ref().map_or(State::Initialize, Election::state)
    }

    pub fn is_active(&self) -> bool {
        self.state() == State::Active
    }

    pub fn since(&self) -> Duration {
        self.since
    }

    pub fn primary(&self) -> Option<IpAddr> {
        self.primary
    }

    pub fn other(&self) -> Option<Other> {
        self.other
    }

    pub fn last_transition(&self) -> Option<&Transition> {
        self.last.as_ref()
    }

    /// The priority in force.
    pub fn priority(&self) -> Priority {
        match &self.standing {
            Standing::Fit(priority) => *priority,
            Standing::Unfit(_) => self.settings.priority,
        }
    }

    /// Why it takes no part, or none if it does.
    pub fn hindrance(&self) -> Option<String> {
        if self.stopped {
            return Some("vipd stops".to_owned());
        }
        if !self.link {
            return Some(format!("interface {} is down", self.settings.interface));
        }
        if self.primary.is_none() {
            let family = if self.settings.ipv6 { "IPv6" } else { "IPv4" };
            return Some(format!(
                "no {family} address to send from on {}",
                self.settings.interface
            ));
        }
        match (&self.fault, &self.standing) {
            (Some(fault), _) => Some(fault.clone()),
            (None, Standing::Unfit(reason)) => Some(reason.clone()),
            _ => None,
        }
    }

    /// Whether it needs no permit, or has one.
    pub fn has_permit(&self, now: Duration) -> bool {
        !self.settings.permit_required || self.permit_until.is_some_and(|until| now < until)
    }

    /// The changes of state since the last call.
    pub fn take_news(&mut self) -> Vec<Transition> {
        std::mem::take(&mut self.news)
    }

    pub fn set_link(&mut self, now: Duration, up: bool) -> Vec<Action> {
        if self.link == up {
            return Vec::new();
        }
        self.link = up;
        let event = if up { Event::InterfaceUp } else { Event::InterfaceDown };
        let reason = self.hindrance().unwrap_or_else(|| "interface is up".to_owned());
        let mut actions = self.feed(now, event, &reason);
        actions.extend(self.settle(now));
        actions
    }

    /// The address that adverts are sent from; another one is another election.
    pub fn set_primary(&mut self, now: Duration, primary: Option<IpAddr>) -> Vec<Action> {
        if self.primary == primary {
            return Vec::new();
        }
        let mut actions = Vec::new();
        if self.started {
            let reason = primary.map_or_else(
                || "the address to send from is gone".to_owned(),
                |new| format!("the address to send from is now {new}"),
            );
            actions = self.feed(now, Event::Shutdown, &reason);
        }
        self.started = false;
        self.primary = primary;
        self.election = None;
        actions.extend(self.settle(now));
        actions
    }

    pub fn set_standing(&mut self, now: Duration, standing: Standing) -> Vec<Action> {
        if self.standing == standing {
            return Vec::new();
        }
        self.standing = standing;
        let mut actions = Vec::new();
        if let Standing::Fit(priority) = self.standing {
            actions = self.feed(now, Event::PriorityChanged(priority), "");
        }
        actions.extend(self.settle(now));
        actions
    }

    /// Something that only time mends, such as an address that the kernel refused.
    pub fn set_fault(&mut self, now: Duration, fault: Option<String>) -> Vec<Action> {
        self.fault = fault;
        self.settle(now)
    }

    /// Takes no part any more, for good.
    pub fn stop(&mut self, now: Duration) -> Vec<Action> {
        self.stopped = true;
        self.settle(now)
    }

    pub fn grant(&mut self, now: Duration, epoch: u64, until: Duration) -> Vec<Action> {
        self.permit_until = Some(until);
        self.feed(now, Event::PermitGranted { until }, &format!("permit of epoch {epoch}"))
    }

    pub fn withdraw(&mut self, now: Duration, reason: &str) -> Vec<Action> {
        self.permit_until = None;
        self.feed(now, Event::PermitLost, reason)
    }

    /// The time that `SetTimer` asked for.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        let reason = self.reason_of_silence(now);
        self.feed(now, Event::Timer, &reason)
    }

    /// How late its advert is, if by an interval or more: two more, and the others take over.
    pub fn count_lateness(&mut self, now: Duration, due_at: Duration) -> Option<Duration> {
        let late = now.saturating_sub(due_at);
        if !self.is_active() || late < self.settings.interval.duration() {
            return None;
        }
        self.counters.adverts_late += 1;
        Some(late)
    }

    pub fn foreign_claim(&mut self, now: Duration) -> Vec<Action> {
        self.counters.foreign_claims += 1;
        self.feed(now, Event::ForeignClaim, "")
    }

    /// Judges a packet; what is not believed changes nothing.
    pub fn hear(
        &mut self,
        now: Duration,
        wall: Duration,
        metadata: &Metadata,
        bytes: &[u8],
    ) -> Result<Vec<Action>, Dropped> {
        let judged = self.judge(wall, metadata, bytes);
        let heard = judged.inspect_err(|dropped| self.counters.drop(dropped))?;
        self.counters.adverts_received += 1;
        if Some(heard.source) != self.primary {
            self.other = Some(Other { heard, at: now });
        }
        let reason = format!(
            "{} adverts priority {}, ours is {}",
            heard.source,
            heard.priority,
            self.priority().get()
        );
        Ok(self.feed(now, Event::Advert(heard), &reason))
    }

    /// Whether the advert that was just heard is of a router that has the addresses, and here they need a
    /// permit: its holder wants to know.
    pub fn is_claimed(&self, now: Duration) -> bool {
        let just_now = |other: Other| other.at == now && other.heard.priority > 0;
        self.settings.permit_required && self.other.is_some_and(just_now)
    }

    /// What the latest advert's sender is configured with otherwise, for the log; told once.
    pub fn take_differences(&mut self) -> Vec<Difference> {
        std::mem::take(&mut self.differences)
    }

    /// Where adverts go: the group, or each peer.
    pub fn destinations(&self) -> Vec<IpAddr> {
        if self.settings.peers.is_empty() {
            return vec![self.settings.family().group()];
        }
        self.settings.peers.clone()
    }

    /// Writes an advert to one destination; its length, or none without an address to send from.
    pub fn write(
        &mut self,
        wall: Duration,
        priority: u8,
        destination: IpAddr,
        buffer: &mut [u8],
    ) -> Result<Option<usize>, EncodeError> {
        let Some(source) = self.primary else { return Ok(None) };
        let addresses: Vec<IpAddr> = self.settings.addresses.iter().map(|c| c.address).collect();
        let outgoing = Outgoing {
            version: self.settings.version,
            vrid: self.settings.vrid,
            priority,
            interval: self.settings.interval,
            addresses: &addresses,
        };
        let writing = self.settings.writing(source, destination);
        let length = outgoing.encode(&writing, buffer)?;
        let length = match &self.settings.signing {
            None => length,
            Some(signing) => self.signer.sign(
                &signing.keyring,
                signing.freshness,
                wall,
                &writing,
                buffer,
                length,
            )?,
        };
        Ok(Some(length))
    }

    fn judge(
        &mut self,
        wall: Duration,
        metadata: &Metadata,
        bytes: &[u8],
    ) -> Result<Heard, Dropped> {
        let settings = &self.settings;
        let multicast = metadata.destination.is_multicast();
        if multicast != settings.peers.is_empty() {
            return Err(Dropped::WrongWay { multicast });
        }
        if !settings.peers.is_empty() && !settings.peers.contains(&metadata.source) {
            return Err(Dropped::Stranger { sender: metadata.source });
        }
        let advert = parse(bytes, metadata, AcceptedChecksum::Either)?;
        settings.admission().admit(&advert, metadata)?;
        if let Some(signing) = &settings.signing {
            let (keyring, freshness) = (&signing.keyring, signing.freshness);
            self.verifier.verify(keyring, freshness, wall, metadata.source, &advert)?;
        }
        let ours: Vec<IpAddr> = settings.addresses.iter().map(|c| c.address).collect();
        let (priority, interval) = (advert.priority, advert.interval);
        let address = address_difference(&advert, &ours).map(Difference::Address);
        let other_interval = interval != settings.interval;
        self.differences.clear();
        self.differences.extend(address);
        self.differences.extend(other_interval.then_some(Difference::Interval(interval)));
        let two_owners = self.settings.priority.is_owner()
            && priority == Priority::OWNER.get()
            && Some(metadata.source) != self.primary;
        self.differences.extend(two_owners.then_some(Difference::Owner));
        Ok(Heard { priority, interval, source: metadata.source })
    }

    fn reason_of_silence(&self, now: Duration) -> String {
        let Some(other) = self.other.filter(|_| self.state() == State::Backup) else {
            return "nobody else is Active".to_owned();
        };
        let silent = now.saturating_sub(other.at).as_secs_f64();
        match other.heard.priority {
            0 => format!("{} resigned", other.heard.source),
            priority if silent <= other.heard.interval.duration().as_secs_f64() * 1.5 => {
                format!("preempts {} of priority {priority}", other.heard.source)
            }
            _ => format!("no advert of {} for {silent:.3} s", other.heard.source),
        }
    }

    /// Brings the election in line with the conditions.
    fn settle(&mut self, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        if let (None, Some(primary)) = (&self.election, self.primary) {
            let mut election = Election::new(self.settings.election(primary));
            if !self.link {
                election.step(now, Event::InterfaceDown);
            }
            election.step(now, Event::PriorityChanged(self.priority()));
            if let Some(until) = self.permit_until {
                election.step(now, Event::PermitGranted { until });
            }
            self.election = Some(election);
        }
        let fit = self.fault.is_none() && matches!(self.standing, Standing::Fit(_));
        let wanted = fit && !self.stopped && self.election.is_some();
        let reason = self.hindrance();
        if wanted != self.started {
            self.started = wanted;
            let event = if wanted { Event::Startup } else { Event::Shutdown };
            let reason = reason.unwrap_or_else(|| "it may take part".to_owned());
            actions.extend(self.feed(now, event, &reason));
        }
        actions
    }

    fn feed(&mut self, now: Duration, event: Event, reason: &str) -> Vec<Action> {
        let Some(election) = self.election.as_mut() else { return Vec::new() };
        let from = election.state();
        let actions = election.step(now, event);
        let to = election.state();
        if from != to {
            // A permit runs out by itself, at whichever event comes first.
            let expired = from == State::Active
                && to == State::Backup
                && matches!(event, Event::Timer | Event::ForeignClaim);
            let reason = if expired { "the permit ran out" } else { reason }.to_owned();
            let transition = Transition { from, to, reason };
            self.since = now;
            self.counters.transitions += 1;
            self.counters.became_active += u64::from(to == State::Active);
            self.last = Some(transition.clone());
            self.news.push(transition);
        }
        actions
    }
}

#[cfg(test)]
mod tests;
