//! The boot rules, as data: what a node may be, by what it remembers and whom it has met.
//!
//! A newer configuration of the peer or the witness is adopted before this table is asked, so a
//! node's standing already includes what those know.

use crate::words::{Configuration, Members, Side};

/// What a node's record says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No record, or none that can be trusted: a new node, a new disk, or a torn one.
    Amnesic,
    /// It led alone.
    LeaderAlone,
    /// It led together with its peer.
    LeaderTogether,
    /// It followed, in sync.
    Member,
    /// It followed, and wasn't in sync.
    Outsider,
}

impl Standing {
    /// All, in the order of the table's rows.
    pub const ALL: [Self; 5] =
        [Self::Amnesic, Self::LeaderAlone, Self::LeaderTogether, Self::Member, Self::Outsider];

    /// The standing of a side that remembers a configuration and may vote.
    pub fn of(side: Side, config: Configuration, voter: bool) -> Self {
        if !voter {
            return Self::Amnesic;
        }
        match (config.led_by(side), config.members) {
            (true, Members::Leader) => Self::LeaderAlone,
            (true, Members::Both) => Self::LeaderTogether,
            (false, Members::Both) => Self::Member,
            (false, Members::Leader) => Self::Outsider,
        }
    }
}

/// Whom a node has met since it booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// Nobody, although it waited.
    Nobody,
    /// The witness, although it waited for the peer too.
    Witness,
    /// The peer.
    Peer,
    /// A peer that can never lead from where it is: without memory, or without usable data.
    HopelessPeer,
}

impl Met {
    /// All, in the order of the table's columns.
    pub const ALL: [Self; 4] = [Self::Nobody, Self::Witness, Self::Peer, Self::HopelessPeer];
}

/// What a node may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on looking.
    Wait,
    /// Lead: alone, or blocked until the peer is back or ruled out.
    Lead,
    /// Ask for authority.
    Stand,
    /// Follow the peer.
    Follow,
}

use Verdict::{Follow, Lead, Stand, Wait};

/// Rows are standings, columns whom it met.
#[rustfmt::skip]
pub const BOOT_RULES: [[Verdict; Met::ALL.len()]; Standing::ALL.len()] = [
//                     Nobody Witness  Peer  HopelessPeer
/* Amnesic        */ [ Wait,   Wait,  Follow, Wait  ],
/* LeaderAlone    */ [ Lead,   Lead,   Lead,  Lead  ],
/* LeaderTogether */ [ Wait,   Lead,   Lead,  Lead  ],
/* Member         */ [ Wait,   Stand, Follow, Stand ],
/* Outsider       */ [ Wait,   Wait,  Follow, Wait  ],
];

/// What a node may do.
pub fn verdict(standing: Standing, met: Met) -> Verdict {
    BOOT_RULES[standing as usize][met as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gains_authority_by_booting_alone() {
        for standing in Standing::ALL {
            let alone = verdict(standing, Met::Nobody);
            assert_ne!(alone, Stand, "{standing:?}");
            assert!(alone != Lead || standing == Standing::LeaderAlone, "{standing:?}");
        }
    }

    #[test]
    fn without_memory_or_membership_nobody_leads() {
        for met in Met::ALL {
            for standing in [Standing::Amnesic, Standing::Outsider] {
                assert!(matches!(verdict(standing, met), Wait | Follow));
            }
        }
    }
}
