//! The node's network: its cards get their names, links their members, addresses and routes, as
//! the seed says, and keep them.
//!
//! ```text
//!   seed ──> wanted ─┐
//!                    ├─> cards, plan ──> apply ──> kernel
//!   kernel ─> there ─┘      (pure)                   │
//!      ^                                             │
//!      └────────── news of links and addresses <─────┘
//! ```
//!
//! It is a comparison that is made again whenever the kernel has news: a card that appears late is
//! configured when it comes, and an address that somebody removes comes back. What can't be had (a
//! card that isn't there) is said once, and the boot goes on without it.
//!
//! It never touches an address with another owner's tag: virtual ones are the VIP daemon's. It
//! never waits for a cable, a card or another machine; each question to the kernel has its limit,
//! and one that fails is asked again later, at growing intervals.

mod apply;
mod cards;
mod carrier;
mod change;
mod observe;
mod plan;
mod speech;
mod status;
mod there;
mod wanted;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use netlink::{Check, Event, Monitor, Netlink, NetlinkError};
use seed::Seed;

use apply::{Outcome, apply};
use cards::Claims;
use carrier::Carrier;
use change::{Change, Trouble};
pub(crate) use observe::Places;
use speech::new_cards;
#[cfg(test)]
pub(crate) use status::AddressStatus;
pub(crate) use status::{AddressState, LinkStatus, NetworkStatus};
use there::There;
use wanted::Wanted;

/// How long a card may take to appear before it is said to be missing, and how long the boot
/// waits for it and for the check of IPv6 addresses, which takes up to two seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// A name, a bond, its members, a VLAN, addresses, routes: a link needs at most eight rounds.
/// What takes more turns in circles, and goes on after a pause.
const MAX_ROUNDS: usize = 16;
/// Rounds take milliseconds; where the kernel is busy, PID 1 goes on with its other work.
const LONGEST_LOOK: Duration = Duration::from_secs(2);
/// News come in bursts, and each look at the kernel reads everything.
const SHORTEST_GAP: Duration = Duration::from_millis(100);
/// What the kernel refused is tried again after this, then after twice as long, and so on.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_mins(1);
/// The kernel checks an IPv6 address once. Whoever has it as well may be gone a minute later.
const CHECK_AGAIN: Duration = Duration::from_mins(1);
/// News read at one go; the rest waits until the other inputs of PID 1 had their turn.
const MAX_NEWS: usize = 1000;

/// The network of a node while it runs.
#[derive(Debug)]
pub(crate) struct Network {
    wanted: Wanted,
    places: Places,
    started: Instant,
    kernel: Option<Kernel>,
    there: There,
    claims: Claims,
    troubles: Vec<Trouble>,
    said: Vec<Trouble>,
    carriers: BTreeMap<String, Carrier>,
    /// When to look at the kernel, if nothing else happens.
    look_at: Option<Duration>,
    last_look: Duration,
    /// When to ask again whether another machine has an address of this node.
    check_again: Option<Duration>,
    retry: Duration,
}

/// The two ways to the kernel.
#[derive(Debug)]
struct Kernel {
    netlink: Netlink,
    monitor: Monitor,
}

impl Kernel {
    fn open() -> Result<Self, NetlinkError> {
        // News first: what changes between the two is heard rather than missed.
        Ok(Self { monitor: Monitor::open()?, netlink: Netlink::open()? })
    }
}

/// How soon after a look the next one may follow, if there are news. A change that the kernel refuses may
/// make news all the same, such as an address that comes and goes, and each of them would try it again.
/// What it refuses once at the boot, such as a member that isn't there yet, is mended by the next news.
fn gap(retry: Duration) -> Duration {
    if retry > FIRST_RETRY * 2 { FIRST_RETRY } else { SHORTEST_GAP }
}

/// The drivers that a seed's links need and that no card asks for by itself, with parameters.
pub(crate) fn modules(seed: &Seed) -> Vec<(&'static str, &'static str)> {
    Wanted::of(seed).modules()
}

impl Network {
    /// Begins; the first call of [`Self::handle`] does the first work.
    pub(crate) fn start(seed: &Seed, places: Places) -> Self {
        Self::with(Wanted::of(seed), places)
    }

    fn with(wanted: Wanted, places: Places) -> Self {
        Self {
            wanted,
            places,
            started: Instant::now(),
            kernel: None,
            there: There::default(),
            claims: Claims::default(),
            troubles: Vec::new(),
            said: Vec::new(),
            carriers: BTreeMap::new(),
            look_at: Some(Duration::ZERO),
            last_look: Duration::ZERO,
            check_again: None,
            retry: FIRST_RETRY,
        }
    }

    /// Readable when there is something for [`Self::handle`] to do.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.kernel.as_ref().map(|kernel| kernel.monitor.as_fd())
    }

    /// How long until [`Self::handle`] wants to be called even if nothing happens.
    pub(crate) fn wake_in(&self) -> Option<Duration> {
        let now = self.started.elapsed();
        let patience = Some(PATIENCE).filter(|_| self.said != self.troubles);
        let due = self.carriers.values().filter_map(Carrier::due).chain(self.look_at);
        due.chain(patience).min().map(|due| due.saturating_sub(now))
    }

    /// Whether everything is there that comes without a hand, or will not come any more: after
    /// [`PATIENCE`] it always is. Until then services would fail to bind their addresses.
    pub(crate) fn settled(&self) -> bool {
        let checking = self.there.addresses.iter().any(|(index, address)| {
            let link = self.there.numbered(*index);
            let with_cable = link.is_some_and(|seen| seen.link.carrier);
            let ours = link.is_some_and(|seen| self.wanted.link(seen.name()).is_some());
            address.check == Check::Running && with_cable && ours
        });
        let finished = self.kernel.is_some() && self.troubles.is_empty() && self.look_at.is_none();
        (finished && !checking) || self.started.elapsed() >= PATIENCE
    }

    /// Does what is to be done, and returns what is to be said.
    pub(crate) fn handle(&mut self) -> Vec<String> {
        let now = self.started.elapsed();
        if self.hear_news() {
            let soonest = (self.last_look + gap(self.retry)).max(now);
            self.look_at = Some(self.look_at.map_or(soonest, |already| already.min(soonest)));
        }
        let mut lines = Vec::new();
        if self.look_at.is_some_and(|due| due <= now) {
            self.reconcile(now, &mut lines);
        }
        self.speak_of_cables(now, &mut lines);
        self.speak_of_troubles(now, &mut lines);
        lines
    }

    pub(crate) fn status(&self) -> NetworkStatus {
        NetworkStatus::of(&self.wanted, &self.there, &self.claims, &self.troubles)
    }

    /// Reads the news; whether some concern the links of the seed.
    fn hear_news(&mut self) -> bool {
        let Some(kernel) = &mut self.kernel else { return false };
        let mut concerned = false;
        for _ in 0..MAX_NEWS {
            match kernel.monitor.event() {
                Ok(Some(event)) => concerned |= concerns(&event, &self.there, &self.wanted),
                Ok(None) => return concerned,
                Err(_) => {
                    // The next look opens it anew.
                    self.kernel = None;
                    return true;
                }
            }
        }
        true
    }

    /// Round after round until nothing is left to do, or nothing more can be done for now.
    fn reconcile(&mut self, now: Duration, lines: &mut Vec<String>) {
        self.last_look = now;
        let before = std::mem::take(&mut self.troubles);
        if self.check_again.is_some_and(|due| due <= now) {
            self.forget_duplicates();
        }
        let (finished, troubles) = match self.rounds(lines) {
            Ok(outcome) => outcome,
            Err(error) => (false, vec![Trouble::Refused(error.to_string())]),
        };
        self.troubles = troubles;
        // An address that is given anew is another machine's until the check has said otherwise.
        let there = &self.there;
        let is_open = |trouble: &Trouble| match trouble {
            Trouble::Duplicate { address, .. } => there.is_checking(address),
            _ => false,
        };
        self.troubles.extend(before.into_iter().filter(is_open));
        self.troubles.sort();
        self.troubles.dedup();
        if finished {
            self.retry = FIRST_RETRY;
            self.look_at = None;
        } else {
            self.look_at = Some(now + self.retry);
            self.retry = (self.retry * 2).min(LAST_RETRY);
        }
        let taken = |trouble: &Trouble| matches!(trouble, Trouble::Duplicate { .. });
        self.check_again = if self.troubles.iter().any(taken) {
            let due = self.check_again.filter(|due| *due > now).unwrap_or(now + CHECK_AGAIN);
            self.look_at = Some(self.look_at.map_or(due, |already| already.min(due)));
            Some(due)
        } else {
            None
        };
    }

    /// Takes away the addresses that another machine had, so that they are given and checked anew.
    fn forget_duplicates(&mut self) {
        let Some(kernel) = &mut self.kernel else { return };
        for change in plan::forget_duplicates(&self.there) {
            // Whatever comes of it, the look that follows sees it.
            let _seen = apply(&change, &mut kernel.netlink, &self.places);
        }
    }

    /// The rounds; whether the last one had nothing left to do, and what stands in the way.
    fn rounds(&mut self, lines: &mut Vec<String>) -> Result<(bool, Vec<Trouble>), NetlinkError> {
        let kernel = match &mut self.kernel {
            Some(kernel) => kernel,
            None => self.kernel.insert(Kernel::open()?),
        };
        let mut refused: Vec<(Change, String)> = Vec::new();
        let (mut troubles, mut last) = (Vec::new(), None);
        for _ in 0..MAX_ROUNDS {
            if self.started.elapsed() > self.last_look + LONGEST_LOOK {
                return Ok((false, troubles));
            }
            self.there = self.places.observe(&mut kernel.netlink, &self.wanted)?;
            let (claims, without_card) = self.claims.renew(&self.wanted, &self.there);
            lines.extend(new_cards(&self.claims, &claims, &self.there));
            self.claims = claims;
            let plan = plan::plan(&self.wanted, &self.there, &self.claims);
            troubles = without_card;
            troubles.extend(plan.troubles);
            let still = refused.iter().filter(|(change, _)| plan.changes.contains(change));
            troubles.extend(still.map(|(_, words)| Trouble::Refused(words.clone())));
            let is_new = |change: &&Change| !refused.iter().any(|(other, _)| other == *change);
            let fresh: Vec<&Change> = plan.changes.iter().filter(is_new).collect();
            let Some(first) = fresh.first() else {
                return Ok((plan.changes.is_empty(), troubles));
            };
            let restless = Trouble::Restless { change: first.to_string() };
            let mut new = Vec::new();
            for change in fresh {
                match apply(change, &mut kernel.netlink, &self.places) {
                    Outcome::Done => {}
                    Outcome::Refused(words) => new.push((change.clone(), words)),
                    Outcome::NoAnswer(words) => {
                        troubles.push(Trouble::Refused(words));
                        return Ok((false, troubles));
                    }
                }
            }
            refused.extend(new);
            last = Some(restless);
        }
        troubles.extend(last);
        Ok((false, troubles))
    }
}

fn concerns(event: &Event, there: &There, wanted: &Wanted) -> bool {
    let ours = |index: u32| {
        there.numbered(index).is_some_and(|seen| seen.card || wanted.link(seen.name()).is_some())
    };
    match event {
        // Pods come and go with links of their own, and those are none of the seed's.
        Event::Link(link) => {
            link.kind.is_none() || ours(link.id.index) || wanted.link(&link.id.name).is_some()
        }
        Event::LinkGone(id) => ours(id.index),
        Event::Address(index, _) | Event::AddressGone(index, _) => ours(*index),
        Event::Lost => true,
    }
}
