//! A TCP stream whose reads and writes share one deadline.
//!
//! A timeout of the socket alone starts anew with every byte, so a peer that sends one byte a
//! second holds a connection forever. Here the time that is left shrinks with each call.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The stream and its deadline.
#[derive(Debug)]
pub(crate) struct Timed {
    stream: TcpStream,
    deadline: Option<Instant>,
}

impl Timed {
    /// Everything on this stream must be over within `limit`.
    pub(crate) fn new(stream: TcpStream, limit: Duration) -> Self {
        Self { stream, deadline: Some(Instant::now() + limit) }
    }

    /// From now on there is this much time; none means without end.
    pub(crate) fn allow(&mut self, limit: Option<Duration>) {
        self.deadline = limit.map(|limit| Instant::now() + limit);
    }

    /// The stream itself, for polling and options.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The time that is left, as sockets want it: never zero, which they take for "no limit".
    fn left(&self) -> io::Result<Option<Duration>> {
        let Some(deadline) = self.deadline else { return Ok(None) };
        match deadline.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// A socket says "would block" when its timeout is over.
fn named(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer).map_err(named)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
