//! One port of the switch: a unix socket that waits for QEMU, and QEMU while it is there.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::framing::{self, Unpacker};

/// Frames that wait for a guest which doesn't read. QEMU reads as fast as the guest's card has
/// buffers; a real switch drops at some hundred kilobytes too.
pub(crate) const EGRESS_BYTES: usize = 1 << 20;
/// Read at once; several of these a turn keep one port from starving the others.
const READ_BYTES: usize = 64 << 10;
/// Reads of one port in one turn of the loop.
const READS_A_TURN: usize = 4;

/// A port, whoever is at its other end.
#[derive(Debug)]
pub(crate) struct PortSocket {
    pub(crate) listener: UnixListener,
    pub(crate) peer: Option<Peer>,
    path: PathBuf,
    /// Frames that a slow guest lost.
    pub(crate) lost: u64,
}

/// The connected end.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) stream: UnixStream,
    unpacker: Unpacker,
    outbox: Vec<u8>,
}

impl PortSocket {
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, peer: None, path: path.to_owned(), lost: 0 })
    }

    /// Takes who knocks; a guest that was started again replaces the one before.
    pub(crate) fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_ok() {
                let (unpacker, outbox) = (Unpacker::default(), Vec::new());
                self.peer = Some(Peer { stream, unpacker, outbox });
            }
        }
    }

    /// Reads what came and gives each frame to `take`. A stream that ends or makes no sense is
    /// closed.
    pub(crate) fn read(&mut self, mut take: impl FnMut(&[u8])) {
        let Some(peer) = &mut self.peer else { return };
        let mut buffer = vec![0; READ_BYTES];
        for _ in 0..READS_A_TURN {
            match peer.stream.read(&mut buffer) {
                Ok(0) => return self.peer = None,
                Ok(count) => peer.unpacker.feed(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return self.peer = None,
            }
            loop {
                match peer.unpacker.take() {
                    Ok(Some(frame)) => take(frame),
                    Ok(None) => break,
                    Err(_) => return self.peer = None,
                }
            }
        }
    }

    /// Queues a frame for the guest; one that doesn't fit is lost.
    pub(crate) fn queue(&mut self, frame: &[u8]) {
        let Some(peer) = &mut self.peer else { return };
        if peer.outbox.len() + frame.len() > EGRESS_BYTES {
            self.lost += 1;
        } else {
            framing::pack(frame, &mut peer.outbox);
        }
    }

    /// Whether something waits for the guest to read.
    pub(crate) fn is_behind(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| !peer.outbox.is_empty())
    }

    /// Writes as much as the guest takes.
    pub(crate) fn flush(&mut self) {
        let Some(peer) = &mut self.peer else { return };
        let mut done = 0;
        while let Some(rest) = peer.outbox.get(done..).filter(|rest| !rest.is_empty()) {
            match peer.stream.write(rest) {
                Ok(count) if count > 0 => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => return self.peer = None,
            }
        }
        peer.outbox.drain(..done);
    }
}

impl Drop for PortSocket {
    fn drop(&mut self) {
        // A socket file that is gone already is no loss.
        let _gone = std::fs::remove_file(&self.path);
    }
}
