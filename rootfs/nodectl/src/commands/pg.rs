//! `nodectl pg`: orders to the database pair, and what came of them.

use std::thread;
use std::time::{Duration, Instant};

use control::{Answer, BackupStatus, DatabaseStatus, PgRequest, Request, Restore};

use super::{Node, note, print, print_json};
use crate::cli::Failure;
use crate::show;

/// Between two looks whether the peer leads: from afar each is a connection.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// A hand-over is called off by the node after some seconds; this is longer.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(20);

impl Node {
    pub(super) fn ask_database(&self) -> Result<DatabaseStatus, Failure> {
        match self.client.one(&Request::Pg(PgRequest::Status))? {
            Answer::Database(status) => Ok(*status),
            _ => Err(self.client.unexpected().into()),
        }
    }

    pub(crate) fn pg_status(&self, json: bool) -> Result<(), Failure> {
        let status = self.ask_database()?;
        if json {
            return print_json(&status);
        }
        print(&show::database_screen(&status, self.style))
    }

    pub(crate) fn switchover(&self, wait: bool) -> Result<(), Failure> {
        let begun = Instant::now();
        let accepted = "the node hands over; `nodectl pg status` shows how it goes";
        if !wait {
            return self.order(&Request::Pg(PgRequest::Switchover), accepted);
        }
        self.order(&Request::Pg(PgRequest::Switchover), "the node hands over")?;
        let mut began = false;
        while begun.elapsed() < HAND_OVER_LIMIT {
            let status = self.ask_database()?;
            let elsewhere = status.primary.filter(|primary| *primary != status.node);
            if let Some(primary) = elsewhere {
                note(&format!("{} leads in epoch {}", show::plain(&primary), status.epoch));
                return Ok(());
            }
            let leads = matches!(status.role.as_str(), "primary" | "blocked" | "solo");
            if began && leads {
                return Err(Failure::HandOver("it was called off, and this node still leads"));
            }
            began = began || !leads;
            thread::sleep(LOOK_AGAIN);
        }
        Err(Failure::HandOver("it isn't over yet"))
    }

    pub(crate) fn maintenance(&self, on: bool) -> Result<(), Failure> {
        let done = if on {
            "no automatic failover from now on; `nodectl pg maintenance off` ends it"
        } else {
            "this node is for automatic failover again"
        };
        self.order(&Request::Pg(PgRequest::Maintenance { on }), done)?;
        if !on && self.ask_database()?.maintenance {
            note(
                "the peer was told the same and still keeps to it: say `maintenance off` there too",
            );
        }
        Ok(())
    }

    pub(crate) fn force_primary(&self, accept_data_loss: bool) -> Result<(), Failure> {
        let request = Request::Pg(PgRequest::ForcePrimary { accept_data_loss });
        self.order(&request, "the node is to lead; `nodectl pg status` shows how it goes")
    }

    pub(crate) fn reinit(&self, yes: bool) -> Result<(), Failure> {
        self.confirm("Throw away the database of", yes)?;
        let done = "the data is to be copied anew; `nodectl pg status` shows how it goes";
        self.order(&Request::Pg(PgRequest::Reinit), done)
    }

    pub(crate) fn backup_now(&self) -> Result<(), Failure> {
        let done = "a backup is to begin; `nodectl pg backup list` shows how it goes";
        self.order(&Request::Pg(PgRequest::BackupNow), done)
    }

    pub(crate) fn restore(&self, restore: Restore) -> Result<(), Failure> {
        let done = "the restore has begun; `nodectl pg backup list` shows how it goes, and `nodectl pg \
                    restore --help` what comes after it";
        self.order(&Request::Pg(PgRequest::Restore(restore)), done)
    }

    pub(crate) fn backups(&self, json: bool) -> Result<(), Failure> {
        let status: BackupStatus = match self.client.one(&Request::Pg(PgRequest::Backups))? {
            Answer::Backups(status) => *status,
            _ => return Err(self.client.unexpected().into()),
        };
        if json {
            return print_json(&status);
        }
        print(&show::backups_screen(&status, self.style))
    }
}
