//! The gate: the only door through which clients reach PostgreSQL.
//!
//! ```text
//!            accept
//!              │
//!     admission.admit ──no──> closed, counted                   (no byte was read)
//!              │
//!        first packet ──cancel──> swallowed, counted
//!              │       ──anything but TLS──> an error of PostgreSQL's kind
//!        TLS handshake, certificate of the cluster ──bad or late──> refused
//!              │
//!        log-in: name may use role and database ──no──> an error of PostgreSQL's kind
//!              │
//!        sessions.enter ──closed──> 57P03, which drivers retry
//!              │
//!        PostgreSQL's unix socket <──> pump, until either end is gone or the gate closes
//! ```
//!
//! **One thread per connection**, each with a poll over its two sockets, instead of one loop over
//! all of them. Handshakes (a millisecond each) and encryption of one session then don't hold up
//! others, both processors are used, and no session's state can mix with another's. The price is
//! memory: a thread has touched some 20 KiB of its stack, and a session's buffers are made when
//! they are first filled, so 200 sessions are a few MiB. Two threads per session would cost twice
//! as many and need a lock around TLS.
//!
//! The gate starts closed. Only [`Gate::open`] opens it, and [`Gate::close`] returns after the last
//! byte that any client will ever get of its sessions. The gate never decides either by itself.

pub mod access;
mod counters;
pub mod hba;
mod pump;
pub mod refusal;
pub mod reply;
mod session;
mod sessions;
pub mod startup;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use admission::{Admission, Guest, Rate, Rules};
use failover::Epoch;
use rustls::ServerConfig;
use serde::Serialize;
use thiserror::Error;

use crate::listen;
use crate::tls::{CertificateError, Identity};
use access::Access;
pub use counters::Counts;
use counters::{Counters, one};
pub use refusal::Refusal;
use sessions::Sessions;

/// The protocol's name within TLS.
const ALPN: &[u8] = b"postgresql";
/// A session's stack. TLS needs some 30 KiB of it; only what is touched takes memory.
const STACK_BYTES: usize = 256 * 1024;
/// After an accept that failed for want of files or memory, trying at once would spin.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(200);
/// What strangers get here, and at the witness. A connection has its place until it is let in or
/// refused; sessions have a limit of their own. Friends may come a hundred at once, as K3s does after a
/// failover. A handshake costs about a millisecond of a small processor.
pub(crate) const RULES: Rules = Rules {
    places: 128,
    friends_places: 96,
    stranger_places: 16,
    stranger: Rate { burst: 40, every: Duration::from_millis(500) },
    strangers: Rate { burst: 100, every: Duration::from_millis(20) },
    friend: Rate { burst: 200, every: Duration::from_millis(100) },
};
/// As whom this node's own programs count, which come from a virtual address when they go to it. They are
/// known: no stranger may keep the K3s of a new leader out.
const OURSELVES: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Connections of PostgreSQL that clients don't get: the keeper's own and those for superusers.
pub const HEADROOM: usize = 10;

/// Why the gate can't be built or opened.
#[derive(Debug, Error)]
pub enum GateError {
    /// Certificates or a key are wrong.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// The address can't be had.
    #[error("{address} can't be had: {source}; give database.port another value in the seed")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// No thread.
    #[error("no thread for the gate: {0}; the node has too little memory")]
    Thread(io::Error),
    /// The gate was open for a later epoch before.
    #[error("epoch {} is over: the gate was open for epoch {}", asked.0, highest.0)]
    OldEpoch {
        /// What it should open for.
        asked: Epoch,
        /// What it has been open for.
        highest: Epoch,
    },
}

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From its first byte to a complete log-in.
    pub greeting: Duration,
    /// For PostgreSQL to make the session ready.
    pub backend: Duration,
    /// For taking the last bytes after PostgreSQL has ended the session.
    pub farewell: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            greeting: Duration::from_secs(5),
            backend: Duration::from_secs(20),
            farewell: Duration::from_secs(5),
        }
    }
}

/// A role and who may use it, as in the seed's `database.users`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The role.
    pub role: String,
    /// Common names of the certificates that log in as this role.
    pub clients: Vec<String>,
}

/// What a gate is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where clients come: a VIP, which may be elsewhere, or a wildcard.
    pub listen: SocketAddr,
    /// Addresses of the cluster's nodes, whom strangers can't keep out.
    pub known: Vec<IpAddr>,
    /// PostgreSQL's unix socket, such as `/run/postgres/.s.PGSQL.5432`.
    pub backend: PathBuf,
    /// Certificates.
    pub identity: Identity,
    /// The one database.
    pub database: String,
    /// Its roles.
    pub users: Vec<User>,
    /// PostgreSQL's `max_connections`; clients get [`HEADROOM`] fewer.
    pub max_connections: usize,
    /// How long a client may take.
    pub patience: Patience,
}

/// Where the gate says what happens: one line each.
pub type Say = Box<dyn Fn(&str) + Send + Sync>;

/// What all sessions share.
struct Shared {
    tls: Arc<ServerConfig>,
    access: Access,
    backend: PathBuf,
    places: usize,
    patience: Patience,
    admission: Mutex<Admission>,
    sessions: Sessions,
    counters: Counters,
    started: Instant,
    stopping: AtomicBool,
    say: Say,
}

impl Shared {
    fn admission<T>(&self, act: impl FnOnce(&mut Admission, Duration) -> T) -> T {
        let mut admission = self.admission.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut admission, self.started.elapsed())
    }

    /// Says a line. What a client sent may be in it, and the log's lines are the keeper's own.
    fn tell(&self, text: &str) {
        (self.say)(&harmless(text));
    }
}

/// At most so much of a line is said.
const LINE_CHARS: usize = 300;

/// One line of bounded length, whatever is in it.
fn harmless(text: &str) -> String {
    let visible = |c: char| if c.is_control() { '?' } else { c };
    text.chars().take(LINE_CHARS).map(visible).collect()
}

/// How the gate is, for `nodectl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The epoch for which it is open; none while it is closed.
    pub open_for: Option<u64>,
    /// Sessions now.
    pub sessions: usize,
    /// How many there may be.
    pub places: usize,
    /// What happened since the start.
    pub counts: Counts,
}

/// The listening gate. Dropping it cuts everything and stops listening.
pub struct Gate {
    listener: Arc<TcpListener>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Gate").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Gate {
    /// Listens; the gate is closed, so everybody who may come in is told to try again.
    pub fn start(settings: Settings, say: Say) -> Result<Self, GateError> {
        let tls = settings.identity.server(&[ALPN])?;
        let address = settings.listen;
        let listener =
            listen::listen(address).map_err(|source| GateError::Listen { address, source })?;
        let listener = Arc::new(listener);
        let users = settings.users.iter().map(|user| (user.role.as_str(), &user.clients[..]));
        let shared = Arc::new(Shared {
            tls,
            access: Access::new(&settings.database, users),
            backend: settings.backend,
            places: settings.max_connections.saturating_sub(HEADROOM).max(1),
            patience: settings.patience,
            admission: Mutex::new(Admission::new(
                RULES,
                settings.known.into_iter().chain([OURSELVES]),
            )),
            sessions: Sessions::default(),
            counters: Counters::default(),
            started: Instant::now(),
            stopping: AtomicBool::new(false),
            say,
        });
        let (door, inside) = (listener.clone(), shared.clone());
        let thread = thread::Builder::new()
            .name("gate".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || accept(&door, &inside))
            .map_err(GateError::Thread)?;
        Ok(Self { listener, shared, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Lets clients in, by the authority of this epoch. Sessions of the epoch before go on.
    pub fn open(&self, epoch: Epoch) -> Result<(), GateError> {
        let opened = self.shared.sessions.open(epoch);
        opened.map_err(|highest| GateError::OldEpoch { asked: epoch, highest })
    }

    /// Cuts every session and lets nobody in; says how many were cut. When this returns, no client
    /// gets another byte. It waits for nobody, however stuck.
    pub fn close(&self) -> usize {
        let cut = self.shared.sessions.close();
        counters::many(&self.shared.counters.cut, cut);
        cut
    }

    /// How the gate is.
    pub fn status(&self) -> Status {
        let (open, sessions) = self.shared.sessions.state();
        Status {
            open_for: open.map(|epoch| epoch.0),
            sessions,
            places: self.shared.places,
            counts: self.shared.counters.read(),
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.close();
        self.shared.stopping.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        if rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ended = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.stopping.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, peer)) => admit(shared, stream, peer),
            Err(_) if shared.stopping.load(Ordering::Relaxed) => return,
            Err(error) => {
                shared.tell(&format!("a connection can't be accepted: {error}"));
                thread::sleep(PAUSE_AFTER_FAILURE);
            }
        }
    }
}

/// A thread for the connection, or none.
fn admit(shared: &Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    let address = peer.ip().to_canonical();
    let own = stream.local_addr().is_ok_and(|local| local.ip().to_canonical() == address);
    let counted = if own { OURSELVES } else { address };
    one(&shared.counters.accepted);
    let guest = match shared.admission(|admission, now| admission.admit_or_tell(counted, now)) {
        Ok(guest) => guest,
        Err(line) => {
            if let Some(line) = line {
                shared.tell(&line);
            }
            // Without a word and without TLS: a flood must cost less here than there.
            one(&shared.counters.turned_away);
            let _gone = stream.shutdown(Shutdown::Both);
            return;
        }
    };
    let place = Place { shared: shared.clone(), address, guest };
    let session = move || session::run(place, stream);
    let thread = thread::Builder::new().name("session".to_owned()).stack_size(STACK_BYTES);
    if let Err(error) = thread.spawn(session) {
        shared.tell(&format!("{address} can't be served: {error}"));
    }
}

/// The place of one who greets; given back when he is in or gone.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sent_makes_no_lines_of_the_keeper() {
        let sent = "192.0.2.7: it gives \"a\npromoted: epoch 99\r\u{1b}[2J\" twice";
        let said = harmless(sent);
        assert!(!said.contains(|c: char| c.is_control()), "{said:?}");
        assert_eq!(harmless(&"é".repeat(5000)).chars().count(), LINE_CHARS);
    }
}
