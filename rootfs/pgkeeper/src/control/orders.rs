//! Requests of the control socket become questions and orders to the keeper.

use ::control::{Answer, DatabaseStatus, PgRequest, Reason, Request, database_metrics};
use failover::{Accepted, Command, Refusal};

/// The keeper as its control socket sees it.
pub trait Keeper {
    /// What it tells of itself; [`super::snapshot`] makes it.
    fn snapshot(&self) -> DatabaseStatus;
    /// One step of `failover` with this order; what the core replied.
    fn order(&mut self, command: Command) -> Result<Accepted, Refusal>;
}

/// Answers a request.
pub fn answer(keeper: &mut dyn Keeper, request: &Request) -> Answer {
    let Request::Pg(request) = request else {
        return misdirected(&format!("`{}`", request.word()));
    };
    let command = match *request {
        PgRequest::Status => return Answer::Database(Box::new(keeper.snapshot())),
        PgRequest::Metrics => {
            return Answer::Metrics { text: database_metrics(&keeper.snapshot()) };
        }
        PgRequest::BackupNow | PgRequest::Backups | PgRequest::Restore(_) => {
            return misdirected("about backups");
        }
        PgRequest::Switchover => Command::Switchover,
        PgRequest::Maintenance { on } => Command::Maintenance(on),
        PgRequest::ForcePrimary { accept_data_loss } => Command::ForcePrimary { accept_data_loss },
        PgRequest::Reinit => Command::Reinit,
    };
    match keeper.order(command) {
        Ok(_) => Answer::Accepted,
        Err(refusal) => Answer::refused(reason(refusal), refusal.to_string()),
    }
}

fn misdirected(what: &str) -> Answer {
    let text = format!("pgkeeper isn't who to ask {what}: use a nodectl of the node's own version");
    Answer::refused(Reason::Malformed, text)
}

fn reason(refusal: Refusal) -> Reason {
    match refusal {
        Refusal::Booting => Reason::NotNow,
        Refusal::StorageFailed => Reason::Failed,
        Refusal::NotLeading
        | Refusal::PeerNotInSync
        | Refusal::Leading
        | Refusal::PeerLeads
        | Refusal::LossNotAccepted
        | Refusal::DataUnusable
        | Refusal::NoLeader => Reason::Unsafe,
    }
}
