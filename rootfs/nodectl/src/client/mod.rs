//! Asks a node: one connection for each request.

mod address;
mod answers;
mod error;
mod operator;

use std::io::{self, Cursor};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use control::{Answer, Request};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

pub use address::{BadAddress, DEFAULT_PORT, NodeAddress};
pub use answers::Answers;
use answers::Connection;
pub use error::ClientError;
pub use operator::{Operator, OperatorError};

use crate::doors::Door;
use crate::keepalive;
use crate::timed::Timed;

/// How long one address of a node may take to accept. A node on the same continent needs
/// milliseconds; a lost first packet is sent again after one second, and after two more.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long an answer may take once the connection stands.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// This node in messages.
const HERE: &str = "this node";
/// Why a connection is of no use whose other side says nothing.
const LATE: &str = "no answer in time";

/// Which node, and how to get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This one.
    Local {
        /// PID 1's socket; those of its siblings are beside it.
        socket: PathBuf,
    },
    /// Another one.
    Remote {
        /// Where it is.
        address: NodeAddress,
        /// The operator's folder.
        operator: PathBuf,
    },
}

/// Asks one node.
#[derive(Debug)]
pub struct Client {
    way: Way,
}

#[derive(Debug)]
enum Way {
    Socket(PathBuf),
    Network(NodeAddress, Operator),
}

impl Client {
    /// Gets ready to ask; nothing is sent yet.
    pub fn new(target: &Target) -> Result<Self, ClientError> {
        let way = match target {
            Target::Local { socket } => Way::Socket(socket.clone()),
            Target::Remote { address, operator } => {
                Way::Network(address.clone(), Operator::load(operator)?)
            }
        };
        Ok(Self { way })
    }

    /// The node as messages name it.
    pub fn place(&self) -> String {
        match &self.way {
            Way::Socket(_) => HERE.to_owned(),
            Way::Network(address, _) => address.to_string(),
        }
    }

    /// Asks, and gives the answer's lines as they come. With `endless`, no time limit is set.
    pub fn ask(&self, request: &Request, endless: bool) -> Result<Answers, ClientError> {
        self.send(request, (!endless).then_some(ANSWER_LIMIT))
    }

    fn send(&self, request: &Request, limit: Option<Duration>) -> Result<Answers, ClientError> {
        let line = request
            .to_line()
            .map_err(|source| ClientError::Protocol { node: self.place(), source })?;
        let connection = match &self.way {
            Way::Socket(path) => local(path, request, &line, limit)?,
            Way::Network(address, operator) => remote(address, operator, &line, limit)?,
        };
        Ok(Answers::new(connection, self.place()))
    }

    /// Asks for an answer of one line. A refusal is an error.
    pub fn one(&self, request: &Request) -> Result<Answer, ClientError> {
        self.one_within(request, ANSWER_LIMIT)
    }

    /// The same, and the answer may take no longer than this once the request is sent.
    pub fn one_within(&self, request: &Request, limit: Duration) -> Result<Answer, ClientError> {
        let ended = || ClientError::CutOff { node: self.place(), why: "no answer".to_owned() };
        self.send(request, Some(limit))?.next()?.ok_or_else(ended)
    }

    /// The error for an answer that doesn't fit its question.
    pub fn unexpected(&self) -> ClientError {
        ClientError::Unexpected { node: self.place() }
    }
}

fn local(
    agent: &Path,
    request: &Request,
    line: &[u8],
    limit: Option<Duration>,
) -> Result<Connection, ClientError> {
    let door = Door::of(request, agent);
    let sort = |source: io::Error| {
        // Where there is no agent, this is no node, and nobody else can be expected either.
        let socket = if agent.exists() { &door.path } else { agent }.display().to_string();
        match source.kind() {
            io::ErrorKind::PermissionDenied => ClientError::NotPermitted { socket },
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                ClientError::CutOff { node: HERE.to_owned(), why: LATE.to_owned() }
            }
            _ => ClientError::NoAgent { socket, source },
        }
    };
    let ready = |answer: Answer| Connection::Ready(Cursor::new(answer.to_line()));
    let absent = |error: io::Error| match door.refusal(&error) {
        Some(refusal) if agent.exists() => Ok(ready(refusal)),
        _ => Err(sort(error)),
    };
    // Even where the answer may go on without end, the way to it may not.
    let step = limit.unwrap_or(ANSWER_LIMIT);
    if let Some(word) = door.word {
        return door.ask_vipd(word, step).map(ready).or_else(absent);
    }
    let mut stream = match door.connect(step) {
        Ok(stream) => stream,
        Err(error) => return absent(error),
    };
    stream.set_read_timeout(limit).map_err(sort)?;
    stream.set_write_timeout(limit).map_err(sort)?;
    // An agent that has no room refuses without reading; its reason is there to be read.
    let _refused_early = io::Write::write_all(&mut stream, line);
    Ok(Connection::Local(stream))
}

fn remote(
    address: &NodeAddress,
    operator: &Operator,
    line: &[u8],
    limit: Option<Duration>,
) -> Result<Connection, ClientError> {
    let node = address.to_string();
    let stream = connect(address)
        .map_err(|source| ClientError::Unreachable { node: node.clone(), source })?;
    let name = ServerName::try_from(address.host.clone())
        .map_err(|error| ClientError::Stranger { node: node.clone(), why: error.to_string() })?;
    // The handshake counts too, or a node that goes away in its midst is waited for much longer. Who
    // follows a log has no limit, and a slow way needs as long as for a connection.
    let greeting = limit.unwrap_or(ANSWER_LIMIT).max(CONNECT_LIMIT);
    let connection = ClientConnection::new(operator.config.clone(), name)
        .map_err(|error| ClientError::Stranger { node: node.clone(), why: error.to_string() })?;
    let mut stream = StreamOwned::new(connection, Timed::new(stream, greeting));
    let fingerprint = operator.fingerprint.to_string();
    let sort = |error| ClientError::of_tls(&node, &fingerprint, error);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(sort)?;
    }
    // In TLS 1.3 our side is done before the node has judged our certificate. If it says no, the
    // write may fail, and its reason is there to be read.
    let _refused_early =
        io::Write::write_all(&mut stream, line).and_then(|()| io::Write::flush(&mut stream));
    stream.sock.allow(limit);
    Ok(Connection::Remote(Box::new(stream), fingerprint))
}

/// Tries every address that a name has.
fn connect(address: &NodeAddress) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in (address.host.as_str(), address.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&candidate, CONNECT_LIMIT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                // Who follows a log waits without a limit, and must not wait for a dead node.
                keepalive::keep(&stream)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustix::net::sockopt;

    use super::*;

    #[test]
    fn a_node_that_vanishes_is_noticed_within_a_minute() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = connect(&NodeAddress { host: "127.0.0.1".to_owned(), port }).unwrap();
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        let idle = sockopt::tcp_keepidle(&stream).unwrap();
        let every = sockopt::tcp_keepintvl(&stream).unwrap();
        let probes = sockopt::tcp_keepcnt(&stream).unwrap();
        assert_eq!(idle + every * probes, Duration::from_mins(1));
    }
}
