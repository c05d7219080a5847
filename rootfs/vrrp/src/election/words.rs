//! What the election is told, what it answers, and what it has to know beforehand.

use std::net::IpAddr;
use std::time::Duration;

use crate::Priority;
use crate::interval::{Interval, Version};

/// The three states of RFC 9568.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    Initialize,
    Backup,
    Active,
}

/// One virtual router's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    pub version: Version,
    pub priority: Priority,
    /// Our own interval: used while Active, and until the first advert of another Active.
    pub interval: Interval,
    /// Our primary address, which adverts are sent from and which breaks ties.
    pub primary: IpAddr,
    /// Whether a better backup replaces a lesser Active. The owner always does.
    pub preempt: bool,
    /// How long a lesser Active must have been heard before it is replaced; keepalived's word.
    pub preempt_delay: Duration,
    /// Be Active only while holding a permit.
    pub permit_required: bool,
    /// How often an Active repeats its announcement; none for never.
    pub refresh: Option<Duration>,
}

/// What can happen to a virtual router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Take part. Also what a health check that was down and had no weight says when it recovers.
    Startup,
    /// Take no part any more, in good order.
    Shutdown,
    /// Another router's advert, parsed and admitted.
    Advert(Heard),
    /// The time that was asked for has come. Too early or twice does no harm.
    Timer,
    /// Health checks with weights changed our standing.
    PriorityChanged(Priority),
    /// We may be Active until then; a later grant replaces an earlier one.
    PermitGranted {
        until: Duration,
    },
    /// We may no longer be Active, from now on.
    PermitLost,
    InterfaceUp,
    InterfaceDown,
    /// Somebody else claimed one of our virtual addresses by ARP or neighbour discovery.
    ForeignClaim,
}

/// The part of an advert that decides elections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// As sent: 0 resigns.
    pub priority: u8,
    pub interval: Interval,
    pub source: IpAddr,
}

/// What the caller has to do, in the order in which it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    SendAdvert {
        priority: Priority,
    },
    /// An advert with priority 0: the others need not wait for our silence.
    SendPriorityZero,
    /// Put the virtual addresses on the interface, without duplicate address detection.
    AddAddresses,
    /// Give the addresses up, in this order: stop answering for them, remove them, destroy the
    /// sockets that are bound to them. The next action starts only when all three are done.
    Release,
    /// Tell the neighbours by gratuitous ARP or unsolicited neighbour advertisement.
    Announce,
    /// Deliver `Event::Timer` at this time. There is one timer; a new time replaces the old one.
    SetTimer {
        at: Duration,
    },
    CancelTimer,
}
