//! A copy of the peer's data, made beside this node's own and put in its place when it is whole.

use std::fs;
use std::time::{Duration, Instant};

use failover::Data;

use super::boot;
use super::config;
use super::detail::RepairKind;
use super::discarded;
use super::error::{DriverError, about};
use super::program;
use super::worker::Worker;

/// A large database over a slow link takes its time; a peer that is gone is noticed by TCP.
const LIMIT: Duration = Duration::from_hours(24);

impl Worker {
    pub(super) fn reclone(&mut self) -> Result<(), DriverError> {
        self.must_be_stopped("Reclone")?;
        let begin = Instant::now();
        self.role("copying the peer's data");
        let (data, clone) = (self.settings.data(), self.settings.clone_data());
        let _none = fs::remove_dir_all(&clone);
        let ca = &self.settings.certificates.ca;
        // A name of its own: under this node's, it would count as the standby that commits wait for.
        let source = config::conninfo(&self.settings, ca, "pgkeeper copy");
        let mut copy = program::command(&self.settings.program("pg_basebackup"));
        copy.arg("--dbname").arg(source).arg("--pgdata").arg(&clone);
        copy.args(["--wal-method=stream", "--checkpoint=fast", "--no-password", "--slot"]);
        copy.arg(config::slot(&self.settings.name));
        // It ends with an fsync of every file.
        let copied = program::run(&mut copy, "", LIMIT, &self.shared.halt);
        if let Err(error) = copied {
            // Half a copy is worth nothing, and its space may be what was missing.
            let _none = fs::remove_dir_all(&clone);
            return Err(error);
        }
        boot::forget_own_settings(&clone)?;
        boot::make_standby(&clone)?;
        // Data that was a primary's may hold what nobody else has.
        let own = boot::what_is(&data) == Data::Primary;
        let control = if own { self.control(&data).ok() } else { None };
        boot::swap(&clone, &data)?;
        let discarded = match &control {
            Some(control) => Some(discarded::keep_replaced(&self.settings, &clone, control)?),
            None => None,
        };
        if clone.exists() {
            fs::remove_dir_all(&clone).map_err(about("delete the replaced data in", &clone))?;
        }
        self.repaired(RepairKind::Reclone, begin, discarded);
        Ok(())
    }
}
