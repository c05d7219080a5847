//! The supervisor: one step takes an event, lets time pass, and brings every service nearer to what
//! is desired.

use std::time::Duration;

use seed::manifest::Service;
use serde_json::Value;

use crate::event::{Action, Event, Exit, Report, Run, ServiceId, Wish};
use crate::graph::{self, Graph, GraphError};
use crate::levels::Levels;
use crate::service::Supervised;
use crate::state::{Input, State};

/// How long a shutdown waits, after its time is over and everything was killed, until it is
/// declared over with whatever refuses to die. The kernel needs milliseconds; the rest are for a
/// busy machine.
pub const KILL_GRACE: Duration = Duration::from_secs(2);

/// The longest time between two steps of a loop that isn't starved: it wakes every second to feed the
/// watchdog. A loop that was away for longer (the machine stood still, or was busy beyond measure)
/// can't tell who was silent meanwhile.
pub const ABSENCE: Duration = Duration::from_secs(2);

/// No time is later; about a thousand years. It keeps every deadline a finite time away.
pub const LATEST_TIME: Duration = Duration::from_secs(1 << 35);

/// All services of a node, and where each of them is.
#[derive(Clone, Debug)]
pub struct Supervisor {
    pub(crate) services: Vec<Supervised>,
    pub(crate) graph: Graph,
    /// The time of the last step.
    pub(crate) now: Duration,
    ending: Option<Ending>,
}

/// A shutdown, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Services are asked to stop, in order, until then.
    Asking { until: Duration },
    /// Everything was killed; the last wait is until then.
    Killing { until: Duration },
    /// It was declared over.
    Over,
}

impl Supervisor {
    /// Takes the services whose `when` the context meets; all of them are desired. Nothing happens
    /// before the first step. Service ids are places in the order of start.
    pub fn new(services: &[Service], context: &Value) -> Result<Self, GraphError> {
        let (services, graph) = graph::plan(services, context)?;
        let services = services.into_iter().map(Supervised::new).collect();
        Ok(Self { services, graph, now: Duration::ZERO, ending: None })
    }

    /// Takes an event at a time since start, and says what to do. Time never runs backwards here:
    /// an earlier time counts as that of the last step.
    pub fn step(&mut self, now: Duration, event: Event) -> Vec<Action> {
        let before = self.now;
        self.now = now.min(LATEST_TIME).max(before);
        let away = self.now.saturating_sub(before);
        if away > ABSENCE {
            self.services.iter_mut().for_each(|service| service.forgive(away));
        }
        let mut actions = Vec::new();
        if self.ending == Some(Ending::Over) {
            return actions;
        }
        self.take(event, &mut actions);
        // Without reports a service moves at most from Down to Killing, so this ends.
        while self.pass_time(&mut actions) | self.approach_desired(&mut actions) {}
        self.end_if_over(&mut actions);
        actions
    }

    /// When to step next, if nothing happens before: always after the last step's time.
    pub fn next_deadline(&self) -> Option<Duration> {
        let ending = match self.ending {
            Some(Ending::Over) => return None,
            Some(Ending::Asking { until } | Ending::Killing { until }) => Some(until),
            None => None,
        };
        self.services.iter().filter_map(|service| service.deadline).chain(ending).min()
    }

    /// A service by its name.
    pub fn find(&self, name: &str) -> Option<ServiceId> {
        self.services.iter().position(|other| other.service.name.as_str() == name).map(ServiceId)
    }

    /// What an overlay says about a service.
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        self.services.get(id.0).map(|supervised| &supervised.service)
    }

    /// Where a service is.
    pub fn state(&self, id: ServiceId) -> Option<State> {
        self.services.get(id.0).map(|supervised| supervised.state)
    }

    /// All services, in the order of their start.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = ServiceId> + use<> {
        (0..self.services.len()).map(ServiceId)
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    fn take(&mut self, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Tick => {}
            Event::Operator(id, wish) => self.take_wish(id, wish, actions),
            Event::Process(id, run, report) => self.take_report(id, run, report, actions),
            Event::Shutdown { within } => {
                let until = self.now.saturating_add(within);
                match &mut self.ending {
                    None => self.ending = Some(Ending::Asking { until }),
                    Some(Ending::Asking { until: earlier }) => *earlier = until.min(*earlier),
                    Some(Ending::Killing { .. } | Ending::Over) => {}
                }
            }
        }
    }

    fn take_wish(&mut self, id: ServiceId, wish: Wish, actions: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(id.0) else { return };
        service.desired = wish != Wish::Stop;
        if !service.desired {
            return;
        }
        service.forget_failures();
        if service.state.is_staying() {
            service.restarting |= wish == Wish::Restart;
        } else if wish == Wish::Restart || service.state != State::Finished {
            // Starting a job whose work is done would do it twice; who wants that says restart.
            service.apply(id, Input::Retry, self.now, actions);
        }
    }

    fn take_report(&mut self, id: ServiceId, run: Run, report: Report, actions: &mut Vec<Action>) {
        let now = self.now;
        let Some(service) = self.services.get_mut(id.0) else { return };
        // News of an earlier run, or of one that has ended, is no news.
        if service.run != run || !service.state.has_process() {
            return;
        }
        match report {
            Report::Spawned => {
                service.apply(id, Input::Spawned, now, actions);
                if service.is_ready_when_spawned() {
                    service.apply(id, Input::BecameReady, now, actions);
                }
            }
            Report::Ready if service.is_job() => {}
            Report::Ready => {
                service.apply(id, Input::BecameReady, now, actions);
            }
            Report::Alive => service.is_alive(now),
            Report::SpawnFailed => self.end_run(id, Exit::NotStarted, actions),
            Report::Exited(exit) => self.end_run(id, exit, actions),
        }
    }

    fn end_run(&mut self, id: ServiceId, exit: Exit, actions: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(id.0) else { return };
        service.last_exit = Some(exit);
        let judged = service.judge(exit);
        service.apply(id, judged, self.now, actions);
    }

    /// Ends what has lasted too long; says whether anything moved.
    fn pass_time(&mut self, actions: &mut Vec<Action>) -> bool {
        let now = self.now;
        let mut moved = false;
        for (i, service) in self.services.iter_mut().enumerate() {
            if service.is_due(now) {
                moved |= service.apply(ServiceId(i), Input::Timer, now, actions);
            }
        }
        if let Some(Ending::Asking { until }) = self.ending
            && until <= now
        {
            for (i, service) in self.services.iter_mut().enumerate() {
                service.apply(ServiceId(i), Input::Hurry, now, actions);
            }
            self.ending = Some(Ending::Killing { until: now.saturating_add(KILL_GRACE) });
            moved = true;
        }
        moved
    }

    /// Brings each service one move nearer to what is desired; says whether anything moved.
    fn approach_desired(&mut self, actions: &mut Vec<Action>) -> bool {
        let shutdown = self.is_ending();
        let levels = Levels::of(&self.services, &self.graph, shutdown);
        let input = |i| levels.input(i, &self.services, &self.graph, shutdown);
        let inputs: Vec<Option<Input>> = (0..self.services.len()).map(input).collect();
        let mut moved = false;
        for (i, input) in inputs.into_iter().enumerate() {
            if let Some(input) = input {
                moved |= self.services[i].apply(ServiceId(i), input, self.now, actions);
            }
        }
        moved
    }

    fn end_if_over(&mut self, actions: &mut Vec<Action>) {
        let patience_over = match self.ending {
            None | Some(Ending::Over) => return,
            Some(Ending::Asking { .. }) => false,
            Some(Ending::Killing { until }) => until <= self.now,
        };
        let alive = |id: &ServiceId| self.services[id.0].state.has_process();
        let left: Vec<ServiceId> = self.ids().filter(alive).collect();
        if left.is_empty() || patience_over {
            self.ending = Some(Ending::Over);
            actions.push(Action::AllDown { left });
        }
    }
}
