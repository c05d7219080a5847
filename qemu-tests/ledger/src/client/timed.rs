//! A TCP stream on which everything must be over at one moment, however many calls it takes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Whoever has an address answers a first packet within milliseconds. While nobody has it, the
/// kernel asks again after a whole second; a client that gives up and asks anew sees sooner that
/// the address is back.
const FIRST_ANSWER: Duration = Duration::from_millis(400);

/// The stream and the moment.
#[derive(Debug)]
pub(super) struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Timed {
    /// Connects within `limit`, of which the rest is left for what follows.
    pub(super) fn connect(address: SocketAddr, limit: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + limit;
        let stream = TcpStream::connect_timeout(&address, limit.min(FIRST_ANSWER))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, deadline })
    }

    /// From now on there is this much time.
    pub(super) fn allow(&mut self, limit: Duration) {
        self.deadline = Instant::now() + limit;
    }

    /// Never zero, which sockets take for "no limit".
    fn left(&self) -> io::Result<Duration> {
        match self.deadline.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// A socket says "would block" when its time is over.
fn named(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer).map_err(named)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
