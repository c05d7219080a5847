//! The loop of the backup service: its control socket, and the signal to end.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use sys::signals::SignalFd;

use super::config::Config;
use super::error::BackupError;
use super::shared::Shared;
use crate::control::{Input, Server};

/// The signals that end the service, as a descriptor; before there is a thread.
pub(super) fn signals() -> Result<SignalFd, BackupError> {
    SignalFd::new(&[Signal::TERM, Signal::INT]).map_err(BackupError::Signals)
}

/// The listening socket.
pub(super) struct Control {
    server: Server,
}

impl Control {
    pub(super) fn open(config: &Config) -> Result<Self, BackupError> {
        Ok(Self { server: Server::bind(&config.socket, config.group)? })
    }

    /// Answers until a signal says to end.
    pub(super) fn run(mut self, signals: &SignalFd, shared: &Shared) -> Result<(), BackupError> {
        loop {
            let now = now();
            let mut polls = vec![PollFd::new(signals, PollFlags::IN)];
            let mut inputs: Vec<Option<Input>> = vec![None];
            self.server.watch(now, |descriptor, flags, input| {
                polls.push(PollFd::from_borrowed_fd(descriptor, flags));
                inputs.push(Some(input));
            });
            let left = self.server.next_deadline(now).map(|at| at.saturating_sub(now));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut polls, left.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(BackupError::Signals(io::Error::from(errno))),
            }
            let ready: Vec<Option<Input>> = polls
                .iter()
                .zip(inputs)
                .filter(|(poll, _)| !poll.revents().is_empty())
                .map(|(_, input)| input)
                .collect();
            for input in ready {
                let Some(input) = input else { return Ok(()) };
                self.server.attend(input, &mut |request| shared.answer(request), now);
            }
            self.server.pass_time(now);
        }
    }
}

fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}
