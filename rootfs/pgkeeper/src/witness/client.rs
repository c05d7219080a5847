//! The keeper's way to its witness: a question, an answer, a limit of time.
//!
//! One connection is kept and made anew when it is gone. Asking twice is harmless: a claim that was
//! granted is what stands in the register, and the answer says what stands there. So a question
//! whose connection turned out to be dead is asked once more on a new one, within the same time.
//!
//! This blocks for as long as the caller allows; the keeper calls it from a thread of its own. The
//! witness's host name is asked of the system's resolver, whose time isn't bounded here: give the
//! witness by address where that matters.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use failover::{Answer, Ask, Configuration, Side};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use thiserror::Error;

use super::frame::{MAX_REPLY_BYTES, Reply, Strange};
use super::{cluster_number, protocol_of};
use crate::listen;
use crate::timed::Timed;
use crate::tls::{CertificateError, Identity};

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Certificates or a key are wrong.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// The witness's name is none.
    #[error("\"{0}\" is neither an address nor a host name: correct failover.witness.address")]
    Name(String),
    /// It can't be reached in time.
    #[error("the witness at {place} doesn't answer: {source}")]
    Unreachable {
        /// Where it should be.
        place: String,
        /// What the system says.
        source: io::Error,
    },
    /// It doesn't serve us.
    #[error("the witness at {place} refuses: {why}")]
    Refused {
        /// Where it is.
        place: String,
        /// Its reason.
        why: String,
    },
    /// It answers something else.
    #[error("what answers at {place} is no witness of this cluster")]
    Strange {
        /// Where it is.
        place: String,
    },
}

/// A connection over a slow line takes that long.
const SHARE_LEAST: Duration = Duration::from_millis(300);

type Stream = StreamOwned<ClientConnection, Timed>;

/// A node's connection to its witness.
pub struct Client {
    host: String,
    port: u16,
    cluster: u64,
    side: Side,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    stream: Option<Stream>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Client").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to nobody yet. `host` is what the witness's certificate says.
    pub fn new(
        host: &str,
        port: u16,
        cluster: &str,
        side: Side,
        identity: &Identity,
    ) -> Result<Self, ClientError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| ClientError::Name(host.to_owned()))?;
        let tls = identity.client(&protocol_of(cluster))?;
        let (host, cluster) = (host.to_owned(), cluster_number(cluster));
        Ok(Self { host, port, cluster, side, name, tls, stream: None })
    }

    /// What stands in the register.
    pub fn read(&mut self, nonce: u64, limit: Duration) -> Result<Answer, ClientError> {
        self.ask(&self.question(nonce), limit)
    }

    /// Claims a configuration; it is granted if it is what stands in the answer.
    pub fn cas(
        &mut self,
        nonce: u64,
        claim: Configuration,
        limit: Duration,
    ) -> Result<Answer, ClientError> {
        self.ask(&Ask { claim: Some(claim), ..self.question(nonce) }, limit)
    }

    fn question(&self, nonce: u64) -> Ask {
        Ask { cluster: self.cluster, from: self.side, nonce, claim: None, enroll: None }
    }

    /// Asks what the protocol wants to be asked.
    pub fn ask(&mut self, ask: &Ask, limit: Duration) -> Result<Answer, ClientError> {
        let end = Instant::now() + limit;
        if let Some(mut kept) = self.stream.take() {
            match exchange(&mut kept, ask, end) {
                Err(Failed::Gone(error)) if error.kind() != io::ErrorKind::TimedOut => {}
                other => return self.judge(kept, ask, other),
            }
        }
        let mut stream = self.connect(end).map_err(|source| self.unreachable(source))?;
        let exchanged = exchange(&mut stream, ask, end);
        self.judge(stream, ask, exchanged)
    }

    fn judge(
        &mut self,
        stream: Stream,
        ask: &Ask,
        exchanged: Result<Reply, Failed>,
    ) -> Result<Answer, ClientError> {
        let place = format!("{}:{}", self.host, self.port);
        match exchanged {
            Ok(Reply::Answer(answer))
                if (answer.cluster, answer.nonce) == (ask.cluster, ask.nonce) =>
            {
                self.stream = Some(stream);
                Ok(answer)
            }
            Ok(Reply::Refused(why)) => {
                self.stream = Some(stream);
                Err(ClientError::Refused { place, why })
            }
            Ok(Reply::Answer(_)) | Err(Failed::Strange) => Err(ClientError::Strange { place }),
            Err(Failed::Gone(source)) => Err(self.unreachable(source)),
        }
    }

    fn unreachable(&self, source: io::Error) -> ClientError {
        ClientError::Unreachable { place: format!("{}:{}", self.host, self.port), source }
    }

    fn connect(&self, end: Instant) -> io::Result<Stream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        let addresses: Vec<SocketAddr> =
            (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        for (address, untried) in addresses.iter().zip((1..=count).rev()) {
            // One that swallows the connection leaves the others their share, if that is enough for any.
            let left = left(end)?;
            let share = (left / untried).max(SHARE_LEAST).min(left);
            match self.connect_to(*address, share, end) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn connect_to(&self, address: SocketAddr, share: Duration, end: Instant) -> io::Result<Stream> {
        let socket = TcpStream::connect_timeout(&address, share)?;
        listen::prepare(&socket)?;
        let connection =
            ClientConnection::new(self.tls.clone(), self.name.clone()).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, Timed::new(socket, left(end)?)))
    }
}

/// The time that is left; never zero, which sockets take for "no limit".
fn left(end: Instant) -> io::Result<Duration> {
    match end.checked_duration_since(Instant::now()) {
        Some(left) if !left.is_zero() => Ok(left),
        _ => Err(io::ErrorKind::TimedOut.into()),
    }
}

enum Failed {
    Gone(io::Error),
    Strange,
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl From<Strange> for Failed {
    fn from(_: Strange) -> Self {
        Self::Strange
    }
}

fn exchange(stream: &mut Stream, ask: &Ask, end: Instant) -> Result<Reply, Failed> {
    stream.sock.allow(left(end)?);
    stream.write_all(&ask.encode())?;
    stream.flush()?;
    let mut reply = Vec::new();
    let mut piece = [0; MAX_REPLY_BYTES];
    loop {
        if let Some(reply) = Reply::decode(&reply)? {
            return Ok(reply);
        }
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        reply.extend(piece.iter().take(count));
    }
}
