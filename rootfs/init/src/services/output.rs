//! What a service writes: one pipe for standard output and standard error of all of its runs.
//!
//! PID 1 holds both ends, so the pipe outlives each run, and what a run wrote last is still read.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Gid, OFlags, Uid, fchown, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// Bytes that are read from one service in one turn: a whole pipe, and yet so little that the
/// others don't notice.
const READ_PER_TURN: usize = 64 * 1024;

const CHUNK_BYTES: usize = 8 * 1024;

/// Both ends of a service's pipe.
#[derive(Debug)]
pub(crate) struct Output {
    read: File,
    write: OwnedFd,
}

impl Output {
    /// A pipe for a service of this user.
    pub(crate) fn new(user: u32, group: u32) -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        // Only our end: programs are seldom prepared for an output that doesn't wait.
        fcntl_setfl(&read, OFlags::NONBLOCK)?;
        // Some programs open their own output by its name, as /dev/stderr, and need the right to.
        match fchown(&write, Some(Uid::from_raw(user)), Some(Gid::from_raw(group))) {
            Err(Errno::PERM) if !rustix::process::geteuid().is_root() => {}
            other => other?,
        }
        Ok(Self { read: File::from(read), write })
    }

    /// The end for the service.
    pub(crate) fn writer(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }

    /// Reads what is there, as far as one turn allows.
    pub(crate) fn read(&mut self, mut take: impl FnMut(&[u8])) {
        let mut buffer = [0; CHUNK_BYTES];
        let mut left = READ_PER_TURN;
        while left > 0 {
            match self.read.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    take(buffer.get(..count).unwrap_or_default());
                    left = left.saturating_sub(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}
