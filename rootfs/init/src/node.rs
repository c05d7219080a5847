//! The node while it runs: what the boot phases left, and the one place where PID 1 waits.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitOptions, wait};
use seed::Seed;
use seed::manifest::Manifest;
use sys::signals::SignalFd;

use crate::boot::Stage2Error;
use crate::power::{Buttons, Ending};
use crate::say;

/// What a phase leaves for the ones after it.
pub(crate) struct Node {
    pub(crate) started: Instant,
    pub(crate) manifest: Manifest,
    pub(crate) signals: SignalFd,
    pub(crate) buttons: Buttons,
    pub(crate) seed: Option<Seed>,
}

impl Node {
    pub(crate) fn name(&self) -> String {
        self.seed.as_ref().map_or_else(|| "none".to_owned(), |seed| seed.node.name.to_string())
    }

    /// Waits for something to happen, at most for `limit`; says if that asks for an ending.
    pub(crate) fn wait(&mut self, limit: Option<Duration>) -> Result<Option<Ending>, Stage2Error> {
        let mut inputs = vec![PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
        let buttons = self.buttons.descriptors();
        inputs.extend(buttons.map(|button| PollFd::from_borrowed_fd(button, PollFlags::IN)));
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        match poll(&mut inputs, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Stage2Error::Signals(errno.into())),
        }
        if self.buttons.pressed() {
            say!("power button");
            return Ok(Some(Ending::PowerOff));
        }
        while let Some(signal) = self.signals.next().map_err(Stage2Error::Signals)? {
            if signal == Signal::CHILD {
                reap();
            } else if let Some(ending) = Ending::asked_by(signal) {
                return Ok(Some(ending));
            }
        }
        Ok(None)
    }
}

/// Every orphan of the node becomes a child of PID 1, which must take note of its death.
fn reap() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}
