//! The one place where PID 1 waits: everything that can wake it, and what it then attends to.
//!
//! Each turn of the loop asks every part of the node for its descriptors, waits, and hands out what
//! became ready. Nothing is kept between turns, so nothing can be forgotten to be taken back.
//!
//! Whoever adds an input (a socket, a device) adds three things: a line of [`Source`], its
//! descriptor in `Node::watch`, and its arm in `Node::attend`, which does a bounded piece of work:
//! what is left becomes ready again at once, after everybody else had a turn.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::control::ControlInput;

/// What a descriptor is about. Numbers are places of services in the supervisor's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Signals for PID 1, among them the deaths of children.
    Signals,
    /// A power button.
    Button,
    /// A device came, went, or has trouble.
    Devices,
    /// Something changed in the network.
    Network,
    /// The console takes bytes again.
    Console,
    /// Something about the control socket.
    Control(ControlInput),
    /// A service wrote something.
    Output(usize),
    /// A service's start went well or didn't.
    Start(usize),
    /// Something changed in the cgroup of a service whose process ended.
    Group(usize),
    /// A service said something on its notify socket.
    Notify(usize),
    /// A readiness probe came to an end.
    Probe(usize),
}

/// What one turn waits for.
#[derive(Debug, Default)]
pub struct Watch<'fd> {
    polls: Vec<PollFd<'fd>>,
    sources: Vec<Source>,
}

impl<'fd> Watch<'fd> {
    /// Waits for this descriptor too.
    pub fn add(&mut self, descriptor: BorrowedFd<'fd>, flags: PollFlags, source: Source) {
        self.polls.push(PollFd::from_borrowed_fd(descriptor, flags));
        self.sources.push(source);
    }

    /// Waits until something is ready, at most for `limit`, and says what is.
    pub fn wait(mut self, limit: Duration) -> io::Result<Vec<Source>> {
        let limit = Timespec::try_from(limit).ok();
        match poll(&mut self.polls, limit.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        }
        let ready = self.polls.iter().zip(&self.sources);
        Ok(ready
            .filter(|(poll, _)| !poll.revents().is_empty())
            .map(|(_, source)| *source)
            .collect())
    }
}
