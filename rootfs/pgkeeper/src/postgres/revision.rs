//! Kine's revision after a promotion that may have lost commits.
//!
//! Kine numbers changes by the ids of its table. If the newest are gone, ids come again that its
//! clients have seen already, and they would take new changes for old ones. So the ids jump ahead,
//! and everything before the jump counts as compacted: who watches is told so, and lists anew, as
//! after etcd's `--bump-revision --mark-compacted`. Kine fills gaps one by one, so K3s must start
//! anew too: the gate is closed meanwhile, and whoever supervises K3s restarts it.

use std::time::{Duration, Instant};

use failover::Ticket;

use super::config::Part;
use super::driver::{Order, Report};
use super::error::DriverError;
use super::session::PATIENCE;
use super::worker::Worker;

/// More changes than can be lost.
const JUMP: u32 = 1_000_000;
/// The table may be locked by kine's own compaction.
const LIMIT: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_millis(500);
/// Kine's name for an id without a change starts like this.
const MARK: &str = "gap-";
/// Where its ids come from.
const IDS: &str = "pg_get_serial_sequence('kine', 'id')";

impl Worker {
    pub(super) fn fence_revision(&mut self, ticket: Ticket) {
        match self.move_revision() {
            Ok(said) => {
                (self.say)(&said);
                self.shared.report(Report::RevisionFenced(ticket));
            }
            Err(DriverError::Overtaken) => {}
            // Clients stay out until it is done, so it is tried for as long as this is a primary.
            Err(error) => {
                (self.say)(&format!("kine's revision can't be moved yet: {error}"));
                let primary = matches!(self.part, Some(Part::Primary(_)));
                if primary && self.pause(RETRY).is_ok() {
                    self.shared.order(Order::FenceRevision(ticket));
                }
            }
        }
    }

    fn move_revision(&mut self) -> Result<String, DriverError> {
        let soon = || Instant::now() + PATIENCE;
        let database = self.settings.database.clone();
        let mut session = self.connect(&database, soon())?;
        let halt = &self.shared.halt;
        let has_kine = "select (to_regclass('kine') is not null)::text";
        if session.ask_one(has_kine, soon(), halt)? != "true" {
            return Ok("there is no kine here, so no revision is moved".to_owned());
        }
        let ids = IDS;
        session.send(&format!(
            "begin; lock table kine in exclusive mode; \
             select setval({ids}, greatest((select max(id) from kine), nextval({ids})) + {JUMP}); \
             insert into kine (id, name, created, deleted, create_revision, prev_revision, lease, \
             value, old_value) select id, '{MARK}' || id, 0, 1, 0, 0, 0, null, null from (select \
             nextval({ids}) as id) it; \
             update kine set prev_revision = (select max(id) from kine) where name = \
             'compact_rev_key'; \
             commit"
        ))?;
        session.answer(Instant::now() + LIMIT, halt)?;
        let now = session.ask_one("select max(id) from kine", soon(), halt)?;
        Ok(format!("kine's revision is {now} now; what clients watched before is compacted"))
    }
}
