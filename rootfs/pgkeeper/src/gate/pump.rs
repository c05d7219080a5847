//! Bytes between a client and PostgreSQL, until either is gone.
//!
//! One thread, one poll over both sockets. Each direction has one buffer, and its source is not
//! read before its sink took everything: so a session never holds more than these buffers, and a
//! slow client slows PostgreSQL down, as without a gate.
//!
//! ```text
//!  client --TLS--> inbound --plain--> PostgreSQL
//!  client <--TLS-- rustls's queue <--plain-- outbound <-- PostgreSQL
//! ```

use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::ServerConnection;

use super::Shared;
use super::counters::many;
use super::reply::Reply;
use super::sessions::Ends;

/// What is read at once: four TLS records, and several of PostgreSQL's own pieces of 8 KiB.
const PIECE_BYTES: usize = 64 * 1024;

/// Runs a session; `first` is what PostgreSQL hears first.
pub(super) fn run(
    mut tls: ServerConnection,
    ends: &Ends,
    first: Vec<u8>,
    shared: &Shared,
) -> io::Result<()> {
    // What can be in the queue is bounded by reading PostgreSQL only while it is empty.
    tls.set_buffer_limit(None);
    let mut pump = Pump {
        tls,
        client: &ends.client,
        backend: &ends.backend,
        reply: Reply::default(),
        inbound: first,
        taken: 0,
        client_gone: false,
        backend_gone: false,
        // Fresh zero pages take memory only once they are written.
        piece: vec![0; PIECE_BYTES],
        deadline: Some(Instant::now() + shared.patience.backend),
    };
    let ended = pump.run(shared);
    let _client_gone = ends.client.shutdown(Shutdown::Both);
    let _backend_gone = ends.backend.shutdown(Shutdown::Both);
    ended
}

struct Pump<'a> {
    tls: ServerConnection,
    client: &'a TcpStream,
    backend: &'a UnixStream,
    reply: Reply,
    /// Decrypted bytes for PostgreSQL, and how many of them it took.
    inbound: Vec<u8>,
    taken: usize,
    client_gone: bool,
    backend_gone: bool,
    piece: Vec<u8>,
    deadline: Option<Instant>,
}

impl Pump<'_> {
    fn run(&mut self, shared: &Shared) -> io::Result<()> {
        // What came with the log-in is decrypted already, and no poll would tell.
        self.decrypted()?;
        loop {
            self.tell_backend(shared)?;
            self.tell_client()?;
            let idle = self.taken == self.inbound.len();
            let sent = !self.tls.wants_write();
            if self.backend_gone && sent || self.client_gone && idle {
                return Ok(());
            }
            let (client, backend) = self.wait(
                flags(idle && !self.client_gone && !self.backend_gone, !sent),
                flags(sent && !self.backend_gone, !idle && !self.backend_gone),
            )?;
            if client.intersects(INPUT) {
                self.hear_client()?;
            }
            if backend.intersects(INPUT) && sent {
                self.hear_backend(shared)?;
            }
        }
    }

    /// Waits until one of the sockets can do what is wanted of it.
    fn wait(&self, client: PollFlags, backend: PollFlags) -> io::Result<(PollFlags, PollFlags)> {
        let limit =
            match self.deadline.map(|deadline| deadline.checked_duration_since(Instant::now())) {
                None => None,
                Some(Some(left)) if !left.is_zero() => Some(left),
                Some(_) => return Err(io::ErrorKind::TimedOut.into()),
            };
        let limit = limit.and_then(|left: Duration| Timespec::try_from(left).ok());
        // A socket of which nothing is wanted is left out: it would report its end all the time.
        let mut wanted = Vec::with_capacity(2);
        if !client.is_empty() {
            wanted.push(PollFd::from_borrowed_fd(self.client.as_fd(), client));
        }
        if !backend.is_empty() {
            wanted.push(PollFd::from_borrowed_fd(self.backend.as_fd(), backend));
        }
        match poll(&mut wanted, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut found = wanted.iter().map(PollFd::revents);
        let mut next = |flags: PollFlags| {
            if flags.is_empty() { flags } else { found.next().unwrap_or(PollFlags::empty()) }
        };
        Ok((next(client), next(backend)))
    }

    fn hear_client(&mut self) -> io::Result<()> {
        let Some(count) = ready(self.client.read(&mut self.piece))? else { return Ok(()) };
        if count == 0 {
            self.client_gone = true;
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece);
        let mut rest = piece.get(..count).unwrap_or_default();
        while !rest.is_empty() && !self.client_gone {
            self.tls.read_tls(&mut rest)?;
            self.decrypted()?;
        }
        self.piece = piece;
        Ok(())
    }

    /// Takes what TLS has decrypted.
    fn decrypted(&mut self) -> io::Result<()> {
        let state = self.tls.process_new_packets().map_err(io::Error::other)?;
        let mut left = state.plaintext_bytes_to_read();
        while left > 0 {
            let mut reader = self.tls.reader();
            let chunk = reader.fill_buf()?;
            let count = chunk.len().max(1);
            self.inbound.extend_from_slice(chunk);
            reader.consume(count);
            left = left.saturating_sub(count);
        }
        self.client_gone |= state.peer_has_closed();
        Ok(())
    }

    fn tell_backend(&mut self, shared: &Shared) -> io::Result<()> {
        while let Some(rest @ [_, ..]) = self.inbound.get(self.taken..) {
            let Some(count) = ready((&*self.backend).write(rest))? else { return Ok(()) };
            self.taken += count;
            many(&shared.counters.bytes_in, count);
        }
        self.inbound.clear();
        self.taken = 0;
        Ok(())
    }

    fn hear_backend(&mut self, shared: &Shared) -> io::Result<()> {
        let count = match ready((&*self.backend).read(&mut self.piece)) {
            Ok(None) => return Ok(()),
            Ok(Some(count @ 1..)) => count,
            Ok(Some(0)) | Err(_) => {
                self.backend_gone = true;
                self.tls.send_close_notify();
                self.deadline = Some(Instant::now() + shared.patience.farewell);
                return Ok(());
            }
        };
        let piece = self.piece.get_mut(..count).unwrap_or_default();
        if !self.reply.is_ready() {
            let watched = self.reply.watch(piece);
            watched.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if self.reply.is_ready() {
                self.deadline = None;
            }
        }
        self.tls.writer().write_all(piece)?;
        many(&shared.counters.bytes_out, count);
        Ok(())
    }

    fn tell_client(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            if ready(self.tls.write_tls(&mut self.client))?.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Whatever a read will tell: bytes, the end, or an error.
const INPUT: PollFlags = PollFlags::IN.union(PollFlags::HUP).union(PollFlags::ERR);

fn flags(input: bool, output: bool) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, input);
    flags.set(PollFlags::OUT, output);
    flags
}

/// None if it can't be done now.
fn ready(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(count) => Ok(Some(count)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
