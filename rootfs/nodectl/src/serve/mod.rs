//! The node API: the door for operators from afar, a process of its own outside PID 1.
//!
//! ```text
//!            accept
//!              │
//!     admission.admit ──no──> closed, counted            (no byte was read)
//!              │
//!        TLS handshake ──bad or late──> refused, logged with the peer's address
//!              │  certificate of the cluster's CA, fingerprint in the seed's list
//!        one request ──bad or late──> refused, logged
//!              │
//!        socket of PID 1, pgkeeper or vipd <──> answer, line by line
//! ```
//!
//! Each connection has a thread, and there are at most as many as [`RULES`] say. The process runs as
//! its own user without capabilities; all that it can do is ask what an operator may ask.

mod config;
mod error;
mod notify;
mod session;
mod verify;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use admission::{Admission, Guest, Rate, Rules};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use rustix::process::Signal;
use rustls::ServerConfig;
use sys::signals::SignalFd;

pub use config::Config;
pub use error::ServeError;

/// Where the node has the API's configuration.
pub const CONFIG_PATH: &str = "/etc/edgepair/nodeapi.toml";
/// What strangers get: a connection has its place to its end. A handshake costs about a millisecond of
/// a small processor, so that all strangers together take two percent of it.
const RULES: Rules = Rules {
    places: 16,
    friends_places: 4,
    stranger_places: 3,
    stranger: Rate { burst: 10, every: Duration::from_secs(5) },
    strangers: Rate { burst: 60, every: Duration::from_millis(50) },
    friend: Rate { burst: 50, every: Duration::from_millis(500) },
};
/// Connections that the kernel holds ready for us; more are refused by it.
const BACKLOG: i32 = 32;
/// A session's stack. TLS needs some 30 KiB of it.
const STACK_BYTES: usize = 256 * 1024;
/// After an accept that failed for want of files or memory, trying at once would spin.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(200);

/// How long answers that are on their way may still take when the service is told to end. An operator
/// who switches the node off gets the word that it was accepted; who follows a log is cut off.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// Between two looks whether they are done.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How long a peer may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the whole TLS handshake.
    pub handshake: Duration,
    /// For the whole request.
    pub request: Duration,
    /// For taking one piece of the answer.
    pub piece: Duration,
    /// For PID 1 to answer.
    pub agent: Duration,
}

impl Default for Patience {
    /// A peer behind a bad mobile link needs seconds; one that needs longer is no operator.
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            request: Duration::from_secs(5),
            piece: Duration::from_secs(10),
            agent: Duration::from_secs(20),
        }
    }
}

/// Where the API says what happens: one line each.
pub type Say = Box<dyn Fn(&str) + Send + Sync>;

/// What all sessions share.
struct Shared {
    tls: Arc<ServerConfig>,
    agent: PathBuf,
    patience: Patience,
    admission: Mutex<Admission>,
    started: Instant,
    say: Say,
}

impl Shared {
    fn admission<T>(&self, act: impl FnOnce(&mut Admission, Duration) -> T) -> T {
        let mut admission = self.admission.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut admission, self.started.elapsed())
    }
}

/// The listening API.
pub struct Server {
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Server").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens; answers nobody yet. `agent` is PID 1's socket.
    pub fn bind(
        config: &Config,
        agent: &Path,
        patience: Patience,
        say: Say,
    ) -> Result<Self, ServeError> {
        let tls = verify::server_config(config)?;
        let listener = listen(config.port)
            .map_err(|source| ServeError::Listen { port: config.port, source })?;
        let shared = Shared {
            tls,
            agent: agent.to_owned(),
            patience,
            admission: Mutex::new(Admission::new(RULES, [])),
            started: Instant::now(),
            say,
        };
        Ok(Self { listener, shared: Arc::new(shared) })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers, without end.
    pub fn run(&self) {
        loop {
            match self.listener.accept() {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) => {
                    (self.shared.say)(&format!("a connection can't be accepted: {error}"));
                    thread::sleep(PAUSE_AFTER_FAILURE);
                }
            }
        }
    }

    /// Waits until nobody is being answered, but not longer than [`LAST_ANSWERS`].
    fn finish(shared: &Shared) {
        let until = Instant::now() + LAST_ANSWERS;
        while shared.admission(|admission, _| admission.inside()) > 0 && Instant::now() < until {
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// A thread for the connection, or none.
    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let address = peer.ip().to_canonical();
        let shared = &self.shared;
        let guest = match shared.admission(|admission, now| admission.admit_or_tell(address, now)) {
            Ok(guest) => guest,
            Err(line) => {
                if let Some(line) = line {
                    (shared.say)(&line);
                }
                // Without a word and without TLS: a flood must cost less here than there.
                drop(stream);
                return;
            }
        };
        let place = Place { shared: shared.clone(), address, guest };
        let session = move || session::run(&place, stream);
        let thread = thread::Builder::new().name("session".to_owned()).stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn(session) {
            (shared.say)(&format!("{address} can't be served: {error}"));
        }
    }
}

/// A taken place; given back when the session ends, however it ends.
struct Place {
    shared: Arc<Shared>,
    address: IpAddr,
    guest: Guest,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.admission(|admission, _| admission.leave(self.guest));
    }
}

/// Listens on all addresses: with one socket for IPv6 and IPv4, or for IPv4 alone where the kernel
/// has no IPv6.
fn listen(port: u16) -> io::Result<TcpListener> {
    let six = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
    let four = SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, port));
    match listen_on(AddressFamily::INET6, &six) {
        Err(error) if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => {
            listen_on(AddressFamily::INET, &four)
        }
        other => other,
    }
}

fn listen_on(family: AddressFamily, address: &SocketAddr) -> io::Result<TcpListener> {
    let socket = rustix::net::socket_with(
        family,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        Some(ipproto::TCP),
    )?;
    if family == AddressFamily::INET6 {
        // Whatever the sysctl says, IPv4 comes in here too.
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    // A restarted service must not wait for connections of its former self.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// The service `nodeapi`.
pub(crate) fn main(config: &Path, agent: &Path) -> Result<(), ServeError> {
    // Before there is a thread, so that none of them takes the signal.
    let signals = SignalFd::new(&[Signal::TERM, Signal::INT]).map_err(ServeError::Signals)?;
    let config = Config::load(config)?;
    let say: Say = Box::new(|line| {
        let _unheard = io::Write::write_all(&mut io::stderr(), format!("{line}\n").as_bytes());
    });
    let operators = config.fingerprints.len();
    let server = Server::bind(&config, agent, Patience::default(), say)?;
    if let Ok(address) = server.address() {
        (server.shared.say)(&format!("listening on {address}; operators: {operators}"));
    }
    if let Err(error) = notify::ready() {
        (server.shared.say)(&format!(
            "the agent can't be told that this service is ready: {error}"
        ));
    }
    let shared = server.shared.clone();
    thread::spawn(move || server.run());
    wait_for(&signals)?;
    Server::finish(&shared);
    Ok(())
}

fn wait_for(signals: &SignalFd) -> Result<(), ServeError> {
    loop {
        match poll(&mut [PollFd::new(signals, PollFlags::IN)], None) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(ServeError::Signals(errno.into())),
        }
    }
}
