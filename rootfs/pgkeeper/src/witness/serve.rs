//! The witness's server: a thread per connection, and few of them.
//!
//! ```text
//!   accept ──too many──> closed
//!     │
//!   ClientHello names a cluster ──none of ours──> closed, logged
//!     │
//!   TLS with that cluster's CA, name of one of its nodes ──no──> closed, logged
//!     │
//!   question ──> register, fsync ──> reply, as long as the node likes
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use admission::{Admission, Guest};
use failover::{ASK_BYTES, Ask, Side};
use rustls::server::Acceptor;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::config::{Cluster, Config};
use super::frame::Reply;
use super::register::{FileDisk, Kept, RegisterError};
use super::{WitnessError, cluster_number, cluster_of, first, protocol_of};
use crate::gate::{RULES, Say};
use crate::listen;
use crate::name::common_name;
use crate::timed::Timed;

/// From the first byte to the end of the handshake.
const GREETING: Duration = Duration::from_secs(5);
/// A node asks every few seconds at least; one that is silent for longer connects again.
const IDLE: Duration = Duration::from_mins(1);
/// For taking a reply.
const REPLY: Duration = Duration::from_secs(5);
/// Connections of one cluster: two nodes, each of which may just have restarted.
const CLUSTER_SESSIONS: usize = 6;
const STACK_BYTES: usize = 256 * 1024;
/// After an accept that failed for want of files or memory, trying at once would spin.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(200);

/// A cluster that is served.
struct Served {
    config: Config,
    cluster: Cluster,
    tls: Arc<ServerConfig>,
    register: Mutex<Result<Kept<FileDisk>, RegisterError>>,
    sessions: AtomicUsize,
}

struct Shared {
    clusters: BTreeMap<String, Served>,
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

/// The listening witness.
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
    /// Takes up all registers and listens. A cluster whose register or certificate is wrong is not
    /// served, and said; the others are.
    pub fn bind(config: &Config, say: Say) -> Result<Self, WitnessError> {
        let mut clusters = BTreeMap::new();
        for cluster in &config.clusters {
            let name = &cluster.name;
            match serve(config, cluster) {
                Ok(served) => {
                    let register = served.register.lock().unwrap_or_else(PoisonError::into_inner);
                    match register.as_ref() {
                        Ok(kept) => say(&format!("{name}: {:?}", kept.register().config)),
                        Err(error) => say(&format!("{name} is not served: {error}")),
                    }
                    drop(register);
                    clusters.insert(name.clone(), served);
                }
                Err(error) => say(&format!("{name} is not served: {error}")),
            }
        }
        let address = config.listen;
        let listener =
            listen::listen(address).map_err(|source| WitnessError::Listen { address, source })?;
        let admission = Mutex::new(Admission::new(RULES, []));
        let shared = Shared { clusters, admission, started: Instant::now(), say };
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
                Ok((stream, peer)) => self.admit(stream, peer.ip().to_canonical()),
                Err(error) => {
                    (self.shared.say)(&format!("a connection can't be accepted: {error}"));
                    thread::sleep(PAUSE_AFTER_FAILURE);
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, address: IpAddr) {
        let shared = &self.shared;
        let guest = match shared.admission(|admission, now| admission.admit_or_tell(address, now)) {
            Ok(guest) => guest,
            Err(line) => {
                if let Some(line) = line {
                    (shared.say)(&line);
                }
                return;
            }
        };
        let place = Place { shared: shared.clone(), address, guest };
        let session = move || {
            let shared = place.shared.clone();
            if let Err(error) = session(&shared, stream, place) {
                (shared.say)(&format!("{address}: {error}"));
            }
        };
        let thread = thread::Builder::new().name("session".to_owned()).stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn(session) {
            (shared.say)(&format!("{address} can't be served: {error}"));
        }
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

fn serve(config: &Config, cluster: &Cluster) -> Result<Served, WitnessError> {
    let protocol = protocol_of(&cluster.name);
    let tls = cluster.identity()?.server(&[&protocol]).map_err(|error| WitnessError::Syntax {
        path: cluster.certificate.clone(),
        why: error.to_string(),
    })?;
    let register = Mutex::new(first::take_up(config, cluster));
    let (config, cluster) = (config.clone(), cluster.clone());
    Ok(Served { config, cluster, tls, register, sessions: AtomicUsize::new(0) })
}

fn refused(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

/// Serves a connection to its end. The end of an idle one is no error.
fn session(shared: &Shared, stream: TcpStream, place: Place) -> io::Result<()> {
    listen::prepare(&stream)?;
    let mut socket = Timed::new(stream, GREETING);
    let (cluster, connection) = hello(shared, &mut socket)?;
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
            stream.sock.farewell();
            return Err(error);
        }
    }
    let certificates = stream.conn.peer_certificates().unwrap_or_default();
    let name = certificates.first().and_then(|own| common_name(own)).unwrap_or_default();
    let (nodes, of) = (&cluster.cluster.nodes, &cluster.cluster.name);
    let [a, _] = nodes;
    if !nodes.contains(&name) {
        return Err(refused(format!("\"{name}\" is no node of the pair of {of}")));
    }
    let side = if *a == name { Side::A } else { Side::B };
    let (address, guest) = (place.address, place.guest);
    shared.admission(|admission, now| admission.authenticated(address, guest, now));
    drop(place);
    let Some(_seat) = Seat::take(cluster) else {
        return Err(refused(format!("{of} has too many connections")));
    };
    loop {
        stream.sock.allow(IDLE);
        let mut question = [0; ASK_BYTES];
        match stream.read_exact(&mut question) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::ConnectionReset
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let reply = answer(shared, cluster, side, &question);
        stream.sock.allow(REPLY);
        stream.write_all(&reply.encode())?;
        stream.flush()?;
    }
}

/// Reads which cluster the peer wants.
fn hello<'a>(shared: &'a Shared, socket: &mut Timed) -> io::Result<(&'a Served, ServerConnection)> {
    let mut acceptor = Acceptor::default();
    let accepted = loop {
        if acceptor.read_tls(socket)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => break accepted,
            Ok(None) => {}
            Err((error, mut alert)) => {
                let _gone = alert.write(socket);
                return Err(io::Error::other(error));
            }
        }
    };
    let wanted = accepted.client_hello().alpn().and_then(|mut all| all.find_map(cluster_of));
    let Some(cluster) = wanted.and_then(|name| shared.clusters.get(name)) else {
        let wanted = wanted.unwrap_or("a cluster without a name").escape_debug();
        return Err(refused(format!("it asks for {wanted}, which is not served here")));
    };
    let connection = accepted.into_connection(cluster.tls.clone());
    let connection = connection.map_err(|(error, mut alert)| {
        let _gone = alert.write(socket);
        io::Error::other(error)
    })?;
    Ok((cluster, connection))
}

fn answer(shared: &Shared, served: &Served, side: Side, question: &[u8]) -> Reply {
    let name = &served.cluster.name;
    let Some(ask) = Ask::decode(question) else {
        return Reply::Refused("this is no question to a witness".to_owned());
    };
    if ask.cluster != cluster_number(name) || ask.from != side {
        return Reply::Refused("the question is another node's".to_owned());
    }
    let mut register = served.register.lock().unwrap_or_else(PoisonError::into_inner);
    // A disk that could not be written at the start may be well by now.
    if let Err(RegisterError::Unwritten { .. }) = &*register {
        *register = first::take_up(&served.config, &served.cluster);
    }
    let answered = match &mut *register {
        Err(error) => Err(error.clone()),
        Ok(kept) => {
            let before = kept.register();
            let answered = kept.ask(&ask);
            if before != kept.register() {
                (shared.say)(&format!("{name}: {:?}", kept.register().config));
            }
            answered
        }
    };
    match answered {
        Ok(answer) => Reply::Answer(answer),
        Err(error) => {
            (shared.say)(&format!("{name} is not served: {error}"));
            Reply::Refused(error.to_string())
        }
    }
}

/// A connection's place in its cluster.
struct Seat<'a>(&'a Served);

impl<'a> Seat<'a> {
    fn take(cluster: &'a Served) -> Option<Self> {
        let seat = Self(cluster);
        let before = cluster.sessions.fetch_add(1, Ordering::Relaxed);
        (before < CLUSTER_SESSIONS).then_some(seat)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}
