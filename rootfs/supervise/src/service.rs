//! One supervised service: its place in the table, and what the table needs to know about it.

use std::time::Duration;

use seed::manifest::{Ready, RestartPolicy, Service};

use crate::backoff::BackOff;
use crate::event::{Action, Exit, Run, ServiceId};
use crate::state::{Effect, Input, State};
use crate::table::{Cell, transition};

/// A killed cgroup that still isn't empty is killed again after this time. The kernel does it in
/// milliseconds; what takes longer hangs in a device, and asking more often doesn't help.
pub const KILL_AGAIN: Duration = Duration::from_secs(5);

/// A service and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Supervised {
    pub(crate) service: Service,
    pub(crate) state: State,
    /// When it came into its state.
    pub(crate) since: Duration,
    /// When the state is over by itself.
    pub(crate) deadline: Option<Duration>,
    /// What the operator wants: up or down.
    pub(crate) desired: bool,
    /// Whether the operator wants this run to end and another to follow.
    pub(crate) restarting: bool,
    /// Whether this run ends because it wasn't ready in time, or fell silent.
    late: bool,
    pub(crate) run: Run,
    ready_since: Option<Duration>,
    pub(crate) last_exit: Option<Exit>,
    backoff: BackOff,
}

impl Supervised {
    pub(crate) fn new(service: Service) -> Self {
        Self {
            service,
            state: State::Down,
            since: Duration::ZERO,
            deadline: None,
            desired: true,
            restarting: false,
            late: false,
            run: Run::default(),
            ready_since: None,
            last_exit: None,
            backoff: BackOff::default(),
        }
    }

    /// Looks the input up in the table and does what is there; says whether anything moved.
    pub(crate) fn apply(
        &mut self,
        id: ServiceId,
        input: Input,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Cell::Go(to, effect) = transition(self.state, input) else { return false };
        let from = self.state;
        self.enter(to, input, now);
        actions.push(Action::Moved { service: id, from, to, because: input });
        actions.extend(effect.map(|effect| match effect {
            Effect::Spawn => Action::Spawn(id, self.run),
            Effect::Probe => Action::Probe(id, self.run),
            Effect::Signal => Action::Signal(id, self.run),
            Effect::KillGroup => Action::KillGroup(id, self.run),
        }));
        true
    }

    fn enter(&mut self, to: State, because: Input, now: Duration) {
        match to {
            State::Starting => {
                self.run = Run(self.run.0.saturating_add(1));
                self.late = false;
                self.ready_since = None;
            }
            State::Ready => self.ready_since = Some(now),
            State::Stopping => self.late = because == Input::Timer,
            // One that doesn't even say that it is alive isn't asked to end.
            State::Killing if self.state == State::Ready => self.late = because == Input::Timer,
            _ => {}
        }
        self.deadline = match to {
            State::Starting => Some(now.saturating_add(self.service.ready_timeout.duration())),
            // The time to become ready counts from the start.
            State::Running => self.deadline,
            State::Ready => self.silent_from(now),
            State::Stopping => Some(now.saturating_add(self.service.stop.timeout.duration())),
            State::Killing => Some(now.saturating_add(KILL_AGAIN)),
            State::BackOff => Some(now.saturating_add(self.pause(now))),
            _ => None,
        };
        if !to.has_process() {
            self.restarting = false;
        }
        if self.state != to {
            self.since = now;
        }
        self.state = to;
    }

    /// It said that it is alive.
    pub(crate) fn is_alive(&mut self, now: Duration) {
        if self.state == State::Ready {
            self.deadline = self.silent_from(now);
        }
    }

    /// Nobody listened for that long, so whoever should have spoken gets that much longer.
    pub(crate) fn forgive(&mut self, absence: Duration) {
        if self.state == State::Ready {
            self.deadline = self.deadline.map(|deadline| deadline.saturating_add(absence));
        }
    }

    /// Until when one that spoke now must speak again, if it has to.
    fn silent_from(&self, now: Duration) -> Option<Duration> {
        let interval = self.service.watchdog?;
        Some(now.saturating_add(interval.duration()))
    }

    fn pause(&mut self, now: Duration) -> Duration {
        let ready_for = self.ready_since.map(|since| now.saturating_sub(since));
        self.backoff.next(&self.service.restart, ready_for)
    }

    /// The next attempt shall be like the first.
    pub(crate) fn forget_failures(&mut self) {
        self.backoff.forget();
    }

    /// Whether the sign of readiness is that the process exists.
    pub(crate) fn is_ready_when_spawned(&self) -> bool {
        self.service.ready == Ready::Running
    }

    /// Whether it is a job, which is ready by having ended.
    pub(crate) fn is_job(&self) -> bool {
        self.service.ready == Ready::Done
    }

    /// What the end of its process means.
    pub(crate) fn judge(&self, exit: Exit) -> Input {
        let asked = matches!(self.state, State::Stopping | State::Killing);
        if asked && !self.late {
            return Input::EndsAsAsked;
        }
        // What was stopped for being late has failed, however politely it ended.
        let good = exit.is_success() && !asked;
        match self.service.restart.policy {
            _ if good && self.is_job() => Input::JobDone,
            RestartPolicy::OnFailure | RestartPolicy::Never if good => Input::EndsWell,
            RestartPolicy::Always | RestartPolicy::OnFailure => Input::EndsForAWhile,
            RestartPolicy::Never => Input::EndsBadly,
        }
    }

    pub(crate) fn is_due(&self, now: Duration) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}
