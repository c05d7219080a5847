//! Ending PostgreSQL: at once, cleanly, and for certain.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::error::DriverError;
use super::worker::Worker;

/// An immediate shutdown waits for no disk; what is still there after this is killed.
const POLITE: Duration = Duration::from_secs(1);
/// What was killed is gone within this, unless a disk holds it.
const FORCE: Duration = Duration::from_secs(5);
/// A clean stop writes a checkpoint, and sends it and everything before it to the peer.
const CLEAN_LIMIT: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Worker {
    /// Ends it if it runs; whether nothing of it is left.
    pub(super) fn end_server(&mut self) -> bool {
        self.session = None;
        self.part = None;
        let gone = match self.server.take() {
            Some(server) => server.end_now(POLITE, FORCE),
            None => true,
        };
        self.shared.detail(|detail| {
            detail.pid = None;
            detail.streams = false;
            (detail.peer_lsn, detail.lag_bytes) = (None, None);
            "stopped".clone_into(&mut detail.role);
        });
        gone
    }

    /// Ends it, and comes back when nothing of it is left.
    pub(super) fn end_certainly(&mut self) {
        let mut gone = self.end_server();
        while !gone {
            (self.say)("processes of PostgreSQL can't be killed; its disk may hang");
            gone = super::processes::kill_all_in(&self.settings.data(), FORCE);
        }
    }

    pub(super) fn stop_clean(&mut self) -> Result<(), DriverError> {
        self.session = None;
        self.role("stopping");
        if let Some(server) = &self.server {
            server.signal(Signal::INT);
        }
        let end = Instant::now() + CLEAN_LIMIT;
        loop {
            match self.pause(LOOK_EVERY) {
                Ok(()) if Instant::now() < end => {}
                Ok(()) => {
                    let what = "a clean stop".to_owned();
                    return Err(DriverError::Late { what, limit: CLEAN_LIMIT });
                }
                Err(DriverError::Ended { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        let ended = self.server.as_mut().and_then(super::server::Server::has_ended);
        self.end_certainly();
        match ended {
            Some(status) if !status.success() => {
                Err(DriverError::Ended { status: status.to_string() })
            }
            _ => Ok(()),
        }
    }
}
