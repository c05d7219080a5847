//! One connection: what it says first, TLS, log-in, and then the pump.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustls::{CertificateError, ServerConnection, StreamOwned};

use super::counters::one;
use super::refusal::Refusal;
use super::sessions::Ends;
use super::startup::{self, Door, Kind, MAX_PACKET_BYTES, Next, Packet, Startup};
use super::{ALPN, Place, Shared, pump};
use crate::listen;
use crate::name::common_name;
use crate::timed::Timed;

/// Every packet has this many bytes at least; asking for more could take some of TLS.
const FIRST_BYTES: usize = 8;
const TLS_WELCOME: &[u8] = b"S";
const GSS_DECLINED: &[u8] = b"N";

type Stream = StreamOwned<ServerConnection, Timed>;

/// Why a connection came to an end before it was a session.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("{0}")]
    Broken(#[from] io::Error),
    #[error("a cancel request was swallowed")]
    Swallowed,
    /// Nobody was refused: the peer looked whether the port is open.
    #[error("the peer left")]
    Left,
}

/// Serves a connection to its end.
pub(super) fn run(place: Place, stream: TcpStream) {
    let shared = place.shared.clone();
    let (address, guest) = (place.address, place.guest);
    let ended = match greet(&shared, stream) {
        Err(ended) => ended,
        Ok((stream, name)) => {
            shared.admission(|admission, now| admission.authenticated(address, guest, now));
            let ended = log_in(&shared, stream, &name, place);
            match ended {
                Ok(()) => return,
                Err(ended) => ended,
            }
        }
    };
    // A refusal was counted before it was said.
    if !matches!(ended, Ended::Refused(_)) {
        count(&shared, &ended);
    }
    // A closed gate is asked many times a second, and a probe of the port comes every second.
    if !matches!(ended, Ended::Left | Ended::Refused(Refusal::Closed)) {
        shared.tell(&format!("{address}: {ended}"));
    }
}

fn count(shared: &Shared, ended: &Ended) {
    let counters = &shared.counters;
    one(match ended {
        Ended::Left => return,
        Ended::Swallowed => &counters.swallowed_cancels,
        Ended::Refused(Refusal::Closed) => &counters.refused_closed,
        Ended::Refused(Refusal::Full) => &counters.refused_full,
        Ended::Refused(Refusal::NoBackend) => &counters.refused_no_backend,
        Ended::Refused(Refusal::Role { .. } | Refusal::Database { .. } | Refusal::Replication) => {
            &counters.refused_log_ins
        }
        Ended::Refused(_) | Ended::Broken(_) => &counters.refused_greetings,
    });
}

/// Plain text up to TLS, and the name in the certificate.
fn greet(shared: &Shared, stream: TcpStream) -> Result<(Stream, String), Ended> {
    listen::prepare(&stream)?;
    let mut socket = Timed::new(stream, shared.patience.greeting);
    let first = match before_tls(&mut socket) {
        Err(Ended::Refused(refusal)) => {
            let message = refusal.message();
            let ended = Ended::from(refusal);
            count(shared, &ended);
            let _gone = socket.write_all(&message);
            socket.farewell();
            return Err(ended);
        }
        other => other?,
    };
    let direct = !first.is_empty();
    let connection = ServerConnection::new(shared.tls.clone()).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, socket);
    if let Err(error) = handshake(&mut stream, &first) {
        stream.sock.farewell();
        return Err(named(error).into());
    }
    let certificates = stream.conn.peer_certificates().unwrap_or_default();
    let name = certificates.first().and_then(|own| common_name(own));
    let checked = match name {
        None => Err(Refusal::NoName),
        // Without it, any TLS client that is tricked into coming here would do.
        Some(_) if direct && stream.conn.alpn_protocol() != Some(ALPN) => Err(Refusal::NoAlpn),
        Some(name) => Ok(name),
    };
    match checked {
        Ok(name) => Ok((stream, name)),
        Err(refusal) => Err(refuse(shared, &mut stream, refusal)),
    }
}

/// The plain packets. Returns the bytes of TLS that were read already.
fn before_tls(socket: &mut Timed) -> Result<Vec<u8>, Ended> {
    let mut door = Door::Fresh;
    loop {
        let mut bytes = Vec::new();
        let packet = read_packet(socket, &mut bytes, FIRST_BYTES)?;
        let direct = packet.kind() == Kind::DirectTls;
        match startup::next(door, packet.kind()) {
            Next::Tls if direct => return Ok(bytes),
            Next::Tls => {
                socket.write_all(TLS_WELCOME)?;
                return Ok(Vec::new());
            }
            Next::NoGss => {
                socket.write_all(GSS_DECLINED)?;
                door = Door::NoGss;
            }
            Next::Swallowed => return Err(Ended::Swallowed),
            Next::LogIn | Next::Refused if packet.kind() == Kind::Startup => {
                return Err(Refusal::NoTls.into());
            }
            Next::LogIn | Next::Refused => return Err(Refusal::Unexpected.into()),
        }
    }
}

/// Reads until there is a packet, `step` bytes at a time, so none behind it are taken.
fn read_packet(source: &mut impl Read, bytes: &mut Vec<u8>, step: usize) -> Result<Packet, Ended> {
    let mut piece = [0; MAX_PACKET_BYTES];
    loop {
        let found = startup::first_packet(bytes).map_err(Refusal::from)?;
        if let Some((packet, used)) = found {
            bytes.drain(..used);
            return Ok(packet);
        }
        // The header first; it says how much belongs to the packet.
        let room = step.saturating_sub(bytes.len() % step).min(piece.len());
        let count = source.read(piece.get_mut(..room).unwrap_or_default())?;
        if count == 0 {
            return Err(if bytes.is_empty() {
                Ended::Left
            } else {
                io::Error::from(io::ErrorKind::UnexpectedEof).into()
            });
        }
        bytes.extend(piece.iter().take(count));
    }
}

fn handshake(stream: &mut Stream, first: &[u8]) -> io::Result<()> {
    let mut rest = first;
    while !rest.is_empty() {
        stream.conn.read_tls(&mut rest)?;
    }
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(())
}

/// An error in the words of the log.
fn named(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let text = match (inner, error.kind()) {
        (Some(rustls::Error::NoCertificatesPresented), _) => "it shows no certificate",
        (Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)), _) => {
            "its certificate is not of the cluster's CA"
        }
        (_, io::ErrorKind::TimedOut) => "no log-in in time",
        (_, io::ErrorKind::UnexpectedEof) => "the peer hung up",
        _ => return error,
    };
    io::Error::new(error.kind(), text)
}

/// Tells the client why, within TLS.
fn refuse(shared: &Shared, stream: &mut Stream, refusal: Refusal) -> Ended {
    let message = refusal.message();
    let ended = Ended::from(refusal);
    count(shared, &ended);
    let _gone = stream.write_all(&message);
    stream.conn.send_close_notify();
    let _gone_too = stream.flush();
    stream.sock.farewell();
    ended
}

/// From the log-in to the end of the session.
fn log_in(shared: &Shared, mut stream: Stream, name: &str, place: Place) -> Result<(), Ended> {
    let mut after = Vec::new();
    let entered = read_packet(&mut stream, &mut after, MAX_PACKET_BYTES)
        .and_then(|packet| judge(shared, name, packet))
        .and_then(|startup| {
            let backend = connect(&shared.backend, stream.sock.left()?)?;
            let ends = Ends { client: stream.sock.stream().clone(), backend: Arc::new(backend) };
            Ok((startup, ends))
        });
    let (startup, ends) = match entered {
        Err(Ended::Refused(refusal)) => return Err(refuse(shared, &mut stream, refusal)),
        other => other?,
    };
    // From here on nobody waits in the kernel for a socket, which would forbid to abort it.
    ends.client.set_nonblocking(true)?;
    ends.backend.set_nonblocking(true)?;
    let ticket = match shared.sessions.enter(&ends, shared.places) {
        Ok(ticket) => ticket,
        Err(refusal) => {
            ends.client.set_nonblocking(false)?;
            return Err(refuse(shared, &mut stream, refusal));
        }
    };
    drop(place);
    one(&shared.counters.sessions);
    let first = [startup.packet, after].concat();
    let ended = pump::run(stream.conn, &ends, first, shared);
    drop(ticket);
    if let Err(error) = ended
        && error.kind() == io::ErrorKind::InvalidData
    {
        shared.tell(&format!("a session of \"{name}\" ended: {error}"));
    }
    Ok(())
}

/// Whether this name may log in like this, now.
fn judge(shared: &Shared, name: &str, packet: Packet) -> Result<Startup, Ended> {
    let kind = packet.kind();
    match (startup::next(Door::Tls, kind), packet) {
        (Next::LogIn, Packet::Startup(startup)) => {
            shared.access.judge(name, &startup)?;
            let (open, inside) = shared.sessions.state();
            // Asked again when it enters; here it spares PostgreSQL the connection.
            if open.is_none() {
                return Err(Refusal::Closed.into());
            }
            if inside >= shared.places {
                return Err(Refusal::Full.into());
            }
            Ok(startup)
        }
        (Next::Swallowed, _) => Err(Ended::Swallowed),
        _ => Err(Refusal::Unexpected.into()),
    }
}

/// Connects to PostgreSQL, also when it is so stuck that its queue is full.
fn connect(path: &Path, limit: Duration) -> Result<UnixStream, Refusal> {
    let connected = || -> rustix::io::Result<UnixStream> {
        let flags = SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_timeout(&socket, Timeout::Send, Some(limit))?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(UnixStream::from(socket))
    };
    connected().map_err(|_| Refusal::NoBackend)
}
