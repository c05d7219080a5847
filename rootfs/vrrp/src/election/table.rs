//! Every pair of state and event, and the states it can lead to.
//!
//! The code decides by conditions; this table is what those conditions add up to. It is total: a
//! failover machine fails at the pair that nobody thought of.

use super::words::{Event, State};
use State::{Active, Backup, Initialize};

/// An event without its particulars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    Startup,
    Shutdown,
    Advert,
    Timer,
    PriorityChanged,
    PermitGranted,
    PermitLost,
    InterfaceUp,
    InterfaceDown,
    ForeignClaim,
}

impl Event {
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Startup => EventKind::Startup,
            Self::Shutdown => EventKind::Shutdown,
            Self::Advert(_) => EventKind::Advert,
            Self::Timer => EventKind::Timer,
            Self::PriorityChanged(_) => EventKind::PriorityChanged,
            Self::PermitGranted { .. } => EventKind::PermitGranted,
            Self::PermitLost => EventKind::PermitLost,
            Self::InterfaceUp => EventKind::InterfaceUp,
            Self::InterfaceDown => EventKind::InterfaceDown,
            Self::ForeignClaim => EventKind::ForeignClaim,
        }
    }
}

/// The whole machine: each event, and where it leads from Initialize, from Backup and from Active.
pub const TABLE: [(EventKind, [&[State]; 3]); 10] = [
    (EventKind::Startup, [&[Initialize, Backup, Active], &[Backup], &[Active]]),
    (EventKind::Shutdown, [&[Initialize], &[Initialize], &[Initialize]]),
    (EventKind::Advert, [&[Initialize], &[Backup], &[Backup, Active]]),
    (EventKind::Timer, [&[Initialize], &[Backup, Active], &[Active]]),
    (EventKind::PriorityChanged, [&[Initialize], &[Backup], &[Active]]),
    (EventKind::PermitGranted, [&[Initialize], &[Backup, Active], &[Active]]),
    (EventKind::PermitLost, [&[Initialize], &[Backup], &[Backup, Active]]),
    (EventKind::InterfaceUp, [&[Initialize, Backup, Active], &[Backup], &[Active]]),
    (EventKind::InterfaceDown, [&[Initialize], &[Initialize], &[Initialize]]),
    (EventKind::ForeignClaim, [&[Initialize], &[Backup], &[Active]]),
];
