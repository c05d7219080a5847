//! A connection to PostgreSQL: TLS, log-in, and one statement at a time, each with a deadline.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use thiserror::Error;

use super::certificate::common_name;
use super::message::{self, Refusal};
use crate::client::timed::Timed;

#[derive(Debug, Error)]
pub(super) enum ConnectionError {
    #[error("{0}")]
    Io(io::Error),
    #[error("no answer in time")]
    Timeout,
    #[error("{0}")]
    Refused(Refusal),
    #[error("the server speaks no TLS")]
    NoTls,
    #[error("the server wants a password; give the ledger a certificate, or let it in by `trust`")]
    Password,
    #[error("the server broke the protocol: {0}")]
    Protocol(&'static str),
}

impl ConnectionError {
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }
}

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::Timeout,
            _ => Self::Io(error),
        }
    }
}

/// What a statement brought.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) rows: Vec<Vec<Option<String>>>,
    pub(super) warning: Option<String>,
}

#[derive(Debug)]
enum Stream {
    Plain(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Stream {
    fn timed(&mut self) -> &mut Timed {
        match self {
            Self::Plain(timed) => timed,
            Self::Tls(tls) => &mut tls.sock,
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(timed) => timed.write_all(bytes),
            Self::Tls(tls) => {
                tls.write_all(bytes)?;
                tls.flush()
            }
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Plain(timed) => timed.read_exact(buffer),
            Self::Tls(tls) => tls.read_exact(buffer),
        }
    }

    fn message(&mut self) -> Result<(u8, Vec<u8>), ConnectionError> {
        let mut head = [0; 5];
        self.fill(&mut head)?;
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        let body = length.checked_sub(4).filter(|body| *body <= message::MESSAGE_BYTES_MAX);
        let mut body = vec![0; body.ok_or(ConnectionError::Protocol("a message's length"))?];
        self.fill(&mut body)?;
        Ok((kind, body))
    }
}

/// A session that is ready for a statement.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    /// The name in the server's certificate.
    pub(super) server: Option<String>,
}

impl Connection {
    /// Connects and logs in; all of it within `limit`.
    pub(super) fn open(
        address: SocketAddr,
        tls: Option<Arc<ClientConfig>>,
        role: &str,
        database: &str,
        limit: Duration,
    ) -> Result<Self, ConnectionError> {
        let socket = Timed::connect(address, limit)?;
        let (mut stream, server) = match tls {
            None => (Stream::Plain(socket), None),
            Some(tls) => encrypt(socket, address, tls)?,
        };
        stream.send(&message::startup(role, database))?;
        loop {
            match stream.message()? {
                (b'R', body) if body == 0_u32.to_be_bytes() => {}
                (b'R', _) => return Err(ConnectionError::Password),
                (b'E', body) => return Err(ConnectionError::Refused(Refusal::parse(&body))),
                (b'Z', _) => return Ok(Self { stream, server }),
                // Settings, the key for cancel requests, notices.
                (b'S' | b'K' | b'N', _) => {}
                _ => return Err(ConnectionError::Protocol("an unexpected message at log-in")),
            }
        }
    }

    /// One statement outside of a transaction. It is done when the server is ready for another.
    pub(super) fn query(
        &mut self,
        statement: &str,
        limit: Duration,
    ) -> Result<Reply, ConnectionError> {
        self.stream.timed().allow(limit);
        self.stream.send(&message::query(statement))?;
        let (mut reply, mut refusal, mut complete) = (Reply::default(), None, false);
        loop {
            match self.stream.message()? {
                (b'D', body) => {
                    let row = message::columns(&body).ok_or(ConnectionError::Protocol("a row"))?;
                    reply.rows.push(row);
                }
                (b'N', body) => {
                    let notice = Refusal::parse(&body);
                    let warning = notice.is_warning().then(|| notice.to_string());
                    reply.warning = reply.warning.or(warning);
                }
                (b'E', body) => {
                    let said = Refusal::parse(&body);
                    // Nothing follows what isn't an error of the statement alone.
                    if !said.is_certain() {
                        return Err(ConnectionError::Refused(said));
                    }
                    refusal = Some(said);
                }
                (b'C', _) => complete = true,
                (b'Z', _) => {
                    return match refusal {
                        Some(refusal) => Err(ConnectionError::Refused(refusal)),
                        None if complete => Ok(reply),
                        None => Err(ConnectionError::Protocol("ready, and nothing was completed")),
                    };
                }
                (b'T' | b'S', _) => {}
                _ => return Err(ConnectionError::Protocol("an unexpected message")),
            }
        }
    }
}

fn encrypt(
    mut socket: Timed,
    address: SocketAddr,
    tls: Arc<ClientConfig>,
) -> Result<(Stream, Option<String>), ConnectionError> {
    socket.write_all(&message::tls_request())?;
    let mut welcome = [0];
    socket.read_exact(&mut welcome)?;
    if welcome != *b"S" {
        return Err(ConnectionError::NoTls);
    }
    let name = ServerName::IpAddress(address.ip().into());
    let connection = ClientConnection::new(tls, name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    let certificates = stream.conn.peer_certificates().unwrap_or_default();
    let server = certificates.first().and_then(|own| common_name(own));
    Ok((Stream::Tls(Box::new(stream)), server))
}
