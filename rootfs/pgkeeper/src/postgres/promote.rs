//! Becoming a primary. Every millisecond here is one in which nobody can write.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::config::{Part, Waits};
use super::error::{DriverError, about};
use super::session::PATIENCE;
use super::worker::Worker;

/// Before the promotion all received WAL is replayed.
const LIMIT: Duration = Duration::from_mins(15);
/// `pg_promote` itself looks ten times a second, which would be most of the time that it takes.
const LOOK_EVERY: Duration = Duration::from_millis(2);
const RECOVERS: &str = "select pg_is_in_recovery()";
/// The first version whose `pg_rewind` needs no checkpoint on the new timeline.
const REWINDS_WITHOUT_CHECKPOINT: u32 = 16;

impl Worker {
    pub(super) fn promote(&mut self) -> Result<(), DriverError> {
        if !matches!(self.part, Some(Part::Standby { .. })) || self.server.is_none() {
            let role = self.part.map_or("stopped".to_owned(), |part| format!("{part:?}"));
            return Err(DriverError::Senseless { command: "Promote".to_owned(), role });
        }
        // What follows is for later; a standby reads no names of standbys.
        self.configure(Part::Primary(Waits::No))?;
        let end = Instant::now() + LIMIT;
        // A server that is still starting throws the wish away: it removes the file that it finds, and
        // has nobody yet to pass the signal on to.
        if self.session.is_none() {
            self.await_session(LIMIT)?;
        }
        let asked = self.settings.data().join("promote");
        std::fs::write(&asked, "").map_err(about("write", &asked))?;
        if let Some(server) = &self.server {
            server.signal(Signal::USR1);
        }
        while self.ask_one(RECOVERS)? == "t" {
            if Instant::now() >= end {
                return Err(DriverError::Late { what: "the promotion".to_owned(), limit: LIMIT });
            }
            self.pause(LOOK_EVERY)?;
            self.look_if_due();
        }
        self.open_way(false)?;
        self.look().map(drop)
    }

    /// Until its next checkpoint, an old version's control file names the old timeline, and the
    /// peer's `pg_rewind` would find nothing to do.
    pub(super) fn help_rewind(&mut self) -> Result<(), DriverError> {
        if self.major < REWINDS_WITHOUT_CHECKPOINT {
            // The server goes on with it although nobody waits for the answer.
            self.connect("postgres", Instant::now() + PATIENCE)?.send("checkpoint")?;
        }
        Ok(())
    }
}
