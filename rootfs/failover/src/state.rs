//! The words of the transition table: what a node is to the pair, and what can become true.

/// What a node is to the pair; the drawing is on the crate's first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// The record isn't read yet.
    Boot,
    /// Looking for the peer and the witness before being anything.
    Rendezvous,
    /// Leads; every acknowledgement has waited for the peer.
    PSync,
    /// Leads, and can't acknowledge: the peer is missing, or PostgreSQL comes back from a crash.
    PBlocked,
    /// Leads alone, by authority.
    PSolo,
    /// Stopped serving so that the peer can lead.
    HandOver,
    /// Follows, and has every acknowledged commit.
    SSync,
    /// Follows, and is behind or not yet trusted.
    SCatchUp,
    /// Was in sync, gave up its acknowledgements, and may not promote.
    SStale,
    /// Was in sync, gave up its acknowledgements, and asks for authority.
    Candidate,
    /// Has authority; PostgreSQL is becoming, or coming back as, a primary.
    Promoting,
    /// May not serve, and waits for a leader that it can follow.
    Fenced,
    /// Its data is being wound back to where the leader's history parted from it.
    Rewind,
    /// Its data is being replaced by a copy of the leader's.
    Reclone,
}

impl State {
    /// All states, in the order of the table's rows.
    pub const ALL: [Self; 14] = [
        Self::Boot,
        Self::Rendezvous,
        Self::PSync,
        Self::PBlocked,
        Self::PSolo,
        Self::HandOver,
        Self::SSync,
        Self::SCatchUp,
        Self::SStale,
        Self::Candidate,
        Self::Promoting,
        Self::Fenced,
        Self::Rewind,
        Self::Reclone,
    ];

    /// Whether the node runs, or is about to run, a PostgreSQL that takes writes.
    pub fn is_leading(self) -> bool {
        matches!(self, Self::PSync | Self::PBlocked | Self::PSolo | Self::Promoting)
    }

    /// Whether a follower can stream from, or rewind to, a node in this state.
    pub fn is_primary(self) -> bool {
        matches!(self, Self::PSync | Self::PBlocked | Self::PSolo)
    }

    /// The state with this number on the wire.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// What can become true for a node. Each is judged from the facts at every step, whatever the
/// state; the table says in which states it matters. When several hold, the first in
/// [`Input::ALL`] that matters is taken: what takes power away stands before what gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Input {
    /// The record is read.
    Booted,
    /// The record can't be written.
    StorageFailed,
    /// The peer leads, as far as this node knows.
    Superseded,
    /// The boot rules let this node lead alone.
    LeadAlone,
    /// The boot rules let this node lead, together with its peer.
    LeadTogether,
    /// The boot rules let this node ask for authority.
    Stand,
    /// This node has authority to lead alone, durably.
    Won,
    /// The peer is a member again, durably.
    Published,
    /// A leader lost what it needs to acknowledge.
    Unacked,
    /// The peer streams, and has flushed everything that a client could see.
    InSync,
    /// The leader shall hand over, and the peer can take over.
    Resign,
    /// The hand-over took too long.
    GaveUp,
    /// A standby lost sight of its leader, and an arbiter could choose it.
    Silence,
    /// The leader offers to hand over.
    Offered,
    /// The policy's window for promotion is over.
    WindowOver,
    /// This node is no member any more.
    Dropped,
    /// This node's data is missing or broken, and a leader is there to copy.
    Unusable,
    /// This node's data may have parted from the leader's history.
    Diverged,
    /// There is a leader to follow.
    Follow,
    /// This node is a member, and fit.
    Joined,
    /// PostgreSQL takes writes.
    Promoted,
    /// The data is as it should be.
    Repaired,
    /// The attempt to repair the data failed.
    RepairFailed,
}

impl Input {
    /// All inputs, in the order of the table's columns and of their precedence.
    pub const ALL: [Self; 23] = [
        Self::Booted,
        Self::StorageFailed,
        Self::Superseded,
        Self::LeadAlone,
        Self::LeadTogether,
        Self::Stand,
        Self::Won,
        Self::Published,
        Self::Unacked,
        Self::InSync,
        Self::Resign,
        Self::GaveUp,
        Self::Silence,
        Self::Offered,
        Self::WindowOver,
        Self::Dropped,
        Self::Unusable,
        Self::Diverged,
        Self::Follow,
        Self::Joined,
        Self::Promoted,
        Self::Repaired,
        Self::RepairFailed,
    ];
}
