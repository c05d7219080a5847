//! One connection: handshake, one request, its answer.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use control::{Answer, Inbox, MAX_REQUEST_BYTES, ProtocolError, Reason, Request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{CertificateError, ServerConnection, StreamOwned};

use super::{Place, Shared};
use crate::doors::Door;
use crate::fingerprint::Fingerprint;
use crate::keepalive;
use crate::timed::Timed;

/// How much of an answer is handed on at once.
const PIECE_BYTES: usize = 16 * 1024;
/// A refused peer gets this long to read why.
const FAREWELL: Duration = Duration::from_millis(500);
/// What a refused peer may still have sent; more than a TLS record isn't read.
const FAREWELL_BYTES: usize = 16 * 1024;

type Stream = StreamOwned<ServerConnection, Timed>;

/// Serves a connection to its end.
pub(super) fn run(place: &Place, stream: TcpStream) {
    let (shared, peer, guest) = (&*place.shared, place.address, place.guest);
    match greet(shared, stream) {
        Err(error) => (shared.say)(&format!("refused {peer}: {error}")),
        Ok(mut stream) => {
            shared.admission(|admission, now| admission.authenticated(peer, guest, now));
            let operator = operator_of(&stream);
            if let Err(error) = serve(shared, &mut stream, peer, &operator) {
                (shared.say)(&format!("operator {operator} at {peer}: {error}"));
            }
            close(&mut stream);
        }
    }
}

/// The TLS handshake, within its time.
fn greet(shared: &Shared, stream: TcpStream) -> io::Result<Stream> {
    stream.set_nodelay(true)?;
    keepalive::keep(&stream)?;
    let connection = ServerConnection::new(shared.tls.clone()).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, Timed::new(stream, shared.patience.handshake));
    while stream.conn.is_handshaking() {
        if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
            farewell(&mut stream.sock);
            return Err(named(error, "no TLS handshake in time"));
        }
    }
    Ok(stream)
}

/// An error in the words of the log.
fn named(error: io::Error, late: &str) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(ours))) = inner {
        return io::Error::new(error.kind(), ours.0.to_string());
    }
    match error.kind() {
        io::ErrorKind::TimedOut => io::Error::new(io::ErrorKind::TimedOut, late),
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the peer hung up"),
        _ => error,
    }
}

/// Closes so that the peer can read the alert: with its bytes unread, the kernel would send a reset
/// that overtakes it.
fn farewell(socket: &mut Timed) {
    let _gone = socket.stream().shutdown(Shutdown::Write);
    socket.allow(Some(FAREWELL));
    let mut rest = [0; 1024];
    let mut count = 0;
    while let Ok(read @ 1..) = socket.read(&mut rest) {
        count += read;
        if count > FAREWELL_BYTES {
            return;
        }
    }
}

/// Ends the TLS connection in order.
fn close(stream: &mut Stream) {
    stream.sock.allow(Some(FAREWELL));
    stream.conn.send_close_notify();
    let _gone = stream.flush();
    farewell(&mut stream.sock);
}

fn operator_of(stream: &Stream) -> String {
    let certificates = stream.conn.peer_certificates().unwrap_or_default();
    certificates.first().map_or_else(|| "?".to_owned(), |own| Fingerprint::of(own).short())
}

fn serve(shared: &Shared, stream: &mut Stream, peer: IpAddr, operator: &str) -> io::Result<()> {
    stream.sock.allow(Some(shared.patience.request));
    let request = match read_request(stream) {
        Ok(request) => request,
        Err(Unread::Broken(error)) => {
            answer(shared, stream, &Answer::Refused(error.refusal()))?;
            return Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string()));
        }
        Err(Unread::Gone(error)) => return Err(named(error, "no request in time")),
    };
    if request.changes() {
        let what = request_text(&request);
        (shared.say)(&format!("operator {operator} at {peer} asked: {what}"));
    }
    let door = Door::of(&request, &shared.agent);
    match hand_on(shared, stream, &request, &door) {
        Err(HandOn::Agent(error)) => {
            if let Some(refusal) = door.refusal(&error) {
                return answer(shared, stream, &refusal);
            }
            let text = format!("{} does not answer: {error}", door.name);
            answer(shared, stream, &Answer::refused(Reason::Failed, text.as_str()))?;
            Err(io::Error::new(error.kind(), text))
        }
        Err(HandOn::Peer(error)) => Err(named(error, "the peer takes no answer")),
        Ok(()) => Ok(()),
    }
}

/// Why there is no request.
enum Unread {
    Broken(ProtocolError),
    Gone(io::Error),
}

fn read_request(stream: &mut Stream) -> Result<Request, Unread> {
    let mut inbox = Inbox::new();
    let mut piece = [0; MAX_REQUEST_BYTES];
    loop {
        let count = stream.read(&mut piece).map_err(Unread::Gone)?;
        if count == 0 {
            return Err(Unread::Gone(io::ErrorKind::UnexpectedEof.into()));
        }
        let pushed = inbox.push(piece.get(..count).unwrap_or_default());
        if let Some(request) = pushed.map_err(Unread::Broken)? {
            return Ok(request);
        }
    }
}

fn request_text(request: &Request) -> String {
    match request {
        Request::Start { service } | Request::Stop { service } | Request::Restart { service } => {
            format!("{} {service}", request.word())
        }
        other => other.word().to_owned(),
    }
}

fn answer(shared: &Shared, stream: &mut Stream, answer: &Answer) -> io::Result<()> {
    stream.sock.allow(Some(shared.patience.piece));
    stream.write_all(&answer.to_line())?;
    stream.flush()
}

/// Who is to blame for a broken answer.
enum HandOn {
    Agent(io::Error),
    Peer(io::Error),
}

/// Asks whom the request is for, and hands the answer on until one of the two has enough.
fn hand_on(
    shared: &Shared,
    stream: &mut Stream,
    request: &Request,
    door: &Door,
) -> Result<(), HandOn> {
    if let Some(word) = door.word {
        let told = door.ask_vipd(word, shared.patience.agent).map_err(HandOn::Agent)?;
        return answer(shared, stream, &told).map_err(HandOn::Peer);
    }
    let broken = |error: ProtocolError| io::Error::new(io::ErrorKind::InvalidData, error);
    let line = request.to_line().map_err(|error| HandOn::Agent(broken(error)))?;
    let mut agent = door.connect(shared.patience.agent).map_err(HandOn::Agent)?;
    agent.set_write_timeout(Some(shared.patience.agent)).map_err(HandOn::Agent)?;
    // What waits to be read from an agent that refused early is its reason.
    let _refused_early = agent.write_all(&line);
    let follow = matches!(request, Request::Logs(logs) if logs.follow);
    let patience = (!follow).then_some(shared.patience.agent);
    let mut piece = vec![0; PIECE_BYTES];
    let mut heard = false;
    loop {
        if wait(&agent, stream, patience).map_err(HandOn::Agent)? == Ready::Peer {
            // Nothing may follow a request, so whatever there is means that the peer leaves.
            return Ok(());
        }
        let count = match agent.read(&mut piece) {
            Ok(0) if heard => return Ok(()),
            Ok(0) => return Err(HandOn::Agent(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The peer sees an answer that ends early; there is no room for a reason in it.
            Err(error) if heard => return Err(HandOn::Peer(error)),
            Err(error) => return Err(HandOn::Agent(error)),
        };
        heard = true;
        stream.sock.allow(Some(shared.patience.piece));
        let bytes = piece.get(..count).unwrap_or_default();
        stream.write_all(bytes).and_then(|()| stream.flush()).map_err(HandOn::Peer)?;
    }
}

/// Who has something for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ready {
    Agent,
    Peer,
}

fn wait(agent: &UnixStream, stream: &Stream, patience: Option<Duration>) -> io::Result<Ready> {
    let limit = patience.and_then(|limit| Timespec::try_from(limit).ok());
    let mut inputs =
        [PollFd::new(agent, PollFlags::IN), PollFd::new(stream.sock.stream(), PollFlags::IN)];
    loop {
        match poll(&mut inputs, limit.as_ref()) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let [agent, _] = &inputs;
    // An answer that is there is handed on even if the peer has shut its sending side.
    Ok(if agent.revents().is_empty() { Ready::Peer } else { Ready::Agent })
}
