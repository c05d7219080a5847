//! Telling the neighbours where a virtual address lives now: whole Ethernet frames.
//!
//! IPv4 has the gratuitous ARP request, in which sender and target address are both the virtual
//! one. IPv6 has the unsolicited neighbour advertisement to all nodes, with the override flag,
//! without the solicited one, and with the router flag where the machine is one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::sum::Sum;
use crate::wellknown::multicast_mac;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// The length of [`gratuitous_arp`] in bytes: Ethernet header and ARP.
pub const ARP_FRAME_BYTES: usize = 14 + 28;
/// The length of [`neighbour_advertisement`] in bytes: Ethernet, IPv6, `ICMPv6`.
pub const NA_FRAME_BYTES: usize = 14 + 40 + ICMP_BYTES;
/// The `ICMPv6` part: 8 of header, 16 of target, 8 of link-layer address option.
const ICMP_BYTES: usize = 32;

const BROADCAST: Mac = [0xff; 6];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const FLAG_ROUTER: u8 = 0x80;
const FLAG_OVERRIDE: u8 = 0x20;
const OPTION_TARGET_LINK_ADDRESS: u8 = 2;
/// Neighbour discovery drops everything that could have come through a router.
const HOP_LIMIT: u8 = 255;

/// Appends to a frame of known length; the offsets then need not be written down.
struct Frame<const N: usize> {
    bytes: [u8; N],
    filled: usize,
}

impl<const N: usize> Frame<N> {
    fn new() -> Self {
        Self { bytes: [0; N], filled: 0 }
    }

    fn put(mut self, part: &[u8]) -> Self {
        let end = self.filled + part.len();
        self.bytes[self.filled..end].copy_from_slice(part);
        self.filled = end;
        self
    }
}

/// A broadcast that makes every neighbour's ARP entry for `address` point at `mac`.
///
/// It is shorter than an Ethernet frame may be on the wire; drivers pad it.
pub fn gratuitous_arp(mac: Mac, address: Ipv4Addr) -> [u8; ARP_FRAME_BYTES] {
    // Ethernet and IPv4, address lengths 6 and 4, operation 1: request.
    let kinds = [0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x01];
    Frame::new()
        .put(&BROADCAST)
        .put(&mac)
        .put(&ETHERTYPE_ARP)
        .put(&kinds)
        .put(&mac)
        .put(&address.octets())
        .put(&BROADCAST)
        .put(&address.octets())
        .bytes
}

/// A message to all nodes that makes every neighbour's entry for `address` point at `mac`.
///
/// RFC 9568 speaks of routers and wants the router flag always. keepalived sets it only where the
/// interface `forwards`, since a host that claims to be a router invites traffic it will drop.
pub fn neighbour_advertisement(
    mac: Mac,
    source: Ipv6Addr,
    address: Ipv6Addr,
    forwards: bool,
) -> [u8; NA_FRAME_BYTES] {
    let flags = if forwards { FLAG_ROUTER | FLAG_OVERRIDE } else { FLAG_OVERRIDE };
    let icmp = |checksum: [u8; 2]| {
        Frame::<ICMP_BYTES>::new()
            .put(&[NEIGHBOUR_ADVERTISEMENT, 0])
            .put(&checksum)
            .put(&[flags, 0, 0, 0])
            .put(&address.octets())
            .put(&[OPTION_TARGET_LINK_ADDRESS, 1])
            .put(&mac)
            .bytes
    };
    let length = u16::try_from(ICMP_BYTES).expect("32 fits");
    let checksum = icmp_checksum(source, ALL_NODES, &icmp([0, 0]));
    Frame::new()
        .put(&multicast_mac(&IpAddr::V6(ALL_NODES)))
        .put(&mac)
        .put(&ETHERTYPE_IPV6)
        .put(&[0x60, 0, 0, 0])
        .put(&length.to_be_bytes())
        .put(&[ICMPV6, HOP_LIMIT])
        .put(&source.octets())
        .put(&ALL_NODES.octets())
        .put(&icmp(checksum.to_be_bytes()))
        .bytes
}

fn icmp_checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8; ICMP_BYTES]) -> u16 {
    let mut sum = Sum::default();
    sum.add(&source.octets());
    sum.add(&destination.octets());
    sum.add(&[0, ICMPV6]);
    sum.add_length(message.len());
    sum.add(message);
    sum.folded()
}
