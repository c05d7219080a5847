//! Who commits wait for, and how the keeper knows that they do.
//!
//! A changed `synchronous_standby_names` reaches PostgreSQL's processes one by one, some day. What
//! decides is one flag in shared memory, which the checkpointer sets when it reads the new names;
//! no view shows it. A commit shows it: it waits, or it doesn't. With the peer's own name that can't
//! be told from a commit that the peer confirmed quickly, so the names go there in two steps:
//!
//! ```text
//!  nobody ──> a standby that doesn't exist ──> a commit of ours is seen waiting ──> the peer
//!                                                       │
//!                                            the end of the WAL now: nothing before it waited,
//!                                            everything after it does
//! ```
//!
//! Clients' commits wait through both steps; that is some milliseconds. In between, the flag stays
//! set, and no walsender can release anybody before it has read the peer's name.

use std::time::{Duration, Instant};

use failover::Lsn;

use super::config::{Part, Waits};
use super::controldata::lsn;
use super::error::DriverError;
use super::session::{HUNG_AFTER, Session};
use super::worker::Worker;

/// A checkpointer in the middle of writing to a slow disk reads no names.
const CHANGE_LIMIT: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// A signal may have come before the process was ready for it.
const SIGNAL_EVERY: Duration = Duration::from_millis(250);
/// A commit that changes nothing, and waits like any other.
const COMMIT: &str = "select pg_logical_emit_message(true, 'pgkeeper', '')";
const LIKE_A_CLIENT: &str = "set synchronous_commit = on";
const END_OF_WAL: &str = "select pg_current_wal_flush_lsn()";

impl Worker {
    pub(super) fn require_peer(&mut self) -> Result<(), DriverError> {
        self.must_be_primary("RequirePeer")?;
        self.configure(Part::Primary(Waits::Forever))?;
        self.reload();
        self.see_waiting()
    }

    /// Makes sure that commits wait, then lets them wait for the peer.
    pub(super) fn see_waiting(&mut self) -> Result<(), DriverError> {
        let canary = self.see_commit_wait()?;
        self.look()?;
        let end = self.ask_one(END_OF_WAL)?;
        let end: Lsn =
            lsn(&end).ok_or_else(|| DriverError::Strange { query: END_OF_WAL.to_owned() })?;
        self.configure(Part::Primary(Waits::ForPeer))?;
        self.reload();
        self.ask(&format!("select pg_terminate_backend({})", canary.process()))?;
        // Something new for the peer to confirm, with which it confirms what waits already.
        self.ask(COMMIT)?;
        self.position.1 = end;
        Ok(())
    }

    fn see_commit_wait(&mut self) -> Result<Session, DriverError> {
        let mut canary = self.client()?;
        let sees = format!(
            "select count(*) from pg_stat_activity where pid = {} and wait_event = 'SyncRep'",
            canary.process()
        );
        let (end, mut signalled) = (Instant::now() + CHANGE_LIMIT, Instant::now());
        canary.send(COMMIT)?;
        loop {
            if canary.has_answered()?.is_some() {
                canary.send(COMMIT)?;
            } else if self.ask_one(&sees)? == "1" {
                return Ok(canary);
            }
            self.go_on_waiting(end, &mut signalled, "the first commit that waits")?;
        }
    }

    pub(super) fn release_peer(&mut self) -> Result<(), DriverError> {
        self.must_be_primary("ReleasePeer")?;
        self.configure(Part::Primary(Waits::No))?;
        self.reload();
        let mut canary = self.client()?;
        let (end, mut signalled) = (Instant::now() + CHANGE_LIMIT, Instant::now());
        canary.send(COMMIT)?;
        while canary.has_answered()?.is_none() {
            self.go_on_waiting(end, &mut signalled, "the first commit that doesn't wait")?;
        }
        self.look().map(drop)
    }

    /// A session whose commits wait if clients' do.
    fn client(&mut self) -> Result<Session, DriverError> {
        let end = Instant::now() + HUNG_AFTER;
        let mut client = self.connect("postgres", end)?;
        client.ask(LIKE_A_CLIENT, end, &self.shared.halt)?;
        Ok(client)
    }

    fn go_on_waiting(
        &mut self,
        end: Instant,
        signalled: &mut Instant,
        what: &str,
    ) -> Result<(), DriverError> {
        if Instant::now() >= end {
            return Err(DriverError::Late { what: what.to_owned(), limit: CHANGE_LIMIT });
        }
        if signalled.elapsed() >= SIGNAL_EVERY {
            self.reload();
            *signalled = Instant::now();
        }
        self.pause(LOOK_EVERY)?;
        self.look_if_due();
        Ok(())
    }

    fn must_be_primary(&self, command: &str) -> Result<(), DriverError> {
        match self.part {
            Some(Part::Primary(_)) if self.server.is_some() => Ok(()),
            part => Err(DriverError::Senseless {
                command: command.to_owned(),
                role: part.map_or("stopped".to_owned(), |part| format!("{part:?}")),
            }),
        }
    }
}
