//! Stand-in until the driver is merged.

use std::os::fd::{AsFd, BorrowedFd};

use failover::{PgCommand, PgReport, Ticket};

use super::inbox::{Inbox, Outlet, inbox};

/// What PostgreSQL's driver says.
#[derive(Debug)]
pub(crate) enum Report {
    Postgres(PgReport),
    RevisionFenced(Ticket),
}

#[derive(Debug)]
pub(crate) struct Driver {
    inbox: Inbox<Report>,
    outlet: Outlet<Report>,
}

impl Driver {
    pub(crate) fn start() -> std::io::Result<Self> {
        let (outlet, inbox) = inbox()?;
        Ok(Self { inbox, outlet })
    }
    pub(crate) fn command(&self, ticket: Ticket, _: PgCommand) {
        let _ = self.outlet.put(Report::Postgres(PgReport::Failed(ticket)));
    }
    pub(crate) fn fence_revision(&self, ticket: Ticket) {
        let _ = self.outlet.put(Report::RevisionFenced(ticket));
    }
    pub(crate) fn next_report(&self) -> Option<Report> {
        let next = self.inbox.take();
        if next.is_none() {
            self.inbox.quiet();
        }
        next
    }
}

impl AsFd for Driver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inbox.as_fd()
    }
}
