//! Telling the supervisor how it goes: datagrams to the socket that `$NOTIFY_SOCKET` names.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How often "alive" is said where the supervisor does not say how often it wants to hear it.
const ALIVE: Duration = Duration::from_secs(1);
/// Often enough that a late turn of the loop does no harm.
const ALIVE_SHARE: u32 = 3;

/// The supervisor's socket, if there is a supervisor.
#[derive(Debug)]
pub(super) struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    every: Duration,
}

impl Notify {
    pub(super) fn from_environment() -> Self {
        let every = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        let every = every.map_or(ALIVE, |micros| Duration::from_micros(micros) / ALIVE_SHARE);
        Self { socket: open(), every: every.max(Duration::from_millis(10)) }
    }

    /// How often to say "alive"; none if nobody listens.
    pub(super) fn every(&self) -> Option<Duration> {
        self.socket.as_ref().map(|_| self.every)
    }

    /// Says one state, such as `READY=1`. A supervisor that does not listen is its own problem.
    pub(super) fn say(&self, state: &str) {
        if let Some((socket, to)) = &self.socket {
            let _ = socket.send_to_addr(state.as_bytes(), to);
        }
    }
}

fn open() -> Option<(UnixDatagram, SocketAddr)> {
    let path = env::var_os("NOTIFY_SOCKET")?;
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok()?,
        _ => SocketAddr::from_pathname(&path).ok()?,
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some((socket, address))
}
