//! What others may see of the supervisor: a snapshot for `nodectl`, the status file, bundles.

use serde::Serialize;

use crate::event::Exit;
use crate::levels::Levels;
use crate::state::State;
use crate::supervisor::Supervisor;

/// One service at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub state: State,
    /// Whether the operator wants it up.
    pub desired: bool,
    /// Since when it is there: milliseconds since the supervisor's start.
    pub since_ms: u64,
    /// When the state is over by itself, such as the next attempt: milliseconds since start.
    pub until_ms: Option<u64>,
    /// How often it was started after the first time.
    pub restarts: u64,
    /// How its last run ended.
    pub last_exit: Option<Exit>,
    /// The services that it waits for.
    pub waits_for: Vec<String>,
}

impl Supervisor {
    /// All services, in the order of their start.
    pub fn status(&self) -> Vec<ServiceStatus> {
        let levels = Levels::of(&self.services, &self.graph, self.is_ending());
        let name = |i: usize| self.services[i].service.name.to_string();
        let one = |(i, supervised): (usize, &crate::service::Supervised)| {
            let waiting = supervised.state == State::Waiting;
            // That a service must speak again is no end of its state.
            let deadline = supervised.deadline.filter(|_| supervised.state != State::Ready);
            let obstacles = if waiting { levels.obstacles(i, &self.graph) } else { Vec::new() };
            ServiceStatus {
                name: name(i),
                state: supervised.state,
                desired: supervised.desired,
                since_ms: milliseconds(supervised.since),
                until_ms: deadline.map(milliseconds),
                restarts: supervised.run.0.saturating_sub(1),
                last_exit: supervised.last_exit,
                waits_for: obstacles.into_iter().map(name).collect(),
            }
        };
        self.services.iter().enumerate().map(one).collect()
    }
}

fn milliseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
