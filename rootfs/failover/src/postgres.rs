//! PostgreSQL as the core sees it: what it is, what it was told, and the one command that brings
//! it nearer to what it should be. Desired and actual are compared at every step.

use std::time::Duration;

use crate::event::{Data, PgCommand, PgReport};
use crate::uncounted::{Counter, Uncounted};
use crate::words::{Lsn, Ticket, Timeline};

/// What PostgreSQL is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Running {
    /// Not running.
    Stopped,
    /// A standby.
    Standby {
        /// Whether it streams, and so acknowledges.
        receiving: bool,
    },
    /// A primary.
    Primary {
        /// Whether commits wait for the peer.
        waiting: bool,
    },
}

/// What PostgreSQL should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Desire {
    /// Not running, at once.
    Stopped,
    /// Not running, with all WAL sent.
    StoppedClean,
    /// A primary whose commits wait for the peer, or don't.
    Primary {
        /// Whether they wait.
        wait: bool,
    },
    /// A standby that streams, or doesn't.
    Standby {
        /// Whether it streams.
        receive: bool,
    },
    /// Stopped, and wound back to the leader's history.
    Rewound,
    /// Stopped, and a copy of the leader's data.
    Cloned,
}

/// Failures after which the peer is asked to lead.
const FAILURES_MAX: u32 = 3;
/// Failures after which a standby's data is given up. What passes by itself has passed by then.
const STANDBY_FAILURES_MAX: u32 = 20;
/// Whoever has run so long is well: what it failed of before is forgotten.
const STEADY: Duration = Duration::from_mins(10);
/// Whoever ends again after no longer ends of something that is still there: the next start waits.
const BRIEF: Duration = Duration::from_secs(10);

/// A copy may take an hour before its disk turns out to be too small. The pause before the next one
/// doubles so often.
const COPY_PAUSE_DOUBLINGS: u32 = 6;

/// What is known of PostgreSQL.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Postgres {
    pub(crate) data: Data,
    pub(crate) running: Running,
    /// The command under way; tickets make answers to overtaken commands recognisable.
    command: Option<(Uncounted<Ticket>, PgCommand)>,
    tickets: Counter,
    pub(crate) timeline: Timeline,
    pub(crate) lsn: Lsn,
    /// How far the peer has flushed, while it streams.
    pub(crate) peer: Option<Lsn>,
    /// When the peer last streamed.
    pub(crate) streamed: Option<Duration>,
    /// What the peer must have flushed before clients may rely on it.
    pub(crate) barrier: Option<Lsn>,
    /// Since when a primary that should run doesn't.
    pub(crate) down_since: Option<Duration>,
    /// When it last came up.
    started: Uncounted<Duration>,
    /// Starts that failed, and ends soon after a start.
    failures: u32,
    /// A start was ended for a hand-over, and nothing has run since. The next one may go on: if the
    /// peer doesn't take over, only this node can serve, however long its recovery takes.
    cut_short: bool,
    failed_copies: u32,
    /// No copy before.
    copy_at: Duration,
    retry_at: Duration,
    /// The data parted from the leader's history, as PostgreSQL itself found.
    pub(crate) cannot_follow: bool,
    /// Rewinding failed, or PostgreSQL doesn't start from the data: only a copy helps.
    pub(crate) clone_needed: bool,
    /// How the last repair ended.
    pub(crate) repaired: Option<bool>,
}

impl Postgres {
    pub(crate) fn new(data: Data) -> Self {
        Self {
            data,
            running: Running::Stopped,
            command: None,
            tickets: Counter::default(),
            timeline: Timeline(0),
            lsn: Lsn(0),
            peer: None,
            streamed: None,
            barrier: None,
            down_since: None,
            started: Uncounted(Duration::ZERO),
            failures: 0,
            cut_short: false,
            failed_copies: 0,
            copy_at: Duration::ZERO,
            retry_at: Duration::ZERO,
            cannot_follow: false,
            clone_needed: false,
            repaired: None,
        }
    }

    /// Takes writes, and isn't being stopped.
    pub(crate) fn is_primary(&self) -> bool {
        let stops = matches!(self.command, Some((_, PgCommand::Stop | PgCommand::StopClean)));
        matches!(self.running, Running::Primary { .. }) && !stops
    }

    /// Nothing is acknowledged to a primary from here, now or later, unless it is told to.
    pub(crate) fn acknowledges_nothing(&self) -> bool {
        let starting = matches!(self.command, Some((_, PgCommand::StartStandby { receive: true })));
        !starting && self.running != Running::Standby { receiving: true }
    }

    /// Certainly not running.
    pub(crate) fn is_stopped(&self) -> bool {
        self.running == Running::Stopped && self.command.is_none()
    }

    pub(crate) fn has_data(&self) -> bool {
        self.data != Data::Missing && !self.clone_needed
    }

    /// A primary that doesn't come back, or ends again and again.
    pub(crate) fn keeps_failing(&self, now: Duration, bound: Duration) -> bool {
        let down = !matches!(self.running, Running::Primary { .. });
        (down && self.failures >= FAILURES_MAX)
            || self.down_since.is_some_and(|since| now.saturating_sub(since) > bound)
    }

    /// A standby that won't come up, or doesn't stay up, whatever the reason is.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.failures >= STANDBY_FAILURES_MAX
    }

    /// Takes in news; the command that it completes, and whether that went well.
    pub(crate) fn hear(
        &mut self,
        now: Duration,
        retry: Duration,
        report: PgReport,
    ) -> Option<(PgCommand, bool)> {
        // Failures that lie far apart, such as one each month, have nothing to do with each other.
        if self.running != Running::Stopped && now.saturating_sub(self.started.0) >= STEADY {
            self.failures = 0;
        }
        match report {
            PgReport::Done(ticket, timeline, lsn) => {
                let command = self.complete(ticket)?;
                (self.timeline, self.lsn) = (timeline, lsn);
                self.done(now, command, lsn);
                Some((command, true))
            }
            PgReport::Failed(ticket) => {
                let command = self.complete(ticket)?;
                self.running = Running::Stopped;
                self.peer = None;
                self.failures += 1;
                self.retry_at = now.saturating_add(retry);
                if command == PgCommand::Reclone {
                    let doublings = self.failed_copies.min(COPY_PAUSE_DOUBLINGS);
                    self.copy_at = now.saturating_add(retry.saturating_mul(1 << doublings));
                    self.failed_copies = self.failed_copies.saturating_add(1);
                }
                if matches!(command, PgCommand::Rewind | PgCommand::Reclone) {
                    self.repaired = Some(false);
                }
                Some((command, false))
            }
            PgReport::Exited => {
                if self.running != Running::Stopped {
                    self.failures += 1;
                    if now.saturating_sub(self.started.0) < BRIEF && self.failures > 1 {
                        self.retry_at = now.saturating_add(retry);
                    }
                }
                self.running = Running::Stopped;
                self.peer = None;
                None
            }
            PgReport::CannotFollow => {
                self.cannot_follow = true;
                None
            }
            PgReport::Status { timeline, lsn, peer } => {
                (self.timeline, self.lsn, self.peer) = (timeline, lsn, peer);
                if peer.is_some() {
                    self.streamed = Some(now);
                }
                None
            }
        }
    }

    fn complete(&mut self, ticket: Ticket) -> Option<PgCommand> {
        let (_, command) = self.command.filter(|(asked, _)| asked.0 == ticket)?;
        self.command = None;
        Some(command)
    }

    fn done(&mut self, now: Duration, command: PgCommand, lsn: Lsn) {
        match command {
            PgCommand::StartPrimary { .. } | PgCommand::StartStandby { .. } => {
                if self.running == Running::Stopped {
                    self.started = Uncounted(now);
                }
                self.cut_short = false;
            }
            // What it failed of before was another life.
            PgCommand::InitDb | PgCommand::Promote | PgCommand::Rewind | PgCommand::Reclone => {
                self.failures = 0;
                self.started = Uncounted(now);
            }
            _ => {}
        }
        match command {
            PgCommand::InitDb => self.data = Data::Primary,
            PgCommand::StartPrimary { wait } => {
                (self.running, self.data) = (Running::Primary { waiting: wait }, Data::Primary);
                self.barrier = Some(lsn);
            }
            PgCommand::StartStandby { receive } => {
                let running = Running::Standby { receiving: receive };
                (self.running, self.data) = (running, Data::Standby);
            }
            PgCommand::StopReceiver => self.running = Running::Standby { receiving: false },
            PgCommand::Promote => {
                (self.running, self.data) = (Running::Primary { waiting: false }, Data::Primary);
            }
            PgCommand::RequirePeer => {
                self.running = Running::Primary { waiting: true };
                self.barrier = Some(lsn);
            }
            PgCommand::ReleasePeer => self.running = Running::Primary { waiting: false },
            PgCommand::Stop | PgCommand::StopClean => {
                (self.running, self.peer) = (Running::Stopped, None);
            }
            PgCommand::Rewind | PgCommand::Reclone => {
                (self.running, self.data) = (Running::Stopped, Data::Standby);
                (self.cannot_follow, self.clone_needed) = (false, false);
                (self.failed_copies, self.copy_at) = (0, Duration::ZERO);
                self.repaired = Some(true);
            }
        }
    }

    /// The next command that brings PostgreSQL nearer to what it should be. `fresh` allows to make
    /// a new database where there is none.
    pub(crate) fn reach(
        &mut self,
        now: Duration,
        desire: Desire,
        fresh: bool,
    ) -> Option<(Ticket, PgCommand)> {
        let wanted = self.next_command(desire, fresh)?;
        let overtakes = wanted == PgCommand::Stop
            && !matches!(
                self.command,
                Some((_, PgCommand::Stop | PgCommand::Rewind | PgCommand::Reclone))
            );
        let from = match wanted {
            PgCommand::Stop => Duration::ZERO,
            PgCommand::Reclone => self.retry_at.max(self.copy_at),
            _ => self.retry_at,
        };
        let due = self.command.is_none() && now >= from;
        if !(due || overtakes) {
            return None;
        }
        let ticket = self.tickets.next();
        if desire == Desire::StoppedClean && self.running == Running::Stopped {
            self.cut_short = true;
        }
        if matches!(wanted, PgCommand::Rewind | PgCommand::Reclone) {
            self.repaired = None;
        }
        self.command = Some((Uncounted(ticket), wanted));
        Some((ticket, wanted))
    }

    /// Commits may wait for nobody from now on. PostgreSQL lets them go when one of its processes reads
    /// its settings, which may take minutes, and only some time later it is told here that it has.
    pub(crate) fn doubt_waiting(&mut self) {
        if matches!(self.command, Some((_, PgCommand::ReleasePeer))) {
            self.running = Running::Primary { waiting: false };
            self.barrier = None;
        }
    }

    fn next_command(&self, desire: Desire, fresh: bool) -> Option<PgCommand> {
        let busy = self.command.is_some();
        match (desire, self.running) {
            (Desire::Stopped | Desire::Rewound | Desire::Cloned, running)
                if running != Running::Stopped || busy =>
            {
                Some(PgCommand::Stop)
            }
            (Desire::StoppedClean, Running::Primary { .. }) => Some(PgCommand::StopClean),
            (Desire::StoppedClean, Running::Standby { .. }) => Some(PgCommand::Stop),
            // A start that took too long is why the peer shall lead: nobody waits for its end.
            (Desire::StoppedClean, Running::Stopped) if busy && !self.cut_short => {
                Some(PgCommand::Stop)
            }
            (Desire::Rewound, _) => Some(PgCommand::Rewind),
            (Desire::Cloned, _) => Some(PgCommand::Reclone),
            (Desire::Primary { wait }, running) => self.towards_primary(wait, running, fresh),
            (Desire::Standby { receive }, running) => match running {
                Running::Primary { .. } => Some(PgCommand::Stop),
                Running::Standby { receiving: true } if !receive => Some(PgCommand::StopReceiver),
                Running::Standby { receiving } if receiving == receive => None,
                _ => self.has_data().then_some(PgCommand::StartStandby { receive }),
            },
            _ => None,
        }
    }

    fn towards_primary(&self, wait: bool, running: Running, fresh: bool) -> Option<PgCommand> {
        match (running, self.data) {
            (Running::Primary { waiting }, _) if waiting == wait => None,
            (Running::Primary { .. }, _) if wait => Some(PgCommand::RequirePeer),
            (Running::Primary { .. }, _) => Some(PgCommand::ReleasePeer),
            (Running::Standby { .. }, _) => Some(PgCommand::Promote),
            (Running::Stopped, Data::Missing) => fresh.then_some(PgCommand::InitDb),
            (Running::Stopped, _) if self.clone_needed => None,
            (Running::Stopped, Data::Standby) => Some(PgCommand::StartStandby { receive: false }),
            (Running::Stopped, Data::Primary) => Some(PgCommand::StartPrimary { wait }),
        }
    }

    pub(crate) fn shift_back(&mut self, by: Duration) {
        let back = |time: &mut Duration| *time = time.saturating_sub(by);
        back(&mut self.retry_at);
        back(&mut self.copy_at);
        back(&mut self.started.0);
        self.streamed.iter_mut().for_each(back);
        self.down_since.iter_mut().for_each(back);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Duration = Duration::from_millis(500);

    /// Starts a standby as soon as that may be, and has it end so much later; when it ended.
    fn ends_after(pg: &mut Postgres, mut now: Duration, ran: Duration) -> Duration {
        let started = loop {
            match pg.reach(now, Desire::Standby { receive: true }, false) {
                Some((ticket, _)) => break ticket,
                None => now += RETRY,
            }
        };
        pg.hear(now, RETRY, PgReport::Done(started, Timeline(1), Lsn(1)));
        pg.hear(now + ran, RETRY, PgReport::Exited);
        now + ran
    }

    /// It stumbles over the same record of its log each time.
    #[test]
    fn a_standby_that_comes_up_and_does_not_stay_up_is_hopeless_in_the_end() {
        let mut pg = Postgres::new(Data::Standby);
        let mut now = Duration::ZERO;
        for _ in 0..STANDBY_FAILURES_MAX {
            assert!(!pg.is_hopeless());
            now = ends_after(&mut pg, now, Duration::from_secs(2));
        }
        assert!(pg.is_hopeless());
        assert!(now > (RETRY + Duration::from_secs(2)) * (STANDBY_FAILURES_MAX - 1), "with pauses");
    }

    #[test]
    fn ends_that_are_far_apart_have_nothing_to_do_with_each_other() {
        let mut pg = Postgres::new(Data::Standby);
        let mut now = Duration::ZERO;
        for _ in 0..2 * STANDBY_FAILURES_MAX {
            now = ends_after(&mut pg, now, STEADY);
        }
        assert!(!pg.is_hopeless());
    }
}
