//! The oracle: who said on the wire, and when, that a virtual address is theirs.
//!
//! Guests' logs say what a guest believes. The wire says what everybody else could know: an advert
//! claims its router for an interval and three, an announcement claims one address. From these
//! follow the times in which an owner was seen, and where two were seen at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::frame::{Class, Header, Vrrp};
use crate::rule::Port;

/// Something that was said about a virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// An Active router's advert; priority 0 gives the router up.
    Advert(Vrrp),
    /// "This address is here", by ARP or by a neighbour advertisement.
    Announcement(IpAddr),
}

/// A claim, where it was heard, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    pub at: Duration,
    pub port: Port,
    pub claim: Claim,
}

/// All claims of a run, in the order in which they were heard.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    heard: Vec<Heard>,
}

/// A time in which one port was the only source of a router's adverts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reign {
    pub port: Port,
    pub from: Duration,
    /// The last advert of the reign, or the one that gave it up.
    pub until: Duration,
    pub resigned: bool,
}

impl Wire {
    /// Notes what a frame claims; says whether it claims anything.
    pub fn note(&mut self, at: Duration, port: Port, header: &Header) -> bool {
        let claim = match header.class {
            Class::Vrrp(vrrp) => Claim::Advert(vrrp),
            Class::GratuitousArp(address) => Claim::Announcement(address.into()),
            Class::UnsolicitedAdvertisement(address) => Claim::Announcement(address.into()),
            _ => return false,
        };
        self.heard.push(Heard { at, port, claim });
        true
    }

    /// Every claim since a time.
    pub fn since(&self, time: Duration) -> impl Iterator<Item = &Heard> {
        let start = self.heard.partition_point(|heard| heard.at < time);
        self.heard.get(start..).unwrap_or_default().iter()
    }

    /// Where an address was announced, and when.
    pub fn announcements(&self, address: IpAddr) -> impl Iterator<Item = (Duration, Port)> {
        self.heard
            .iter()
            .filter(move |heard| heard.claim == Claim::Announcement(address))
            .map(|heard| (heard.at, heard.port))
    }

    /// The reigns of a virtual router in one address family, in the order of their beginnings. A
    /// port reigns from its first advert to its last, as long as it is never silent for more than
    /// `silence`.
    pub fn reigns(&self, vrid: u8, v6: bool, silence: Duration) -> Vec<Reign> {
        let mut open: BTreeMap<Port, Reign> = BTreeMap::new();
        let mut over = Vec::new();
        for heard in &self.heard {
            let Claim::Advert(vrrp) = heard.claim else { continue };
            if vrrp.vrid != vrid || vrrp.source.is_ipv6() != v6 {
                continue;
            }
            let (at, port, resigned) = (heard.at, heard.port, vrrp.priority == 0);
            if let Some(reign) = open.get_mut(&port)
                && at.saturating_sub(reign.until) <= silence
            {
                reign.until = at;
                reign.resigned = resigned;
            } else if !resigned {
                let new = Reign { port, from: at, until: at, resigned: false };
                over.extend(open.insert(port, new));
            }
            if resigned {
                over.extend(open.remove(&port));
            }
        }
        over.extend(open.into_values());
        over.sort_by_key(|reign| (reign.from, reign.port));
        over
    }
}

/// The longest time in which two ports reigned at once.
pub fn longest_overlap(reigns: &[Reign]) -> Duration {
    let mut longest = Duration::ZERO;
    for (i, one) in reigns.iter().enumerate() {
        for other in reigns.iter().skip(i + 1).filter(|other| other.port != one.port) {
            let both = one.until.min(other.until).saturating_sub(one.from.max(other.from));
            longest = longest.max(both);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Mac;

    const STEP: Duration = Duration::from_millis(100);
    const SILENCE: Duration = Duration::from_millis(360);

    fn advert(priority: u8) -> Header {
        let source = IpAddr::from([10, 0, 0, 1]);
        let class = Class::Vrrp(Vrrp { version: 3, vrid: 77, priority, source });
        Header { destination: Mac([1; 6]), source: Mac([2; 6]), class }
    }

    fn wire(adverts: &[(u32, usize, u8)]) -> Wire {
        let mut wire = Wire::default();
        for (step, port, priority) in adverts {
            wire.note(STEP * *step, Port(*port), &advert(*priority));
        }
        wire
    }

    #[test]
    fn a_takeover_after_silence_is_two_reigns_without_overlap() {
        let wire = wire(&[(0, 0, 100), (1, 0, 100), (2, 0, 100), (6, 1, 90), (7, 1, 90)]);
        let reigns = wire.reigns(77, false, SILENCE);
        let ends: Vec<_> = reigns.iter().map(|r| (r.port.0, r.from, r.until)).collect();
        assert_eq!(ends, [(0, Duration::ZERO, STEP * 2), (1, STEP * 6, STEP * 7)]);
        assert_eq!(longest_overlap(&reigns), Duration::ZERO);
        assert!(wire.reigns(78, false, SILENCE).is_empty(), "another router");
        assert!(wire.reigns(77, true, SILENCE).is_empty(), "another family");
    }

    #[test]
    fn two_at_once_overlap_as_long_as_both_speak() {
        let wire = wire(&[(0, 0, 100), (1, 1, 90), (2, 0, 100), (3, 1, 90), (4, 0, 100)]);
        assert_eq!(longest_overlap(&wire.reigns(77, false, SILENCE)), STEP * 2);
    }

    #[test]
    fn priority_zero_ends_a_reign_and_a_return_begins_another() {
        let wire = wire(&[(0, 0, 100), (1, 0, 0), (2, 0, 0), (3, 0, 100), (9, 0, 100)]);
        let reigns = wire.reigns(77, false, SILENCE);
        assert_eq!(reigns.len(), 3, "{reigns:?}");
        assert!(reigns[0].resigned && !reigns[1].resigned);
    }

    #[test]
    fn announcements_are_found_by_their_address() {
        let mut wire = Wire::default();
        let address = std::net::Ipv4Addr::new(10, 0, 0, 9);
        let class = Class::GratuitousArp(address);
        let header = Header { destination: Mac([0xff; 6]), source: Mac([2; 6]), class };
        wire.note(STEP, Port(4), &header);
        let found: Vec<_> = wire.announcements(address.into()).collect();
        assert_eq!(found, [(STEP, Port(4))]);
        assert_eq!(wire.since(STEP * 2).count(), 0);
    }
}
