//! A copy of the peer's data, made beside this node's own and put in its place when it is whole.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use failover::Data;

use super::boot;
use super::config::{self, Purpose};
use super::controldata::ControlData;
use super::damage;
use super::detail::RepairKind;
use super::discarded::{self, Discarded};
use super::error::{DriverError, about};
use super::kept;
use super::program;
use super::worker::Worker;

/// A large database over a slow link takes its time; a peer that is gone is noticed by TCP, within
/// seconds.
const LIMIT: Duration = Duration::from_hours(24);

impl Worker {
    pub(super) fn reclone(&mut self) -> Result<(), DriverError> {
        self.must_be_stopped("Reclone")?;
        let begin = Instant::now();
        self.role("copying the peer's data");
        let (data, clone) = (self.settings.data(), self.settings.clone_data());
        self.keep_replaced(None)?;
        damage::make_room(&self.settings, &*self.say);
        let is_damaged = self.copy_even_damaged(&clone)?;
        boot::forget_own_settings(&clone)?;
        boot::make_standby(&clone)?;
        // Data that was a primary's may hold what nobody else has.
        let control = match boot::what_is(&data) {
            Data::Primary => self.control_if_readable(&data)?,
            Data::Standby | Data::Missing => None,
        };
        if is_damaged {
            damage::remember(&self.settings)?;
        }
        boot::swap(&clone, &data)?;
        let discarded = self.keep_replaced(control.as_ref())?;
        if !is_damaged {
            let folder = &self.settings.folder;
            damage::forget(folder).map_err(about("forget the damage in", folder))?;
        }
        self.repaired(RepairKind::Reclone, begin, discarded);
        Ok(())
    }

    /// Copies; whether the peer has damaged pages, and the copy with it. A leader whose every copy is
    /// refused for one such page would be alone for ever, and then be lost with all other pages.
    fn copy_even_damaged(&self, clone: &Path) -> Result<bool, DriverError> {
        match self.copy(clone, &[]) {
            Ok(()) => Ok(false),
            Err(DriverError::Failed { said, .. }) if says_damaged(&said) => {
                (self.say)(&format!(
                    "pages of the peer's database are damaged, and are copied as they are: {said}"
                ));
                self.copy(clone, &["--no-verify-checksums"]).map(|()| true)
            }
            Err(error) => Err(error),
        }
    }

    fn copy(&self, clone: &Path, options: &[&str]) -> Result<(), DriverError> {
        let ca = &self.settings.certificates.ca;
        // A name of its own: under this node's, it would count as the standby that commits wait for.
        let source = config::conninfo(&self.settings, ca, "pgkeeper copy", Purpose::Repair);
        let mut copy = program::command(&self.settings.program("pg_basebackup"));
        copy.arg("--dbname").arg(source).arg("--pgdata").arg(clone).args(options);
        copy.args(["--wal-method=stream", "--checkpoint=fast", "--no-password", "--slot"]);
        copy.arg(config::slot(&self.settings.name));
        // It ends when everything is on the disk.
        copy.args(self.sync_method());
        let copied = program::run(&mut copy, "", LIMIT, &self.shared.halt).map(drop);
        if copied.is_err() {
            // Half a copy is worth nothing, and its space may be what was missing.
            let _none = fs::remove_dir_all(clone);
        }
        copied
    }

    /// Deletes what is in the copy's place, but only after what nobody else has is safe elsewhere:
    /// it may be data that this copy, or an earlier one that was interrupted, replaced. All of it stays
    /// where that copy was damaged.
    fn keep_replaced(
        &self,
        control: Option<&ControlData>,
    ) -> Result<Option<Discarded>, DriverError> {
        kept::bound(&self.settings, &*self.say);
        let clone = self.settings.clone_data();
        let kept = discarded::keep_replaced(&self.settings, &clone, control)?;
        if let Some(kept) = &kept {
            (self.say)(&format!("the copy replaces {kept}"));
        }
        damage::keep_replaced(&self.settings, &*self.say)?;
        if clone.exists() {
            fs::remove_dir_all(&clone).map_err(about("delete the replaced data in", &clone))?;
        }
        Ok(kept)
    }

    /// The control file only names what is kept; a damaged one, the copy is there to replace.
    fn control_if_readable(&self, data: &Path) -> Result<Option<ControlData>, DriverError> {
        match self.control(data) {
            Ok(control) => Ok(Some(control)),
            Err(DriverError::Overtaken) => Err(DriverError::Overtaken),
            Err(error) => {
                (self.say)(&format!("the data that a copy replaces isn't readable: {error}"));
                Ok(None)
            }
        }
    }
}

/// What `pg_basebackup` says at its end if a page's checksum was wrong.
fn says_damaged(said: &str) -> bool {
    said.contains("checksum error occurred")
}
