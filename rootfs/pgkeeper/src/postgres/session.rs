//! A connection to PostgreSQL by its unix socket, as the superuser. Every wait has a limit, and a
//! stop ends it.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::error::DriverError;
use super::flag::{Flag, wait};
use super::wire::{self, MAX_MESSAGE_BYTES, Message, Rows};
use crate::gate::hba::SUPERUSER;

/// How the keeper names itself in PostgreSQL's views.
const APPLICATION: &str = "pgkeeper";
/// The keeper's own commits wait for nobody: it must be able to make the peer's slot without it.
const MANNERS: &str = "set synchronous_commit = local";
/// What a look may take, which PostgreSQL answers from memory. A session may hang where the next one
/// doesn't, so a look is given up by then and taken anew.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// A PostgreSQL that doesn't answer for this long is as good as ended: waiting longer costs clients
/// more than a start does, and K3s gives up after ten seconds. With half of it a drill on a busy desk
/// ended a PostgreSQL that was only slow, twice.
pub(super) const HUNG_AFTER: Duration = Duration::from_secs(8);

/// A connection.
#[derive(Debug)]
pub(super) struct Session {
    stream: UnixStream,
    path: PathBuf,
    received: Vec<u8>,
    /// What was asked and isn't answered.
    asked: String,
    asked_at: Instant,
    rows: Rows,
    refusal: Option<DriverError>,
    process: i32,
}

impl Session {
    /// Connects and logs in, by then.
    pub(super) fn open(
        path: &Path,
        database: &str,
        end: Instant,
        halt: &Flag,
    ) -> Result<Self, DriverError> {
        let stream = connect(path)
            .map_err(|source| DriverError::Connection { path: path.to_owned(), source })?;
        let mut session = Self {
            stream,
            path: path.to_owned(),
            received: Vec::new(),
            asked: "log-in".to_owned(),
            asked_at: Instant::now(),
            rows: Rows::new(),
            refusal: None,
            process: 0,
        };
        session.write(&wire::startup(SUPERUSER, database, APPLICATION))?;
        session.answer(end, halt)?;
        session.ask(MANNERS, end, halt)?;
        Ok(session)
    }

    /// The process that serves this connection.
    pub(super) fn process(&self) -> i32 {
        self.process
    }

    /// Asks, and waits for the answer until then.
    pub(super) fn ask(
        &mut self,
        query: &str,
        end: Instant,
        halt: &Flag,
    ) -> Result<Rows, DriverError> {
        self.send(query)?;
        self.answer(end, halt)
    }

    /// The first value of the answer.
    pub(super) fn ask_one(
        &mut self,
        query: &str,
        end: Instant,
        halt: &Flag,
    ) -> Result<String, DriverError> {
        first_value(self.ask(query, end, halt)?, query)
    }

    /// Asks; the answer is for [`Session::answer`] or [`Session::has_answered`].
    pub(super) fn send(&mut self, query: &str) -> Result<(), DriverError> {
        query.clone_into(&mut self.asked);
        self.asked_at = Instant::now();
        self.write(&wire::query(query))
    }

    /// Waits for the answer until then.
    pub(super) fn answer(&mut self, end: Instant, halt: &Flag) -> Result<Rows, DriverError> {
        loop {
            if let Some(rows) = self.has_answered()? {
                return Ok(rows);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let (what, limit) = (self.asked.clone(), self.asked_at.elapsed());
                return Err(DriverError::Late { what, limit });
            }
            let ready = wait([halt.as_fd(), self.stream.as_fd()], left);
            if let [true, _] = ready.map_err(|source| self.lost(source))? {
                return Err(DriverError::Overtaken);
            }
        }
    }

    /// The answer, if it is there.
    pub(super) fn has_answered(&mut self) -> Result<Option<Rows>, DriverError> {
        loop {
            let taken = wire::take(&mut self.received);
            match taken.map_err(|_| DriverError::Strange { query: self.asked.clone() })? {
                Some(Message::Ready) => {
                    let rows = std::mem::take(&mut self.rows);
                    return match self.refusal.take() {
                        Some(refusal) => Err(refusal),
                        None => Ok(Some(rows)),
                    };
                }
                Some(Message::Row(row)) => self.rows.push(row),
                Some(Message::Process(process)) => self.process = process,
                Some(Message::Authentication(0) | Message::Other) => {}
                Some(Message::Authentication(_)) => {
                    return Err(DriverError::Strange { query: self.asked.clone() });
                }
                Some(Message::Error(code, message)) => self.refused(code, message),
                None if self.receive()? => {}
                None => return Ok(None),
            }
        }
    }

    fn refused(&mut self, code: String, message: String) {
        let query = self.asked.clone();
        self.refusal = Some(DriverError::Refused { query, code, message });
    }

    /// Takes in what has arrived; whether that was anything.
    fn receive(&mut self) -> Result<bool, DriverError> {
        let mut chunk = [0; 8192];
        match self.stream.read(&mut chunk) {
            // Before it closes, the server says why.
            Ok(0) => {
                let gone = io::ErrorKind::UnexpectedEof;
                Err(self.refusal.take().unwrap_or_else(|| self.lost(gone.into())))
            }
            Ok(count) => {
                self.received.extend(chunk.iter().take(count));
                let long = self.received.len() > MAX_MESSAGE_BYTES * 2;
                let query = || DriverError::Strange { query: self.asked.clone() };
                if long || self.rows.len() > MAX_MESSAGE_BYTES { Err(query()) } else { Ok(true) }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(source) => Err(self.lost(source)),
        }
    }

    /// The keeper's questions fit into a socket's buffer; one that doesn't is a broken server's.
    fn write(&mut self, bytes: &[u8]) -> Result<(), DriverError> {
        let written = self.stream.write_all(bytes);
        written.map_err(|source| self.lost(source))
    }

    fn lost(&self, source: io::Error) -> DriverError {
        DriverError::Connection { path: self.path.clone(), source }
    }
}

/// The first value of the first row.
pub(super) fn first_value(answer: Rows, query: &str) -> Result<String, DriverError> {
    let first = answer.into_iter().flatten().next().flatten();
    first.ok_or_else(|| DriverError::Strange { query: query.to_owned() })
}

/// Connects at once or not at all: a server that hangs lets callers queue, and then block.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket.into())
}
