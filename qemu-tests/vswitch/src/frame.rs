//! What a frame is, as far as faults and the oracle care: read from bytes, never trusted.
//!
//! A frame is looked at once, when it comes in. What can't be read is [`Class::Other`]; nothing
//! here fails, because a switch passes on what it doesn't understand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether it names a group of stations.
    pub fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// An ARP question or answer.
    Arp,
    /// An ARP packet by which a station announces its own address.
    GratuitousArp(Ipv4Addr),
    /// Reverse ARP: QEMU sends it by itself after a guest was restored.
    ReverseArp,
    /// Neighbour discovery of IPv6, but for the announcements below.
    NeighbourDiscovery,
    /// A neighbour advertisement that nobody asked for.
    UnsolicitedAdvertisement(Ipv6Addr),
    /// A VRRP packet.
    Vrrp(Vrrp),
    /// TCP with its ports.
    Tcp { from: u16, to: u16 },
    /// UDP with its ports.
    Udp { from: u16, to: u16 },
    /// ICMP of either version, without neighbour discovery.
    Icmp,
    /// Whatever else there is.
    Other,
}

/// The head of a VRRP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vrrp {
    pub version: u8,
    pub vrid: u8,
    pub priority: u8,
    /// The sender.
    pub source: IpAddr,
}

/// What the switch and the oracle know of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub destination: Mac,
    pub source: Mac,
    pub class: Class,
}

/// The smallest frame that has addresses and a type.
pub const SHORTEST_FRAME: usize = 14;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_REVERSE_ARP: u16 = 0x8035;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_ICMPV6: u8 = 58;
const PROTOCOL_VRRP: u8 = 112;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Router and neighbour solicitations and advertisements, and redirects.
const NEIGHBOUR_DISCOVERY: std::ops::RangeInclusive<u8> = 133..=137;
/// Where in its packet a piece belongs.
const FRAGMENT_OFFSET: u16 = 0x1fff;
/// The flag of an advertisement that answers a question.
const SOLICITED: u8 = 0x40;

impl Header {
    /// Reads a frame; none if it is too short to have addresses.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let destination = Mac(*frame.first_chunk()?);
        let source = Mac(*frame.get(6..)?.first_chunk()?);
        let kind = word(frame, 12)?;
        let payload = frame.get(SHORTEST_FRAME..)?;
        let class = match kind {
            ETHERTYPE_ARP => arp(payload),
            ETHERTYPE_REVERSE_ARP => Some(Class::ReverseArp),
            ETHERTYPE_IPV4 => ipv4(payload),
            ETHERTYPE_IPV6 => ipv6(payload),
            _ => None,
        };
        Some(Self { destination, source, class: class.unwrap_or(Class::Other) })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn arp(payload: &[u8]) -> Option<Class> {
    let sender: [u8; 4] = *payload.get(14..)?.first_chunk()?;
    let target: [u8; 4] = *payload.get(24..)?.first_chunk()?;
    let announces = sender == target && sender != [0; 4];
    Some(if announces { Class::GratuitousArp(sender.into()) } else { Class::Arp })
}

fn ipv4(packet: &[u8]) -> Option<Class> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let protocol = *packet.get(9)?;
    let source: [u8; 4] = *packet.get(12..)?.first_chunk()?;
    // Of a fragmented packet only the first piece has a header behind the address.
    let first_piece = word(packet, 6)? & FRAGMENT_OFFSET == 0;
    let payload = packet.get(header..).filter(|_| first_piece)?;
    above_ip(protocol, payload, IpAddr::V4(source.into()))
}

fn ipv6(packet: &[u8]) -> Option<Class> {
    let protocol = *packet.get(6)?;
    let source: [u8; 16] = *packet.get(8..)?.first_chunk()?;
    above_ip(protocol, packet.get(40..)?, IpAddr::V6(source.into()))
}

fn above_ip(protocol: u8, payload: &[u8], source: IpAddr) -> Option<Class> {
    let ports = || Some((word(payload, 0)?, word(payload, 2)?));
    match protocol {
        PROTOCOL_TCP => ports().map(|(from, to)| Class::Tcp { from, to }),
        PROTOCOL_UDP => ports().map(|(from, to)| Class::Udp { from, to }),
        PROTOCOL_VRRP => {
            let [head, vrid, priority] = *payload.first_chunk()?;
            Some(Class::Vrrp(Vrrp { version: head >> 4, vrid, priority, source }))
        }
        PROTOCOL_ICMPV6 => Some(icmpv6(payload).unwrap_or(Class::Icmp)),
        PROTOCOL_ICMP => Some(Class::Icmp),
        _ => None,
    }
}

fn icmpv6(payload: &[u8]) -> Option<Class> {
    let kind = *payload.first()?;
    if kind == NEIGHBOUR_ADVERTISEMENT && payload.get(4)? & SOLICITED == 0 {
        let target: [u8; 16] = *payload.get(8..)?.first_chunk()?;
        return Some(Class::UnsolicitedAdvertisement(target.into()));
    }
    NEIGHBOUR_DISCOVERY.contains(&kind).then_some(Class::NeighbourDiscovery)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame with a type and a payload, from one station to another.
    pub(crate) fn frame(to: u8, from: u8, kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x52, 0, 0, 0, 0, to, 0x52, 0, 0, 0, 0, from];
        if to == 0xff {
            bytes[..6].fill(0xff);
        }
        bytes.extend(kind.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    /// An announcement of an IPv4 address.
    pub(crate) fn gratuitous_arp(from: u8, address: [u8; 4]) -> Vec<u8> {
        let mut payload = vec![0, 1, 8, 0, 6, 4, 0, 1, 0x52, 0, 0, 0, 0, from];
        payload.extend(address);
        payload.extend([0; 6]);
        payload.extend(address);
        frame(0xff, from, ETHERTYPE_ARP, &payload)
    }

    /// An IPv4 packet of a protocol.
    pub(crate) fn packet(to: u8, from: u8, protocol: u8, body: &[u8]) -> Vec<u8> {
        let mut payload = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 255, protocol, 0, 0];
        payload.extend([10, 0, 0, from, 10, 0, 0, to]);
        payload.extend(body);
        frame(to, from, ETHERTYPE_IPV4, &payload)
    }

    fn class(bytes: &[u8]) -> Class {
        Header::read(bytes).expect("long enough").class
    }

    #[test]
    fn classes_are_told_apart() {
        assert_eq!(class(&gratuitous_arp(1, [10, 0, 0, 9])), {
            Class::GratuitousArp(Ipv4Addr::new(10, 0, 0, 9))
        });
        let mut question = gratuitous_arp(1, [10, 0, 0, 9]);
        *question.last_mut().expect("bytes") = 7;
        assert_eq!(class(&question), Class::Arp);
        assert_eq!(class(&packet(2, 1, 6, &[0, 80, 1, 0])), Class::Tcp { from: 80, to: 256 });
        assert_eq!(class(&packet(2, 1, 17, &[0, 53, 0, 9])), Class::Udp { from: 53, to: 9 });
        assert_eq!(class(&packet(2, 1, 1, &[8, 0])), Class::Icmp);
        let advert = packet(2, 1, 112, &[0x31, 77, 100, 1]);
        let source = IpAddr::from([10, 0, 0, 1]);
        let vrrp = Vrrp { version: 3, vrid: 77, priority: 100, source };
        assert_eq!(class(&advert), Class::Vrrp(vrrp));
        assert_eq!(class(&frame(2, 1, ETHERTYPE_REVERSE_ARP, &[])), Class::ReverseArp);
    }

    #[test]
    fn an_unsolicited_advertisement_announces_its_target() {
        let mut payload = vec![0x60, 0, 0, 0, 0, 24, 58, 255];
        payload.extend([0xfd; 32]);
        payload.extend([NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, 0xa0, 0, 0, 0]);
        payload.extend([0xfe; 16]);
        let mut bytes = frame(0xff, 1, ETHERTYPE_IPV6, &payload);
        let target = Ipv6Addr::from([0xfe; 16]);
        assert_eq!(class(&bytes), Class::UnsolicitedAdvertisement(target));
        bytes[SHORTEST_FRAME + 44] |= SOLICITED;
        assert_eq!(class(&bytes), Class::NeighbourDiscovery);
    }

    #[test]
    fn later_pieces_of_a_packet_have_no_ports() {
        let mut bytes = packet(2, 1, 6, &[0, 80, 1, 0]);
        bytes[SHORTEST_FRAME + 7] = 1;
        assert_eq!(class(&bytes), Class::Other);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let read = Header::read(&bytes);
            prop_assert_eq!(read.is_some(), bytes.len() >= SHORTEST_FRAME);
        }

        #[test]
        fn no_damage_to_a_known_frame_panics(at in 0_usize..60, value: u8, cut in 0_usize..60) {
            let mut bytes = gratuitous_arp(1, [10, 0, 0, 9]);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            let _read = Header::read(&bytes);
        }
    }
}
