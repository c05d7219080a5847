//! A fault: which frames it touches, and what it does to them.
//!
//! Rules are about *directed* pairs of ports, so a cut can be one-way. They are asked in the order
//! in which they were added; the first that takes a frame away ends its journey.

use std::time::Duration;

use crate::frame::Class;

/// A port of the switch, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(pub usize);

/// Names a rule until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u64);

/// The kinds of frames that a rule can pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    Everything,
    /// Questions, answers and announcements.
    Arp,
    GratuitousArp,
    ReverseArp,
    /// Neighbour discovery, announcements included.
    NeighbourDiscovery,
    UnsolicitedAdvertisement,
    Vrrp,
    /// TCP to or from a port.
    Tcp(u16),
    /// UDP to or from a port.
    Udp(u16),
    Icmp,
}

impl Pick {
    /// Whether a frame of this class is meant.
    pub fn takes(self, class: &Class) -> bool {
        match (self, class) {
            (Self::Everything, _)
            | (Self::Arp, Class::Arp | Class::GratuitousArp(_))
            | (Self::GratuitousArp, Class::GratuitousArp(_))
            | (Self::ReverseArp, Class::ReverseArp)
            | (
                Self::NeighbourDiscovery,
                Class::NeighbourDiscovery | Class::UnsolicitedAdvertisement(_),
            )
            | (Self::UnsolicitedAdvertisement, Class::UnsolicitedAdvertisement(_))
            | (Self::Vrrp, Class::Vrrp(_))
            | (Self::Icmp, Class::Icmp) => true,
            (Self::Tcp(port), Class::Tcp { from, to })
            | (Self::Udp(port), Class::Udp { from, to }) => port == *from || port == *to,
            _ => false,
        }
    }
}

/// What happens to a frame that a rule takes. Chances are in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is lost.
    Drop { per_mille: u16 },
    /// It comes later, by `base` and up to `jitter` more; the order stays as it falls.
    Delay { base: Duration, jitter: Duration },
    /// It comes twice.
    Duplicate { per_mille: u16 },
    /// It is held back so long that others overtake it.
    Reorder { per_mille: u16, by: Duration },
    /// One of its bits is turned over, behind the addresses.
    Corrupt { per_mille: u16 },
    /// No more than so many bytes a second pass; what would wait longer than `queue` is lost.
    Rate { bytes_per_second: u64, queue: Duration },
    /// It waits until the rule is removed; then all come, in order.
    Hold,
}

/// Which frames, and what happens to them. A port that isn't named is any port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub from: Option<Port>,
    pub to: Option<Port>,
    pub pick: Pick,
    pub effect: Effect,
}

impl Rule {
    /// A rule about every frame between all ports.
    pub fn everywhere(effect: Effect) -> Self {
        Self { from: None, to: None, pick: Pick::Everything, effect }
    }

    /// A rule about one direction of one pair.
    pub fn one_way(from: Port, to: Port, effect: Effect) -> Self {
        Self { from: Some(from), to: Some(to), pick: Pick::Everything, effect }
    }

    /// The same rule, about some frames only.
    #[must_use]
    pub fn only(mut self, pick: Pick) -> Self {
        self.pick = pick;
        self
    }

    /// Whether a frame on its way between two ports is meant.
    pub fn takes(&self, from: Port, to: Port, class: &Class) -> bool {
        self.from.is_none_or(|port| port == from)
            && self.to.is_none_or(|port| port == to)
            && self.pick.takes(class)
    }
}
