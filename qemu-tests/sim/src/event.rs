//! What can happen in the simulated world, and in which order.

use failover::{Answer, Ask, PgCommand, Side, Ticket};

use crate::plan::Micros;

/// Something that will happen in the world.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ev {
    /// A core wants to be stepped.
    Wake(Side),
    /// A heartbeat arrives.
    Beat { to: Side, slot: u32, channel: u8 },
    /// A question arrives at the witness.
    Ask(Ask),
    /// The witness's answer arrives.
    Answer(Side, Answer),
    /// A record is durable.
    Persisted(Side, u32, Ticket),
    /// What PostgreSQL was told takes effect, before it says so.
    PgHeeds(Side, u32, Ticket, PgCommand),
    /// PostgreSQL has done what it was told.
    PgDone(Side, u32, Ticket, PgCommand),
    /// WAL arrives at a standby.
    Wal { to: Side, life: u32, upto: usize },
    /// A standby's acknowledgement arrives at the primary.
    WalAck { to: Side, life: u32, upto: usize },
    /// Replication and gateways are looked after.
    Pump,
    /// Clients write and read.
    Client,
    /// A fault begins.
    FaultBegins(usize),
    /// A fault is over.
    FaultEnds(usize),
    /// A machine gets power.
    Boot(Side, u32),
    /// A machine that stood still goes on.
    Resume(Side, u32),
    /// A fence command cuts the peer's power.
    FenceStrikes(Side, u32, Ticket),
    /// It tells whether it could.
    FenceTold(Side, u32, Ticket, bool),
    /// Kine's revision was moved.
    RevisionDone(Side, u32, Ticket),
}

/// An event and its time; events of one time happen in the order in which they were caused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) at: Micros,
    pub(crate) order: u64,
    pub(crate) ev: Ev,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
