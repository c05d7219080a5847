//! What the keeper's threads tell its loop, and how they are started.
//!
//! Everything that a disk, a resolver or a program can hold up happens in a thread of its own: the
//! loop never waits for more than its next input.

use std::io;
use std::thread;

use failover::{Answer, Data, Recall, Ticket};

use super::disk::Look;

/// A thread's stack. TLS needs some 30 KiB of it; only what is touched takes memory.
const STACK_BYTES: usize = 256 * 1024;

/// One piece of news.
#[derive(Debug)]
pub(crate) enum News {
    /// What the disk remembers.
    Recalled(Recall, Data),
    /// A record is durable, or isn't and why.
    Written(Ticket, Result<(), NotWritten>),
    /// The witness answered, or didn't and why.
    Witness(Result<Answer, String>),
    /// The fence command confirmed that the peer is off, or didn't and why.
    Fenced(Ticket, Result<(), String>),
    /// How the disk is.
    Disk(Look),
}

/// Why a record isn't durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotWritten {
    pub(crate) why: String,
    /// The old one is whole, and it isn't the disk that failed: there was no room, no memory, no file
    /// handle, and later there may be.
    pub(crate) may_pass: bool,
}

/// Starts a thread. As a child of the loop's thread it is a normal one: the loop's priority is not
/// inherited.
pub(crate) fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
    thread.spawn(work).map(drop)
}
