//! What the control socket wants to know of the node, and wants it to do.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ::control::{Fact, FactText, Refusal, ServiceName, Status, Top};
use logs::Journal;

use super::facts;

/// The node as the control socket sees it; the loop's node is one, and tests make others.
pub trait NodeView {
    /// Everything for one screen.
    fn status(&self, now: Duration) -> Status;
    /// What services use.
    fn top(&self, now: Duration) -> Top;
    /// What services said; none before there are services.
    fn journal(&self) -> Option<&Journal>;
    /// Does it, or says why not. That it was begun is enough; nothing here waits for its end.
    fn order(&mut self, order: Order, now: Duration) -> Result<(), Refusal>;

    /// A fact, from the kernel's files.
    fn fact(&self, fact: Fact) -> io::Result<FactText> {
        facts::read(fact, Path::new("/"))
    }

    /// The time of day: milliseconds since 1970.
    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// What an operator wants to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// A service up.
    Start(ServiceName),
    /// A service down.
    Stop(ServiceName),
    /// A service down and up.
    Restart(ServiceName),
    /// The node down and up.
    Reboot,
    /// The node off.
    PowerOff,
}

/// A service's status in the words of the socket.
pub fn service_status(
    status: &supervise::ServiceStatus,
    pid: Option<u32>,
    says: Option<String>,
) -> ::control::ServiceStatus {
    ::control::ServiceStatus {
        name: status.name.clone(),
        state: state(status.state),
        desired: status.desired,
        pid,
        since_ms: status.since_ms,
        until_ms: status.until_ms,
        restarts: status.restarts,
        last_exit: status.last_exit.map(|exit| match exit {
            supervise::Exit::Code(code) => ::control::Exit::Code(code),
            supervise::Exit::Signal(signal) => ::control::Exit::Signal(signal),
            supervise::Exit::NotStarted => ::control::Exit::NotStarted,
        }),
        waits_for: status.waits_for.clone(),
        says,
    }
}

fn state(state: supervise::State) -> ::control::ServiceState {
    use ::control::ServiceState as Word;
    use supervise::State;
    match state {
        State::Down => Word::Down,
        State::Waiting => Word::Waiting,
        State::Starting => Word::Starting,
        State::Running => Word::Running,
        State::Ready => Word::Ready,
        State::Stopping => Word::Stopping,
        State::Killing => Word::Killing,
        State::BackOff => Word::BackOff,
        State::Finished => Word::Finished,
        State::Ended => Word::Ended,
        State::Failed => Word::Failed,
    }
}
