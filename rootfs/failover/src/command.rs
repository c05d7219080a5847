//! What the operator may order, and why an order is refused.

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Let the peer lead; given to the leader.
    Switchover,
    /// No automatic failover from now on, or again; given to both nodes.
    Maintenance(bool),
    /// Lead, although acknowledged commits may be missing here.
    ForcePrimary {
        /// The operator said so in so many words.
        accept_data_loss: bool,
    },
    /// Replace this node's data by a copy of the leader's.
    Reinit,
}

/// An order that is being carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The peer takes over within the hand-over's bound, or the leader stays what it is.
    HandingOver,
    /// Written down.
    Maintenance(bool),
    /// The node promotes, then moves kine's revision, then opens the gate.
    Forcing,
    /// The data is copied anew as soon as the leader agrees that this node is no member.
    Reinitialising,
}

/// Why an order is refused; each says the mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The daemon hasn't read its record.
    #[error("this node is still booting; try again in a second")]
    Booting,
    /// Only a leader can hand over.
    #[error("this node doesn't lead; order the switchover on its peer")]
    NotLeading,
    /// The peer couldn't take over without loss.
    #[error("the peer isn't in sync; wait until it is, or stop this node's service instead")]
    PeerNotInSync,
    /// It leads already.
    #[error("this node already leads, or is about to")]
    Leading,
    /// The peer is there and leads.
    #[error(
        "the peer is reachable and leads; order a switchover there, or stop its pgkeeper if its \
         PostgreSQL never starts"
    )]
    PeerLeads,
    /// The loss of data wasn't accepted.
    #[error("acknowledged commits may be lost; say --i-accept-data-loss if that is all right")]
    LossNotAccepted,
    /// Its data can't serve.
    #[error("this node's data is being repaired and can't serve; wait until that is over")]
    DataUnusable,
    /// There is nobody to copy from.
    #[error("there is no leader in reach to copy from; the data stays as it is")]
    NoLeader,
    /// Its storage failed.
    #[error("this node can't write its record; mend the state partition and restart the daemon")]
    StorageFailed,
}
