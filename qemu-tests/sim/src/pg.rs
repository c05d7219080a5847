//! A model of PostgreSQL: a write-ahead log, a role, and who waits for whom.
//!
//! It leaks where the real one does: a cancelled wait reports success, a crashed primary comes back
//! with rows visible that the peer never had, and whoever waits is acknowledged when the names of
//! synchronous standbys are cleared.

use failover::{Data, Lsn, PgReport, Timeline};

use crate::plan::{MS, Micros};

/// What it is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// Not running.
    Stopped,
    /// A standby.
    Standby {
        /// Streaming is wanted.
        receiving: bool,
    },
    /// A primary.
    Primary {
        /// Commits wait for the peer.
        waiting: bool,
    },
}

/// A primary doesn't count a standby that is silent for this long.
const SENDER_TIMEOUT: Micros = 1000 * MS;

/// One PostgreSQL.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Pg {
    /// What is on its disk: the serial numbers of WAL entries.
    pub(crate) wal: Vec<u32>,
    /// What its data directory is.
    pub(crate) data: Data,
    /// What it is at the moment.
    pub(crate) role: Role,
    /// Its timeline.
    pub(crate) timeline: u32,
    /// Counts its processes; messages of former ones are recognised.
    pub(crate) life: u32,
    /// As a primary: how far the standby has flushed.
    pub(crate) peer_flush: usize,
    /// As a primary: when the standby last said so.
    pub(crate) peer_seen: Option<Micros>,
    /// As a primary: how much of the WAL clients can see.
    pub(crate) visible: usize,
    /// As a primary: WAL positions whose clients still wait.
    pub(crate) waiting: Vec<usize>,
    /// As a standby: the process of the primary that it streams from.
    pub(crate) source: Option<u32>,
    /// A rewind was begun and not finished.
    pub(crate) half_rewound: bool,
    /// It doesn't start from what is on its disk; only a copy helps.
    pub(crate) damaged: bool,
}

impl Pg {
    /// One that isn't running.
    pub(crate) fn new(data: Data) -> Self {
        Self {
            wal: Vec::new(),
            data,
            role: Role::Stopped,
            timeline: 1,
            life: 0,
            peer_flush: 0,
            peer_seen: None,
            visible: 0,
            waiting: Vec::new(),
            source: None,
            half_rewound: false,
            damaged: false,
        }
    }

    /// Ends at once; whoever waits learns nothing.
    pub(crate) fn kill(&mut self) {
        self.role = Role::Stopped;
        self.life += 1;
        self.peer_flush = 0;
        self.peer_seen = None;
        self.waiting.clear();
        self.source = None;
    }

    /// Takes writes.
    pub(crate) fn is_primary(&self) -> bool {
        matches!(self.role, Role::Primary { .. })
    }

    /// Takes writes and makes them wait.
    pub(crate) fn waits(&self) -> bool {
        self.role == Role::Primary { waiting: true }
    }

    /// Where its WAL ends.
    pub(crate) fn lsn(&self) -> Lsn {
        Lsn(self.wal.len() as u64)
    }

    /// What it tells its keeper from time to time.
    pub(crate) fn status(&self, now: Micros) -> PgReport {
        let fresh = self.peer_seen.is_some_and(|seen| now.saturating_sub(seen) <= SENDER_TIMEOUT);
        let peer = (self.is_primary() && fresh).then_some(Lsn(self.peer_flush as u64));
        PgReport::Status { timeline: Timeline(self.timeline), lsn: self.lsn(), peer }
    }

    /// Whether `standby`'s WAL is a beginning of this one's. Serial numbers are never used twice,
    /// so the last common place decides.
    pub(crate) fn continues(&self, standby: &[u32]) -> bool {
        match standby.len().checked_sub(1) {
            None => true,
            Some(last) => self.wal.get(last) == standby.get(last),
        }
    }

    /// Winds back to the common beginning with another WAL; how much was dropped.
    pub(crate) fn rewind_to(&mut self, other: &[u32]) -> usize {
        let common = self.wal.iter().zip(other).take_while(|(mine, theirs)| mine == theirs).count();
        let dropped = self.wal.len() - common;
        self.wal.truncate(common);
        dropped
    }
}
