//! What PID 1 tells the supervisor, and what it is told to do.

use std::time::Duration;

use serde::Serialize;

use crate::state::{Input, State};

/// A service of one supervisor: its place in that supervisor's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub usize);

/// One life of a service's process; the first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run(pub u64);

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing but time passed.
    Tick,
    /// The operator has a wish.
    Operator(ServiceId, Wish),
    /// There is news of a process.
    Process(ServiceId, Run, Report),
    /// The node goes down; all of it within this time. A second shutdown can only shorten the
    /// first.
    Shutdown {
        /// How long services may take, all together.
        within: Duration,
    },
}

/// What an operator can want of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Up, and now: a pause or an end is over.
    Start,
    /// Down until it is started again. Services that need it leave, and wait for it.
    Stop,
    /// Down and up again.
    Restart,
}

/// News of a process. Each `Spawn` is answered by `Spawned` or `SpawnFailed`; a process that was
/// spawned ends with exactly one `Exited`, also when only its cgroup was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// It exists.
    Spawned,
    /// It couldn't be started.
    SpawnFailed,
    /// The sign of readiness was seen.
    Ready,
    /// It said "alive" on the notify socket.
    Alive,
    /// It ended.
    Exited(Exit),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It never began.
    NotStarted,
}

impl Exit {
    /// Whether it ended as programs do when all is well.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

/// What PID 1 shall do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start the process.
    Spawn(ServiceId, Run),
    /// Watch for the sign of readiness, until the service moves on.
    Probe(ServiceId, Run),
    /// Send the service's stop signal to its process.
    Signal(ServiceId, Run),
    /// Kill everything in the service's cgroup; an empty or missing cgroup is no error.
    KillGroup(ServiceId, Run),
    /// Say that a service moved. Every move is said, before what it causes.
    Moved {
        /// The service.
        service: ServiceId,
        /// Where it was.
        from: State,
        /// Where it is.
        to: State,
        /// Why.
        because: Input,
    },
    /// The shutdown is over. Said once; nothing follows it.
    AllDown {
        /// Services that refused to die.
        left: Vec<ServiceId>,
    },
}
