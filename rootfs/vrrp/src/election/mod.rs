//! The election: one virtual router's state machine, told the time and never asking for it.
//!
//! ```text
//!                 +---------------------------+
//!                 |        Initialize         |
//!                 +---------------------------+
//!                   |    ^             |    ^
//!                  (1)  (2)           (3)  (4)
//!                   v    |             v    |
//!            +------------+  --(5)-->  +------------+
//!            |   Backup   |            |   Active   |
//!            +------------+  <--(6)--  +------------+
//! ```
//!
//! (1) Initialize -> Backup: Startup, `InterfaceUp`
//! (2) Backup -> Initialize: Shutdown, `InterfaceDown`
//! (3) Initialize -> Active: Startup, `InterfaceUp`
//! (4) Active -> Initialize: Shutdown, `InterfaceDown`
//! (5) Backup -> Active: Timer, `PermitGranted`
//! (6) Active -> Backup: Advert, `PermitLost`
//!
//! Edge 3 is the owner's (priority 255), with a permit if one is required. Every pair of state and
//! event that is not drawn stays where it is; [`TABLE`] spells all of them out, and a test holds
//! this drawing, the table and the code against each other.
//!
//! A permit that ran out is a permit lost. The machine notices at whichever event comes next, and
//! its timer is set so that one comes in time; edge 6 is then taken before the event is looked at.
//!
//! For the caller: after a pause, deliver the adverts that wait in the socket before the timer.
//! Otherwise a router that was frozen acts on its own silence before it hears who replaced it.

mod active;
mod backup;
mod table;
mod words;

pub use active::{ADVERT_GAP, ANNOUNCE_AGAIN, ANNOUNCE_GAP, DEFENCE_GAP};
pub use table::{EventKind, TABLE};
pub use words::{Action, Config, Event, Heard, State};

use active::{Active, Verdict};
use backup::Backup;
use std::time::Duration;

use crate::Priority;

/// A state with what it remembers; leaving the state forgets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Initialize,
    Backup(Backup),
    Active(Active),
}

/// One virtual router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Election {
    config: Config,
    priority: Priority,
    role: Role,
    started: bool,
    link: bool,
    permit_until: Option<Duration>,
    timer: Option<Duration>,
}

impl Election {
    /// In state Initialize, not started, with its interface up and no permit.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            priority: config.priority,
            role: Role::Initialize,
            started: false,
            link: true,
            permit_until: None,
            timer: None,
        }
    }

    pub fn state(&self) -> State {
        match self.role {
            Role::Initialize => State::Initialize,
            Role::Backup(_) => State::Backup,
            Role::Active(_) => State::Active,
        }
    }

    /// The priority in force, after health checks.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Takes one event and says what to do about it, in order.
    pub fn step(&mut self, now: Duration, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.state() == State::Active && !self.permitted(now) {
            self.apply(now, Event::PermitLost, &mut actions);
        }
        self.apply(now, event, &mut actions);
        self.retime(now, &mut actions);
        actions
    }

    /// The transition table as code: every event, in whichever state.
    fn apply(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Startup => {
                self.started = true;
                self.enter(now, actions);
            }
            Event::InterfaceUp => {
                self.link = true;
                self.enter(now, actions);
            }
            Event::Shutdown => {
                self.started = false;
                if self.resign(actions) {
                    actions.push(Action::SendPriorityZero);
                }
                self.role = Role::Initialize;
            }
            Event::InterfaceDown => {
                // Nothing can be sent on an interface that is down, so nobody is told.
                self.link = false;
                self.resign(actions);
                self.role = Role::Initialize;
            }
            Event::Advert(heard) => self.hear(now, &heard, actions),
            Event::Timer => {
                // The caller's timer is spent, so one that came too early has to be set again.
                self.timer = None;
                self.tick(now, actions);
            }
            Event::PriorityChanged(priority) => {
                let changed = self.priority != priority;
                self.priority = priority;
                if let (true, Role::Active(active)) = (changed, &mut self.role) {
                    active.advertise_soon(now, &self.config, priority, actions);
                }
            }
            Event::PermitGranted { until } => {
                self.permit_until = Some(until);
                if matches!(self.role, Role::Backup(_)) {
                    self.tick(now, actions);
                }
            }
            Event::PermitLost => {
                self.permit_until = None;
                if self.config.permit_required && self.resign(actions) {
                    actions.push(Action::SendPriorityZero);
                    self.role = Role::Backup(Backup::waiting(now, self.config.interval));
                }
            }
            Event::ForeignClaim => {
                if let Role::Active(active) = &mut self.role {
                    active.defend(now, &self.config, actions);
                }
            }
        }
    }

    /// Leaves Initialize if nothing keeps us there.
    fn enter(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.role != Role::Initialize || !self.started || !self.link {
            return;
        }
        if self.priority.is_owner() && self.permitted(now) {
            self.take_over(now, actions);
        } else {
            self.role = Role::Backup(Backup::waiting(now, self.config.interval));
        }
    }

    /// Gives the addresses up if we have them, and says whether we had.
    ///
    /// The caller tells the others afterwards: they may take over within milliseconds of hearing
    /// it, and the addresses must be gone from here by then.
    fn resign(&mut self, actions: &mut Vec<Action>) -> bool {
        let had = self.state() == State::Active;
        if had {
            actions.push(Action::Release);
        }
        had
    }

    fn take_over(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.role = Role::Active(Active::take_over(now, &self.config, self.priority, actions));
    }

    fn hear(&mut self, now: Duration, heard: &Heard, actions: &mut Vec<Action>) {
        // Our own advert, looped back by a switch or the kernel, must not hold an election.
        if heard.source == self.config.primary {
            return;
        }
        match &mut self.role {
            Role::Initialize => {}
            Role::Backup(backup) => backup.hear(now, heard, &self.config, self.priority),
            Role::Active(active) => match Active::judge(heard, self.priority, &self.config.primary)
            {
                Verdict::Yield => {
                    self.resign(actions);
                    // Who was frozen may have answered questions that had waited for it, and be
                    // believed: nobody else saw those answers. A last losing advert, once no more
                    // can come, makes the better router announce the addresses again.
                    actions.push(Action::SendAdvert { priority: self.priority });
                    self.role = Role::Backup(Backup::waiting(now, heard.interval));
                }
                Verdict::Resigned => {
                    active.advertise_soon(now, &self.config, self.priority, actions);
                }
                Verdict::Assert => {
                    active.advertise_soon(now, &self.config, self.priority, actions);
                    // The sender believed itself Active, so it has told the neighbours so.
                    active.announce_soon(now, &self.config, actions);
                }
            },
        }
    }

    fn tick(&mut self, now: Duration, actions: &mut Vec<Action>) {
        match &mut self.role {
            Role::Initialize => {}
            Role::Backup(backup) => {
                let silent = now >= backup.down_at(&self.config, self.priority);
                if silent && self.permitted(now) {
                    self.take_over(now, actions);
                }
            }
            Role::Active(active) => active.tick(now, &self.config, self.priority, actions),
        }
    }

    fn permitted(&self, now: Duration) -> bool {
        !self.config.permit_required || self.permit_until.is_some_and(|until| now < until)
    }

    /// When the next event comes by itself.
    fn deadline(&self, now: Duration) -> Option<Duration> {
        match &self.role {
            Role::Initialize => None,
            // Without a permit there is nothing to do at the end of the silence.
            Role::Backup(backup) => {
                let down_at = backup.down_at(&self.config, self.priority);
                (now < down_at || self.permitted(now)).then_some(down_at)
            }
            Role::Active(active) => {
                let until = self.permit_until.filter(|_| self.config.permit_required);
                Some(until.map_or(active.deadline(), |until| until.min(active.deadline())))
            }
        }
    }

    fn retime(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let deadline = self.deadline(now);
        if deadline != self.timer {
            self.timer = deadline;
            actions.push(deadline.map_or(Action::CancelTimer, |at| Action::SetTimer { at }));
        }
    }
}

#[cfg(test)]
mod tests;
