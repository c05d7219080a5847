//! The few nouns of the protocol: sides, epochs, members, configurations, positions in the WAL.
//!
//! They are plain values. What makes them safe is arithmetic, not locking: an epoch's parity says
//! whose it is, so two sides can't ever lead in the same epoch, whatever else goes wrong.

use std::hash::{Hash, Hasher};

/// One of the two nodes. The cluster file says which node is which, and that never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The first node of the pair; it makes the first database.
    A,
    /// The second node.
    B,
}

impl Side {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its place in a list of two.
    pub const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

/// Our own counter of authorities. Odd epochs belong to side A, even ones to side B.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Before the first configuration.
    pub const NONE: Self = Self(0);

    /// The smallest later epoch in which `side` may lead.
    #[must_use]
    pub const fn next_for(self, side: Side) -> Self {
        let next = self.0.saturating_add(1);
        let odd = next % 2 == 1;
        match (side, odd) {
            (Side::A, true) | (Side::B, false) => Self(next),
            _ => Self(next.saturating_add(1)),
        }
    }

    /// Whose epoch it is.
    pub const fn owner(self) -> Side {
        if self.0 % 2 == 1 { Side::A } else { Side::B }
    }
}

/// Who has every acknowledged commit: the in-sync set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Members {
    /// Only the leader.
    Leader,
    /// Both nodes.
    Both,
}

/// A configuration of the pair: the unit that is claimed, granted, written down and obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Configuration {
    /// Its number. A higher one replaces a lower one.
    pub epoch: Epoch,
    /// The configuration that it follows.
    pub base: Epoch,
    /// Who may serve.
    pub leader: Side,
    /// Who has every acknowledged commit.
    pub members: Members,
}

impl Configuration {
    /// Before there was any: nobody leads. The leader's name is a filler that nothing reads.
    pub const NONE: Self =
        Self { epoch: Epoch::NONE, base: Epoch::NONE, leader: Side::B, members: Members::Leader };

    /// Whether anybody leads at all.
    pub fn exists(self) -> bool {
        self.epoch > Epoch::NONE
    }

    /// Whether `side` leads.
    pub fn led_by(self, side: Side) -> bool {
        self.exists() && self.leader == side
    }

    /// Whether `side` has every commit that was acknowledged in this configuration.
    pub fn has_member(self, side: Side) -> bool {
        self.exists() && (self.leader == side || self.members == Members::Both)
    }

    /// Whether its numbers can have come from the protocol.
    pub fn is_sound(self) -> bool {
        self == Self::NONE || (self.epoch > self.base && self.epoch.owner() == self.leader)
    }
}

/// A position in PostgreSQL's write-ahead log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lsn(pub u64);

/// PostgreSQL's own counter of promotions. It cross-checks epochs; it never replaces them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeline(pub u32);

/// Where the WAL ends differs between histories that behave alike; what matters of it are
/// comparisons, which [`crate::Status`] shows. So hashes leave positions out.
impl Hash for Lsn {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// As with positions; no decision looks at a timeline.
impl Hash for Timeline {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// Names one request to the shell, so that its answer is recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_one_possible_leader() {
        for number in 0..20 {
            for side in Side::BOTH {
                let next = Epoch(number).next_for(side);
                assert!(next > Epoch(number) && next.0 <= number + 2);
                assert_eq!(next.owner(), side);
            }
        }
    }
}
