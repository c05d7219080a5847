//! Winding the data back to where the peer's history parted from it.
//!
//! ```text
//!  settle: shut down cleanly, whatever it was ──> pg_rewind --dry-run: where did they part?
//!     ──> archive what goes (discarded.rs) ──> pg_rewind ──> a standby's data
//! ```

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use failover::Lsn;
use rustix::process::Signal;

use super::boot;
use super::config::{self, Part, Purpose, Waits};
use super::controldata::{ControlData, Left, lsn};
use super::damage;
use super::detail::{Repair, RepairKind};
use super::discarded::{self, Discarded};
use super::error::DriverError;
use super::kept;
use super::program;
use super::settings::standby_signal;
use super::worker::Worker;

/// It copies what differs; a peer that is gone is noticed within seconds, by TCP.
const LIMIT: Duration = Duration::from_hours(1);
const CONTROL_LIMIT: Duration = Duration::from_secs(20);
const SETTLE_LIMIT: Duration = Duration::from_mins(15);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What `pg_rewind` says when it has found where they parted, and before it fetches anything.
const FORK_IS_KNOWN: &str = "rewinding from last common checkpoint";
/// It has less than what its primary had, and replays nothing more.
const STANDS_STILL: &str = "select pg_is_wal_replay_paused()";
/// The startup process has read everything and sleeps before it looks for more.
const AT_ITS_END: &str = "select count(*) from pg_stat_activity where backend_type = 'startup' and \
                          wait_event = 'RecoveryRetrieveRetryInterval'";

impl Worker {
    pub(super) fn rewind(&mut self) -> Result<(), DriverError> {
        self.must_be_stopped("Rewind")?;
        let begin = Instant::now();
        self.role("rewinding");
        let data = self.settings.data();
        self.settle()?;
        let control = self.control(&data)?;
        // It would fetch everything, to write nothing of it.
        let mut dry = self.pg_rewind();
        dry.arg("--dry-run");
        let said = program::run_until(&mut dry, FORK_IS_KNOWN, LIMIT, &self.shared.halt)?;
        let fork = parted_at(&said);
        // A standby that can't follow on the peer's own timeline lacks log that the peer has no more.
        let useless = control.left == Left::ShutDown || self.parted;
        if fork.is_none() && says_same_timeline(&said) && useless {
            return Err(DriverError::SameTimeline { timeline: control.timeline.0 });
        }
        let discarded = match fork {
            Some(fork) => Some(self.archive(&control, fork)?),
            None => None,
        };
        boot::forget_restored(&data)?;
        let said = program::run(&mut self.pg_rewind(), "", LIMIT, &self.shared.halt)?;
        for line in said.lines() {
            (self.say)(&format!("pg_rewind: {line}"));
        }
        boot::forget_own_settings(&data)?;
        boot::make_standby(&data)?;
        self.repaired(RepairKind::Rewind, begin, discarded);
        Ok(())
    }

    /// Leaves cleanly shut down data, which is all that `pg_rewind` works on.
    fn settle(&mut self) -> Result<(), DriverError> {
        let data = self.settings.data();
        boot::forget_own_settings(&data)?;
        if standby_signal(&data).exists() {
            if self.control(&data)?.left == Left::ShutDownInRecovery {
                return Ok(());
            }
            // Only a whole server knows how to be a standby.
            self.open_way(false)?;
            self.run_to_own_end()?;
            if self.ask_one(STANDS_STILL).is_ok_and(|still| still == "t") {
                // Its data says by now what it needs.
                self.end_certainly();
                self.run_to_own_end()?;
            }
            if let Some(server) = &self.server {
                server.signal(Signal::INT);
            }
            return self.stop_clean();
        }
        if self.control(&data)?.left == Left::ShutDown {
            return Ok(());
        }
        self.prepare(Part::Primary(Waits::No))?;
        let mut recovery = self.single(&data);
        program::run(recovery.arg("template1"), "", SETTLE_LIMIT, &self.shared.halt).map(drop)
    }

    fn run_to_own_end(&mut self) -> Result<(), DriverError> {
        self.launch(Part::Settling)?;
        match self.await_session(CONTROL_LIMIT) {
            Ok(()) => self.await_own_end(),
            Err(DriverError::Late { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits until a standby without a peer has replayed all that it has, so that its control file
    /// names the end of it.
    fn await_own_end(&mut self) -> Result<(), DriverError> {
        let end = Instant::now() + SETTLE_LIMIT;
        while self.ask_one(AT_ITS_END)? != "1"
            && self.ask_one(STANDS_STILL)? != "t"
            && Instant::now() < end
        {
            self.pause(LOOK_EVERY)?;
        }
        Ok(())
    }

    pub(super) fn control(&self, data: &Path) -> Result<ControlData, DriverError> {
        Ok(ControlData::parse(&self.control_text(data)?)?)
    }

    pub(super) fn control_text(&self, data: &Path) -> Result<String, DriverError> {
        let mut command = program::command(&self.settings.program("pg_controldata"));
        program::run(command.arg(data), "", CONTROL_LIMIT, &self.shared.halt)
    }

    fn pg_rewind(&self) -> Command {
        let ca = &self.settings.certificates.ca;
        let source = config::conninfo(&self.settings, ca, "pgkeeper rewind", Purpose::Repair);
        let source = source + " dbname='postgres'";
        let mut command = program::command(&self.settings.program("pg_rewind"));
        command.arg("--no-ensure-shutdown").arg("--target-pgdata").arg(self.settings.data());
        command.arg("--source-server").arg(source).args(self.sync_method());
        command
    }

    fn archive(&self, control: &ControlData, fork: Fork) -> Result<Discarded, DriverError> {
        let end = control.end();
        let dump = self.settings.program("pg_waldump");
        let found = discarded::count(&dump, &self.settings.data(), end, fork, &self.shared.halt);
        let commits = match found {
            Ok(commits) => Some(commits),
            Err(DriverError::Overtaken) => return Err(DriverError::Overtaken),
            Err(error) => {
                (self.say)(&format!("what the rewind drops can't be counted: {error}"));
                None
            }
        };
        kept::bound(&self.settings, &*self.say);
        let discarded = discarded::archive(&self.settings, end, fork, commits.as_ref())?;
        (self.say)(&format!("the rewind drops {discarded}"));
        Ok(discarded)
    }

    pub(super) fn repaired(
        &mut self,
        kind: RepairKind,
        begin: Instant,
        discarded: Option<Discarded>,
    ) {
        self.parted = false;
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let milliseconds = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let repair = Repair {
            kind,
            at,
            milliseconds,
            bytes_discarded: discarded.as_ref().and_then(|it| it.bytes),
            transactions_discarded: discarded.as_ref().and_then(|it| it.transactions),
            archive: discarded.and_then(|it| it.archive),
        };
        let has_damaged_copy = damage::is_remembered(&self.settings);
        self.shared.detail(|detail| {
            detail.has_damaged_copy = has_damaged_copy;
            detail.last_repair = Some(repair);
            "stopped".clone_into(&mut detail.role);
        });
    }
}

/// Where histories parted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fork {
    pub(super) timeline: u32,
    pub(super) at: Lsn,
}

/// From `servers diverged at WAL location 0/3000148 on timeline 1`.
fn parted_at(said: &str) -> Option<Fork> {
    let (_, rest) = said.split_once("servers diverged at WAL location ")?;
    let (at, rest) = rest.split_once(" on timeline ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some(Fork { timeline: digits.parse().ok()?, at: lsn(at)? })
}

fn says_same_timeline(said: &str) -> bool {
    said.contains("source and target cluster are on the same timeline")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fork_is_read() {
        let said = "pg_rewind: servers diverged at WAL location 0/3000148 on timeline 12\n\
                    pg_rewind: rewinding from last common checkpoint at 0/2000060 on timeline 1\n";
        assert_eq!(parted_at(said), Some(Fork { timeline: 12, at: Lsn(0x300_0148) }));
        let same = "pg_rewind: source and target cluster are on the same timeline\n\
                    pg_rewind: no rewind required\n";
        assert_eq!(parted_at(same), None);
        assert!(says_same_timeline(same) && !says_same_timeline(said));
    }
}
