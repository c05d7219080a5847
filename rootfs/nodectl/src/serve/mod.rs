//! The node API: the door for operators from afar, a process of its own outside PID 1.
//!
//! ```text
//!            accept
//!              │
//!        limits.admit ──no──> closed, counted            (no byte was read)
//!              │
//!        TLS handshake ──bad or late──> refused, logged with the peer's address
//!              │  certificate of the cluster's CA, fingerprint in the seed's list
//!        one request ──bad or late──> refused, logged
//!              │
//!        socket of PID 1, pgkeeper or vipd <──> answer, line by line
//! ```
//!
//! Each connection has a thread, and there are at most [`limits::SLOTS`] of them. The process runs as
//! its own user without capabilities; all that it can do is ask what an operator may ask.

mod config;
mod error;
pub mod limits;
mod notify;
mod session;
mod verify;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use rustix::process::Signal;
use rustls::ServerConfig;
use sys::signals::SignalFd;

pub use config::Config;
pub use error::ServeError;
use limits::Limits;

/// Where the node has the API's configuration.
pub const CONFIG_PATH: &str = "/etc/edgepair/nodeapi.toml";
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
    limits: Mutex<Limits>,
    started: Instant,
    say: Say,
}

impl Shared {
    fn limits<T>(&self, act: impl FnOnce(&mut Limits, Duration) -> T) -> T {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut limits, self.started.elapsed())
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
            limits: Mutex::new(Limits::default()),
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
        while shared.limits(|limits, _| limits.open()) > 0 && Instant::now() < until {
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// A thread for the connection, or none.
    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let address = peer.ip().to_canonical();
        let shared = &self.shared;
        let (turned, report) = shared.limits(|limits, now| {
            let turned = limits.admit(address, now).err();
            // A flood writes a line now and then, however many connections it makes.
            let report = turned.and_then(|_| limits.report(now));
            (turned, report)
        });
        if let (Some(count), Some(turned)) = (report, turned) {
            let last = format!("the last of {address}, since {turned}");
            (shared.say)(&format!("{count} connections were turned away, {last}"));
        }
        if turned.is_some() {
            // Without a word and without TLS: a flood must cost less here than there.
            drop(stream);
            return;
        }
        let place = Place { shared: shared.clone(), address };
        let session = move || session::run(&place.shared, stream, place.address);
        let thread = thread::Builder::new().name("session".to_owned()).stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn(session) {
            (shared.say)(&format!("{address} can't be served: {error}"));
        }
    }
}

/// A taken place; given back when the session ends, however it ends.
struct Place {
    shared: Arc<Shared>,
    address: std::net::IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.limits(|limits, _| limits.closed(self.address));
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
