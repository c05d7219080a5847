//! `nodectl pg`: orders to the database pair, and what came of them.

use std::thread;
use std::time::{Duration, Instant};

use control::{Answer, BackupStatus, DatabaseStatus, PgRequest, Request, Restore};

use super::{Node, note, print, print_json};
use crate::cli::Failure;
use crate::client::{ANSWER_LIMIT, ClientError};
use crate::show;

/// Between two looks whether the peer leads: from afar each is a connection.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long one of them may wait for its answer, which never comes if the address that was asked moves
/// away with the role meanwhile.
const LOOK_LIMIT: Duration = Duration::from_secs(5);
/// A hand-over is called off by the node after some seconds; this is longer.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(20);

/// How a hand-over stands.
#[derive(Debug, PartialEq, Eq)]
enum Stand<'a> {
    /// Nobody knows yet; `began` once the node that led was seen not to lead.
    Open { began: bool },
    /// The peer leads.
    Done { primary: &'a str, epoch: u64 },
    /// The node that led leads on.
    CalledOff,
}

/// How a hand-over from a node stands after one more look at the pair, which is none if it failed. Either
/// node may have answered: behind a virtual address is whoever leads at that moment.
fn stand<'a>(from: &str, began: bool, look: Option<&'a DatabaseStatus>) -> Stand<'a> {
    let Some(status) = look else { return Stand::Open { began } };
    let elsewhere = status.primary.as_deref().filter(|primary| *primary != from);
    if let Some(primary) = elsewhere {
        // It is named once it has the consent, and may still have to promote.
        let peer = status.peer.as_ref().filter(|peer| peer.node == primary);
        let of_peer = peer.and_then(|peer| peer.role.as_deref());
        let role = if status.node == primary { Some(status.role.as_str()) } else { of_peer };
        return if role.is_some_and(leads) {
            Stand::Done { primary, epoch: status.epoch }
        } else {
            Stand::Open { began: true }
        };
    }
    // What the peer is meanwhile tells nothing about the node that led.
    if status.node != from {
        return Stand::Open { began };
    }
    let leads = leads(&status.role);
    if began && leads { Stand::CalledOff } else { Stand::Open { began: !leads } }
}

/// Whether a role is one of those in which PostgreSQL runs as the primary.
fn leads(role: &str) -> bool {
    matches!(role, "primary" | "blocked" | "solo")
}

impl Node {
    pub(super) fn ask_database(&self, limit: Duration) -> Result<DatabaseStatus, ClientError> {
        match self.client.one_within(&Request::Pg(PgRequest::Status), limit)? {
            Answer::Database(status) => Ok(*status),
            _ => Err(self.client.unexpected()),
        }
    }

    pub(crate) fn pg_status(&self, json: bool) -> Result<(), Failure> {
        let status = self.ask_database(ANSWER_LIMIT)?;
        if json {
            return print_json(&status);
        }
        print(&show::database_screen(&status, self.style))
    }

    pub(crate) fn switchover(&self, wait: bool) -> Result<(), Failure> {
        let order = Request::Pg(PgRequest::Switchover);
        if !wait {
            let accepted = "the node hands over; `nodectl pg status` shows how it goes";
            return self.order(&order, accepted);
        }
        // Who leads, whoever says so: the order may reach the other node than this question did.
        let before = self.ask_database(ANSWER_LIMIT)?;
        let from = before.primary.unwrap_or(before.node);
        match self.order_within(&order, "the node hands over", LOOK_LIMIT) {
            // The order may have moved the address by which it was given, before the answer was out.
            // Giving it again would hand back, so what became of it is looked at.
            Err(Failure::Client(ClientError::CutOff { .. })) => {
                note("no answer came; looking whether the node hands over");
            }
            other => other?,
        }
        self.see_handed_over(&from)
    }

    /// Looks until the peer leads. A look that fails is waited over, since the way to the node may
    /// move with the role; it counts if it is the last one.
    fn see_handed_over(&self, from: &str) -> Result<(), Failure> {
        let ordered = Instant::now();
        let (mut began, mut failed) = (false, None);
        while ordered.elapsed() < HAND_OVER_LIMIT {
            let look = self.ask_database(LOOK_LIMIT);
            match stand(from, began, look.as_ref().ok()) {
                Stand::Open { began: so_far } => began = so_far,
                Stand::Done { primary, epoch } => {
                    note(&format!("{} leads in epoch {epoch}", show::plain(primary)));
                    return Ok(());
                }
                Stand::CalledOff => {
                    let told = "it was called off, and this node still leads";
                    return Err(Failure::HandOver(told));
                }
            }
            failed = look.err();
            thread::sleep(LOOK_AGAIN);
        }
        Err(failed.map_or(Failure::HandOver("it isn't over yet"), Failure::Client))
    }

    pub(crate) fn maintenance(&self, on: bool) -> Result<(), Failure> {
        let done = if on {
            "no automatic failover from now on; `nodectl pg maintenance off` ends it"
        } else {
            "this node is for automatic failover again"
        };
        self.order(&Request::Pg(PgRequest::Maintenance { on }), done)?;
        if !on && self.ask_database(ANSWER_LIMIT)?.maintenance {
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

#[cfg(test)]
mod tests {
    use control::PeerStatus;

    use super::*;

    fn seen(node: &str, role: &str, primary: &str) -> DatabaseStatus {
        DatabaseStatus {
            node: node.to_owned(),
            role: role.to_owned(),
            epoch: 8,
            primary: Some(primary.to_owned()),
            ..DatabaseStatus::default()
        }
    }

    /// The same with what the peer said that it is.
    fn with_peer(status: DatabaseStatus, node: &str, role: &str) -> DatabaseStatus {
        let peer = PeerStatus {
            node: node.to_owned(),
            role: Some(role.to_owned()),
            ..PeerStatus::default()
        };
        DatabaseStatus { peer: Some(peer), ..status }
    }

    /// How a hand-over from node1 stands after these looks.
    fn after(looks: &[Option<DatabaseStatus>]) -> Stand<'_> {
        let mut began = false;
        for look in looks {
            match stand("node1", began, look.as_ref()) {
                Stand::Open { began: so_far } => began = so_far,
                end => return end,
            }
        }
        Stand::Open { began }
    }

    const DONE: Stand<'static> = Stand::Done { primary: "node2", epoch: 8 };

    #[test]
    fn the_node_that_led_tells_who_leads_now() {
        let looks = [
            Some(seen("node1", "primary", "node1")),
            Some(seen("node1", "handing-over", "node1")),
            Some(with_peer(seen("node1", "standby", "node2"), "node2", "promoting")),
            Some(with_peer(seen("node1", "standby", "node2"), "node2", "solo")),
        ];
        assert_eq!(after(&looks[..2]), Stand::Open { began: true });
        assert_eq!(after(&looks[..3]), Stand::Open { began: true }, "it may still fail");
        assert_eq!(after(&looks), DONE);
        let promotes = Some(seen("node2", "promoting", "node2"));
        assert_eq!(after(&[promotes]), Stand::Open { began: true });
    }

    /// Behind a virtual address the new primary answers, and leads where it is asked.
    #[test]
    fn the_new_primary_may_be_who_answers() {
        let goes = Some(seen("node1", "handing-over", "node1"));
        let leads = Some(seen("node2", "primary", "node2"));
        assert_eq!(after(&[goes, leads.clone()]), DONE);
        assert_eq!(after(&[leads]), DONE);
    }

    #[test]
    fn a_failed_look_changes_nothing() {
        let goes = Some(seen("node1", "handing-over", "node1"));
        let leads = Some(seen("node2", "primary", "node2"));
        assert_eq!(after(&[None, None]), Stand::Open { began: false });
        assert_eq!(after(&[goes.clone(), None]), Stand::Open { began: true });
        assert_eq!(after(&[goes, None, leads]), DONE);
    }

    #[test]
    fn it_is_called_off_once_the_node_leads_again() {
        let leads = || Some(seen("node1", "primary", "node1"));
        let goes = Some(seen("node1", "handing-over", "node1"));
        assert_eq!(after(&[leads(), leads()]), Stand::Open { began: false });
        assert_eq!(after(&[leads(), goes, None, leads()]), Stand::CalledOff);
    }

    /// What the peer is tells nothing about the node that leads, on which the order may not show yet.
    #[test]
    fn what_the_peer_is_begins_nothing() {
        let peer = Some(seen("node2", "standby", "node1"));
        let leads = Some(seen("node1", "primary", "node1"));
        assert_eq!(after(&[peer, leads]), Stand::Open { began: false });
        let nobody_leads = Some(DatabaseStatus::default());
        assert_eq!(after(&[nobody_leads]), Stand::Open { began: false });
    }
}
