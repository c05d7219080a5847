//! Being Active: adverts and announcements, each with its pace.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::time::Duration;

use super::words::{Action, Config, Heard};
use crate::Priority;

/// The least time between two adverts, whatever provokes them: the shortest interval there is. A
/// flood of losing adverts then costs a hundred answers a second and not one for each.
pub const ADVERT_GAP: Duration = Duration::from_millis(10);
/// The least time between two announcements. Neighbours follow the last claim they heard, so a
/// provocation within the gap is answered at its end and never forgotten.
pub const ANNOUNCE_GAP: Duration = Duration::from_millis(200);
/// The longest time between two answers to claims that don't end. Two Actives that hear no adverts of each
/// other answer each other for ever, and each answer is a claim (RFC 5227, section 2.4, has ten seconds).
pub const DEFENCE_GAP: Duration = Duration::from_secs(10);
/// How long after its takeover a new Active announces again, beside the announcement that belongs to
/// it: nobody answers one, so a single frame that is lost would cost the neighbours all the time to
/// the next. What lost the first may lose what follows at once, hence the gaps grow. The last comes
/// when keepalived repeats its own, for a switch that was still learning.
pub const ANNOUNCE_AGAIN: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_millis(600),
    Duration::from_millis(1400),
    Duration::from_secs(5),
];

/// What an Active remembers of its own packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Active {
    took_over_at: Duration,
    sent_at: Duration,
    next_advert: Duration,
    announced_at: Duration,
    next_announce: Option<Duration>,
    /// When somebody else last claimed an address.
    claimed_at: Option<Duration>,
    /// Doubles with each answer, and is the least time to the next one.
    defence_gap: Duration,
    /// The next announcement is such an answer.
    defends: bool,
}

/// What an Active makes of another router's advert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The sender is better.
    Yield,
    /// The sender resigned, so it was Active a moment ago.
    Resigned,
    /// The sender is lesser and does not know of us.
    Assert,
}

impl Active {
    /// Takes over. The advert comes first: it is what stops another backup from doing the same.
    pub(super) fn take_over(
        now: Duration,
        config: &Config,
        priority: Priority,
        actions: &mut Vec<Action>,
    ) -> Self {
        actions.push(Action::SendAdvert { priority });
        actions.push(Action::AddAddresses);
        actions.push(Action::Announce);
        Self {
            took_over_at: now,
            sent_at: now,
            next_advert: now.saturating_add(config.interval.duration()),
            announced_at: now,
            next_announce: next_announce(now, now, config),
            claimed_at: None,
            defence_gap: Duration::ZERO,
            defends: false,
        }
    }

    /// When something is due by itself.
    pub(super) fn deadline(&self) -> Duration {
        self.next_announce.map_or(self.next_advert, |at| at.min(self.next_advert))
    }

    /// Compares as both RFCs do: by priority, and then by address as an unsigned number.
    pub(super) fn judge(heard: &Heard, ours: Priority, primary: &IpAddr) -> Verdict {
        if heard.priority == 0 {
            return Verdict::Resigned;
        }
        let tie = || heard.source.cmp(primary);
        match heard.priority.cmp(&ours.get()).then_with(tie) {
            Ordering::Greater => Verdict::Yield,
            Ordering::Less | Ordering::Equal => Verdict::Assert,
        }
    }

    /// Does what is due.
    pub(super) fn tick(
        &mut self,
        now: Duration,
        config: &Config,
        priority: Priority,
        actions: &mut Vec<Action>,
    ) {
        if now >= self.next_advert {
            self.advertise(now, config, priority, actions);
        }
        if self.next_announce.is_some_and(|at| now >= at) {
            self.announce(now, config, actions);
        }
    }

    /// Sends an advert now, or as soon as the gap allows.
    pub(super) fn advertise_soon(
        &mut self,
        now: Duration,
        config: &Config,
        priority: Priority,
        actions: &mut Vec<Action>,
    ) {
        let allowed_at = self.sent_at.saturating_add(ADVERT_GAP);
        if now >= allowed_at {
            self.advertise(now, config, priority, actions);
        } else {
            self.next_advert = self.next_advert.min(allowed_at);
        }
    }

    /// Announces now, or as soon as the gap allows.
    pub(super) fn announce_soon(
        &mut self,
        now: Duration,
        config: &Config,
        actions: &mut Vec<Action>,
    ) {
        self.announce_after(ANNOUNCE_GAP, now, config, actions);
    }

    /// Answers somebody else's claim: soon at first, and ever more seldom while claims go on.
    pub(super) fn defend(&mut self, now: Duration, config: &Config, actions: &mut Vec<Action>) {
        // Whoever answers as seldom as we do isn't quiet yet.
        let quiet = |at: Duration| now.saturating_sub(at) > DEFENCE_GAP * 2;
        if self.claimed_at.is_none_or(quiet) {
            self.defence_gap = Duration::ZERO;
        }
        self.claimed_at = Some(now);
        self.defends = true;
        self.announce_after(self.defence_gap.max(ANNOUNCE_GAP), now, config, actions);
    }

    fn announce_after(
        &mut self,
        gap: Duration,
        now: Duration,
        config: &Config,
        actions: &mut Vec<Action>,
    ) {
        let allowed_at = self.announced_at.saturating_add(gap);
        if now >= allowed_at {
            self.announce(now, config, actions);
        } else {
            self.next_announce =
                Some(self.next_announce.map_or(allowed_at, |at| at.min(allowed_at)));
        }
    }

    fn advertise(
        &mut self,
        now: Duration,
        config: &Config,
        priority: Priority,
        actions: &mut Vec<Action>,
    ) {
        actions.push(Action::SendAdvert { priority });
        self.sent_at = now;
        self.next_advert = now.saturating_add(config.interval.duration());
    }

    fn announce(&mut self, now: Duration, config: &Config, actions: &mut Vec<Action>) {
        actions.push(Action::Announce);
        if std::mem::take(&mut self.defends) {
            self.defence_gap = (self.defence_gap * 2).clamp(ANNOUNCE_GAP, DEFENCE_GAP);
        }
        self.announced_at = now;
        self.next_announce = next_announce(self.took_over_at, now, config);
    }
}

/// When to announce again after doing so now: for the takeover or to refresh, whichever is sooner.
fn next_announce(took_over_at: Duration, now: Duration, config: &Config) -> Option<Duration> {
    let soonest = now.saturating_add(ANNOUNCE_GAP);
    let mut again = ANNOUNCE_AGAIN.iter().map(|after| took_over_at.saturating_add(*after));
    let again = again.find(|at| *at >= soonest);
    let refresh = config.refresh.map(|every| now.saturating_add(every).max(soonest));
    again.into_iter().chain(refresh).min()
}
