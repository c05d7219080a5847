//! The words of the transition table: where a service is, what can happen to it, what follows.

use serde::Serialize;

/// Where a service is in its life; the drawing is on the crate's first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not desired, no process.
    Down,
    /// Desired; what it needs isn't ready, or what it comes after is still on its way.
    Waiting,
    /// PID 1 was told to start it and hasn't answered.
    Starting,
    /// Its process exists and isn't ready. A job does its work here.
    Running,
    /// Its process exists and is ready.
    Ready,
    /// Its process was asked to end.
    Stopping,
    /// Its cgroup was killed; the kernel hasn't reported the end.
    Killing,
    /// It ended, and is started again when the pause is over.
    BackOff,
    /// A job that did its work: no process, and as good as ready.
    Finished,
    /// It ended well, and its policy says that this was all.
    Ended,
    /// It ended badly, and its policy forbids another start.
    Failed,
}

impl State {
    /// All states, in the order of the table's rows.
    pub const ALL: [Self; 11] = [
        Self::Down,
        Self::Waiting,
        Self::Starting,
        Self::Running,
        Self::Ready,
        Self::Stopping,
        Self::Killing,
        Self::BackOff,
        Self::Finished,
        Self::Ended,
        Self::Failed,
    ];

    /// Whether there is, or may be, a process.
    pub fn has_process(self) -> bool {
        matches!(
            self,
            Self::Starting | Self::Running | Self::Ready | Self::Stopping | Self::Killing
        )
    }

    /// Whether the process hasn't been asked to end.
    pub fn is_staying(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Ready)
    }
}

/// What can happen to a service, as the table sees it: reports are already judged (an exit is good
/// or bad, final or not), and the graph is already looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// It is desired.
    Wanted,
    /// It may start now: all needs are ready, and nothing that it comes after is on its way.
    Clear,
    /// It must go and come back: a need was lost, or a restart was asked.
    Leave,
    /// It must go and stay away.
    Unwanted,
    /// The time of the shutdown is over.
    Hurry,
    /// The operator wants another attempt without a pause.
    Retry,
    /// The process exists.
    Spawned,
    /// The service is ready.
    BecameReady,
    /// The process of a job ended with exit code 0.
    JobDone,
    /// The process ended, and is to be started again after a pause.
    EndsForAWhile,
    /// The process ended with exit code 0, for good.
    EndsWell,
    /// The process ended otherwise, for good.
    EndsBadly,
    /// The process ended because it was asked to.
    EndsAsAsked,
    /// The state's deadline has passed.
    Timer,
}

impl Input {
    /// All inputs, in the order of the table's columns.
    pub const ALL: [Self; 14] = [
        Self::Wanted,
        Self::Clear,
        Self::Leave,
        Self::Unwanted,
        Self::Hurry,
        Self::Retry,
        Self::Spawned,
        Self::BecameReady,
        Self::JobDone,
        Self::EndsForAWhile,
        Self::EndsWell,
        Self::EndsBadly,
        Self::EndsAsAsked,
        Self::Timer,
    ];
}

/// What PID 1 does when a service moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start the process in a new cgroup.
    Spawn,
    /// Watch for the sign of readiness.
    Probe,
    /// Ask the process to end.
    Signal,
    /// Kill the cgroup with everything in it, also what the process left behind.
    KillGroup,
}
