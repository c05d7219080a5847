//! Adverts as whole Ethernet frames, for routers with a virtual MAC.
//!
//! The kernel sends packets of a socket with the interface's own MAC. Where switches shall learn the
//! virtual one, the frame is put together here and sent as it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp::announce::Mac;
use vrrp::wellknown::{IP_PROTOCOL, TTL, multicast_mac};

/// What stands before an advert: Ethernet, and the longer of the two IP headers.
pub const FRAME_HEADER_BYTES: usize = 14 + 40;
/// Network control, precedence 6.
const TRAFFIC_CLASS: u8 = 0xc0;
/// The advert is one packet: routers don't cut it.
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];

/// The frame of one multicast advert; none if the addresses are of two families.
pub fn advert(mac: Mac, source: IpAddr, group: IpAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + payload.len());
    frame.extend(multicast_mac(&group));
    frame.extend(mac);
    match (source, group) {
        (IpAddr::V4(source), IpAddr::V4(group)) => ipv4(&mut frame, source, group, payload)?,
        (IpAddr::V6(source), IpAddr::V6(group)) => ipv6(&mut frame, source, group, payload)?,
        _ => return None,
    }
    frame.extend(payload);
    Some(frame)
}

fn ipv4(frame: &mut Vec<u8>, source: Ipv4Addr, group: Ipv4Addr, payload: &[u8]) -> Option<()> {
    let [high, low] = u16::try_from(20 + payload.len()).ok()?.to_be_bytes();
    let mut header =
        vec![0x45, TRAFFIC_CLASS, high, low, 0, 0, DONT_FRAGMENT[0], DONT_FRAGMENT[1], TTL];
    header.extend([IP_PROTOCOL, 0, 0]);
    header.extend(source.octets());
    header.extend(group.octets());
    let words = header.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(*high) << 8 | u32::from(*low),
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = !u16::try_from(sum).ok()?;
    header.splice(10..12, checksum.to_be_bytes());
    frame.extend([0x08, 0x00]);
    frame.extend(header);
    Some(())
}

fn ipv6(frame: &mut Vec<u8>, source: Ipv6Addr, group: Ipv6Addr, payload: &[u8]) -> Option<()> {
    let length = u16::try_from(payload.len()).ok()?.to_be_bytes();
    frame.extend([0x86, 0xdd, 0x60 | (TRAFFIC_CLASS >> 4), TRAFFIC_CLASS << 4, 0, 0]);
    frame.extend(length);
    frame.extend([IP_PROTOCOL, TTL]);
    frame.extend(source.octets());
    frame.extend(group.octets());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vrrp::wellknown::Family;

    #[test]
    fn an_ipv4_frame_has_a_header_that_adds_up() {
        let mac = Family::V4.virtual_mac(51);
        let frame = advert(mac, [192, 0, 2, 1].into(), Family::V4.group(), &[7; 12]).expect("one");
        assert_eq!(frame[..14], [1, 0, 0x5e, 0, 0, 0x12, 0, 0, 0x5e, 0, 1, 51, 8, 0]);
        assert_eq!(frame[14 + 2..14 + 4], [0, 32]);
        assert_eq!((frame[14 + 8], frame[14 + 9]), (255, 112));
        let sum: u32 =
            frame[14..34].chunks(2).map(|p| u32::from(p[0]) << 8 | u32::from(p[1])).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }

    #[test]
    fn an_ipv6_frame_says_its_length_and_hop_limit() {
        let mac = Family::V6.virtual_mac(51);
        let source = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
        let frame = advert(mac, source, Family::V6.group(), &[7; 24]).expect("one");
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 0x12]);
        assert_eq!(frame[14..22], [0x6c, 0, 0, 0, 0, 24, 112, 255]);
        assert_eq!(frame.len(), 14 + 40 + 24);
        assert_eq!(advert(mac, source, Family::V4.group(), &[]), None);
    }
}
