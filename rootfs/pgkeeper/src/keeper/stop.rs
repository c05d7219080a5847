//! The end in good order: the peer takes over if it can, then PostgreSQL ends with all its log sent.
//!
//! ```text
//!   signal ──leads, peer in sync──> HandingOver ──we agreed that the peer leads──> Telling
//!      │                                 │ too late                                │ a moment later
//!      │                                 v                                         v
//!      └────────anything else────────> Stopping <──────────────────────────────────┘ ──> ended
//! ```
//!
//! That this node agreed is told by its heartbeats. A peer that never heard it may not serve before it
//! has another authority, and by the policy "consistency" it has none.
//!
//! Each part has a bound, and a second signal ends the wait. Whatever is still running then is
//! killed with the service's cgroup.

use std::time::Duration;

use failover::{Command, Event, PgCommand, State, Ticket};
use sys::clock;

use super::role::Keeper;

/// Beyond the protocol's own bound of a hand-over.
const HAND_OVER_MORE: Duration = Duration::from_secs(1);
/// From the end of our own lead to the record that the peer leads, on a slow disk.
const CONSENT: Duration = Duration::from_secs(2);
/// Heartbeats that tell the peer of our consent; any of them will do.
const TOLD_IN_HEARTBEATS: u32 = 4;
/// For a shutdown with a checkpoint.
const POSTGRES_LIMIT: Duration = Duration::from_secs(10);
/// The protocol counts its tickets upwards from one, and isn't asked any more by then.
const LAST_TICKET: Ticket = Ticket(u64::MAX);

/// How far the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The peer shall take over, until then.
    HandingOver(Duration),
    /// The peer is told that it leads, until then.
    Telling(Duration),
    /// The protocol is left; PostgreSQL shall end, until then.
    Stopping(Duration),
    /// Nothing is left to wait for.
    Ended,
}

impl Stop {
    pub(super) fn until(&self) -> Duration {
        match self {
            Self::HandingOver(until) | Self::Telling(until) | Self::Stopping(until) => *until,
            Self::Ended => Duration::ZERO,
        }
    }
}

impl Keeper {
    pub(super) fn has_ended(&self) -> bool {
        self.stop == Some(Stop::Ended)
    }

    /// Whether the protocol is over for this run.
    pub(super) fn has_left(&self) -> bool {
        matches!(self.stop, Some(Stop::Stopping(_) | Stop::Ended))
    }

    /// Whether the peer leads, and all that is left to do is to say so.
    pub(super) fn only_tells(&self) -> bool {
        matches!(self.stop, Some(Stop::Telling(_)))
    }

    pub(super) fn hear_signals(&mut self) {
        while let Ok(Some(_)) = self.signals.next() {
            if self.stop.is_some() {
                self.log.line("ends at once: it was asked again");
                self.leave();
                self.stop = Some(Stop::Ended);
            } else {
                self.begin_to_stop();
            }
        }
    }

    pub(super) fn begin_to_stop(&mut self) {
        self.log.line("shall end");
        let order = Event::Operator(Command::Switchover);
        let state = self.core.status().state;
        if hands_over(state, || self.order_step(&order).is_some_and(|reply| reply.is_ok())) {
            let bound = self.settings.times.handover_bound.saturating_add(HAND_OVER_MORE);
            self.stop = Some(Stop::HandingOver(clock::boot().saturating_add(bound)));
        } else {
            self.stop_postgres();
        }
    }

    /// The next part of the end, if its time has come.
    pub(super) fn go_on_stopping(&mut self) {
        let now = clock::boot();
        match self.stop {
            Some(Stop::HandingOver(until)) => {
                let status = self.core.status();
                let me = self.settings.side;
                if now >= until {
                    self.stop_postgres();
                } else if status.record.config.led_by(me.peer()) {
                    let told = self.settings.times.heartbeat.saturating_mul(TOLD_IN_HEARTBEATS);
                    self.stop = Some(Stop::Telling(now.saturating_add(told)));
                } else if !status.state.is_leading() && status.state != State::HandOver {
                    // The peer's claim may be in our record in a moment, or never.
                    self.stop = Some(Stop::HandingOver(until.min(now.saturating_add(CONSENT))));
                }
            }
            Some(Stop::Telling(until)) if now >= until => self.stop_postgres(),
            Some(Stop::Stopping(until)) if now >= until => {
                self.log.line("PostgreSQL took too long to end, and is killed");
                self.stop = Some(Stop::Ended);
            }
            _ => {}
        }
    }

    fn stop_postgres(&mut self) {
        self.leave();
        self.door = None;
        self.stop = Some(Stop::Stopping(clock::boot().saturating_add(POSTGRES_LIMIT)));
        match self.busy {
            // Its answer is awaited; a second one would only make the end less clean.
            Some((_, PgCommand::Stop | PgCommand::StopClean)) => {}
            // What is being replaced is no database, so there is nothing to end cleanly.
            Some((_, PgCommand::Rewind | PgCommand::Reclone | PgCommand::InitDb)) => {
                self.stop = Some(Stop::Ended);
            }
            Some(_) => self.postgres.command(LAST_TICKET, PgCommand::Stop),
            None => self.postgres.command(LAST_TICKET, PgCommand::StopClean),
        }
    }

    /// Nothing is served from here on.
    fn leave(&mut self) {
        self.gate.close();
        self.permit.withdraw();
    }

    /// PostgreSQL answered a command.
    pub(super) fn heard_stopped(&mut self, ticket: Ticket) {
        let stops = matches!(self.stop, Some(Stop::Stopping(_)));
        if stops && (ticket == LAST_TICKET || self.busy.is_none()) {
            self.stop = Some(Stop::Ended);
        }
    }
}

/// Whether the end begins with a hand-over: one that is under way goes on, or the peer would never
/// see its offer; a leader orders one.
fn hands_over(state: State, order: impl FnOnce() -> bool) -> bool {
    state == State::HandOver || (state.is_leading() && order())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_over_under_way_is_awaited_and_a_leader_orders_one() {
        for state in State::ALL {
            let ordered = std::cell::Cell::new(false);
            let order = |accepted| {
                ordered.set(true);
                accepted
            };
            let under_way = state == State::HandOver;
            let begun = hands_over(state, || order(true));
            assert_eq!(begun, under_way || state.is_leading(), "{state:?}");
            assert_eq!(ordered.get(), state.is_leading(), "{state:?}");
            assert_eq!(hands_over(state, || order(false)), under_way, "{state:?}");
        }
    }
}
