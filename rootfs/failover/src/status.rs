//! What a node says about itself: for `nodectl`, for logs, for judges.

use std::time::Duration;

use crate::failover::Failover;
use crate::record::Record;
use crate::state::State;
use crate::wire::Heartbeat;
use crate::words::Lsn;

/// A node's own view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Each is a separate line of a status page.
pub struct Status {
    /// What the node is.
    pub state: State,
    /// For how long.
    pub in_state_for: Duration,
    /// What is durable.
    pub record: Record,
    /// Whether clients are let in.
    pub serving: bool,
    /// How long ago the peer was certainly there, if ever since this node booted.
    pub contact_age: Option<Duration>,
    /// Channels on which something is heard, one bit each.
    pub hears: u8,
    /// The peer's last words.
    pub peer: Option<Heartbeat>,
    /// How long ago the witness answered.
    pub witness_age: Option<Duration>,
    /// The end of this node's WAL.
    pub lsn: Lsn,
    /// How far the peer has flushed, if it streams from here.
    pub peer_lsn: Option<Lsn>,
    /// The peer has flushed all that clients of this primary could see when it last started, or
    /// when commits began to wait.
    pub peer_has_all: bool,
    /// How long a standby must keep up before it is made synchronous.
    pub hold_down: Duration,
    /// No automatic failover, by order of an operator on either node.
    pub maintenance: bool,
}

impl Failover {
    /// The node's own view at its last step.
    pub fn status(&self) -> Status {
        Status {
            state: self.state,
            in_state_for: self.now.saturating_sub(self.entered),
            record: *self.sure(),
            serving: self.gate,
            contact_age: self.link.age(self.now),
            hears: self.link.hears(self.now, self.settings.times.loss),
            peer: self.link.view().copied(),
            witness_age: self.answered.map(|at| self.now.saturating_sub(at)),
            lsn: self.pg.lsn,
            peer_lsn: self.pg.peer,
            peer_has_all: self.pg.barrier.is_some() && self.pg.peer >= self.pg.barrier,
            hold_down: self.hold_down,
            maintenance: self.in_maintenance(),
        }
    }
}
