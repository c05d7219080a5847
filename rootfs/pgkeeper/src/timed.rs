//! A TCP stream whose reads and writes share one deadline.
//!
//! A timeout of the socket alone starts anew with every byte, so a peer that sends one byte a
//! second holds a connection forever. Here the time that is left shrinks with each call.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A refused peer gets this long to read why.
const FAREWELL: Duration = Duration::from_millis(500);
/// What a refused peer may still have sent; more than a TLS record isn't read.
const FAREWELL_BYTES: usize = 16 * 1024;

/// The stream and its deadline.
#[derive(Debug)]
pub(crate) struct Timed {
    stream: Arc<TcpStream>,
    deadline: Instant,
}

impl Timed {
    /// Everything on this stream must be over within `limit`.
    pub(crate) fn new(stream: TcpStream, limit: Duration) -> Self {
        Self { stream: Arc::new(stream), deadline: Instant::now() + limit }
    }

    /// From now on there is this much time.
    pub(crate) fn allow(&mut self, limit: Duration) {
        self.deadline = Instant::now() + limit;
    }

    /// The stream itself.
    pub(crate) fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// The time that is left, as sockets want it: never zero, which they take for "no limit".
    pub(crate) fn left(&self) -> io::Result<Duration> {
        match self.deadline.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Closes so that the peer can read what it was told last: with its bytes unread, the kernel
    /// would send a reset that overtakes it.
    pub(crate) fn farewell(&mut self) {
        let _gone = self.stream.shutdown(Shutdown::Write);
        self.allow(FAREWELL);
        let mut rest = [0; 1024];
        let mut count = 0;
        while let Ok(read @ 1..) = self.read(&mut rest) {
            count += read;
            if count > FAREWELL_BYTES {
                return;
            }
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
        self.stream.set_read_timeout(Some(self.left()?))?;
        (&*self.stream).read(buffer).map_err(named)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        (&*self.stream).write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
