//! A flag between threads that `poll` can wait for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// Down at first. Raised until it is lowered, however often it was raised.
#[derive(Debug)]
pub(super) struct Flag(OwnedFd);

impl Flag {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(super) fn raise(&self) {
        // It fails only if it was raised 2^64 times without being lowered.
        let _raised = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    pub(super) fn lower(&self) {
        // It fails if it is down already.
        let _lowered = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Flag {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of these can be read (or has ended), at most for this long; says which.
pub(super) fn wait<const N: usize>(
    sources: [BorrowedFd<'_>; N],
    limit: Duration,
) -> io::Result<[bool; N]> {
    let mut polled = sources.map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN));
    let limit = Timespec::try_from(limit).map_err(|_| io::ErrorKind::InvalidInput)?;
    match poll(&mut polled, Some(&limit)) {
        // A signal: the caller looks at the clock and comes again.
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(polled.map(|source| !source.revents().is_empty()))
}
