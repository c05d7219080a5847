//! What the switch recorded, read: adverts, announcements.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use vrrp::packet::{AcceptedChecksum, Ipv4Checksum, Metadata, parse};

use crate::lab::{Frame, Lab};

/// An advert on the wire.
#[derive(Debug, Clone)]
pub(crate) struct Advert {
    pub at: Instant,
    pub node: usize,
    pub vrid: u8,
    pub priority: u8,
    pub addresses: Vec<IpAddr>,
    pub ttl: u8,
    pub destination: IpAddr,
    /// Whether its checksum leaves the IP header out, as RFC 9568 has it over IPv4.
    pub rfc_checksum: bool,
    pub sender_mac: [u8; 6],
}

/// All good adverts, in the order in which they were sent.
pub(crate) fn adverts(lab: &Lab) -> Vec<Advert> {
    lab.frames().iter().filter_map(advert).collect()
}

fn advert(frame: &Frame) -> Option<Advert> {
    let bytes = &frame.bytes;
    let (metadata, payload) = match bytes.get(12..14)? {
        [0x08, 0x00] if bytes.get(23) == Some(&112) => {
            let length = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
            let start = 14 + usize::from(bytes[14] & 15) * 4;
            let address = |at: usize| {
                Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]).into()
            };
            let metadata =
                Metadata { source: address(26), destination: address(30), ttl: bytes[22] };
            (metadata, bytes.get(start..14 + length)?)
        }
        [0x86, 0xdd] if bytes.get(20) == Some(&112) => {
            let length = usize::from(u16::from_be_bytes([bytes[18], bytes[19]]));
            let address = |at: usize| {
                let octets: [u8; 16] = bytes[at..at + 16].try_into().expect("sixteen");
                Ipv6Addr::from(octets).into()
            };
            let metadata =
                Metadata { source: address(22), destination: address(38), ttl: bytes[21] };
            (metadata, bytes.get(54..54 + length)?)
        }
        _ => return None,
    };
    let advert = parse(payload, &metadata, AcceptedChecksum::Either).ok()?;
    let alone = AcceptedChecksum::Only(Ipv4Checksum::PacketOnly);
    Some(Advert {
        at: frame.at,
        node: frame.node,
        vrid: advert.vrid,
        priority: advert.priority,
        addresses: advert.addresses.iter().collect(),
        ttl: metadata.ttl,
        destination: metadata.destination,
        rfc_checksum: parse(payload, &metadata, alone).is_ok(),
        sender_mac: bytes[6..12].try_into().expect("six"),
    })
}

/// When a node told the neighbours of an address.
pub(crate) fn announcements(lab: &Lab, node: usize, address: IpAddr) -> Vec<Instant> {
    let of = |frame: &&Frame| {
        let target: Option<IpAddr> = match frame.bytes.get(12..14) {
            // To everyone; the kernel's own answers go to whoever asked.
            Some([0x08, 0x06]) if frame.bytes.starts_with(&[0xff; 6]) => {
                frame.bytes.get(28..32).map(|a| IpAddr::from([a[0], a[1], a[2], a[3]]))
            }
            Some([0x86, 0xdd]) if frame.bytes.get(54) == Some(&136) => {
                let octets: Option<[u8; 16]> =
                    frame.bytes.get(62..78).and_then(|target| target.try_into().ok());
                octets.map(IpAddr::from)
            }
            _ => None,
        };
        frame.node == node && target == Some(address)
    };
    lab.frames().iter().filter(of).map(|frame| frame.at).collect()
}
