//! The programs, run by a small interpreter over packets of both kinds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use vrrp::announce::{gratuitous_arp, neighbour_advertisement};

use super::*;

/// Runs a program over a packet. `network` is what stands before `data` in the network header.
fn accepts(program: &[Instruction], data: &[u8], network: &[u8]) -> bool {
    let (mut a, mut x, mut memory, mut at) = (0_u32, 0_u32, 0_u32, 0_usize);
    let load = |from: u32, bytes: usize| -> Option<u32> {
        let (buffer, from) = if from >= NETWORK_HEADER {
            (network, (from - NETWORK_HEADER) as usize)
        } else {
            (data, from as usize)
        };
        let part = buffer.get(from..from + bytes)?;
        Some(part.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte)))
    };
    loop {
        let one = program[at];
        at += 1;
        let loaded = match one.code {
            LOAD_WORD => load(one.operand, 4).map(|value| a = value),
            LOAD_HALF => load(one.operand, 2).map(|value| a = value),
            LOAD_BYTE => load(one.operand, 1).map(|value| a = value),
            LOAD_HALF_BEHIND_X => load(x + one.operand, 2).map(|value| a = value),
            LOAD_BYTE_BEHIND_X => load(x + one.operand, 1).map(|value| a = value),
            LOAD_X_IP_HEADER => load(one.operand, 1).map(|value| x = (value & 15) * 4),
            _ => Some(()),
        };
        // The kernel ends a program that reads beyond the packet, and drops the packet.
        if loaded.is_none() {
            return false;
        }
        let jump = |holds: bool| usize::from(if holds { one.jump_true } else { one.jump_false });
        match one.code {
            LOAD_LENGTH => a = u32::try_from(data.len()).expect("short"),
            LOAD_X_MEMORY => x = memory,
            LOAD_X_NUMBER => x = one.operand,
            STORE => memory = a,
            ADD_NUMBER => a += one.operand,
            ADD_X => a += x,
            SUBTRACT_X => a = a.wrapping_sub(x),
            SHIFT_LEFT => a <<= one.operand,
            JUMP_EQUAL => at += jump(a == one.operand),
            JUMP_AT_LEAST => at += jump(a >= one.operand),
            RETURN => return one.operand != 0,
            _ => {}
        }
    }
}

const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn ipv4_packet(ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0xc0, 0, 0, 0, 0, 0, 0, ttl, 112, 0, 0];
    packet.extend(PEER.octets());
    packet.extend([224, 0, 0, 18]);
    packet.extend(payload);
    packet
}

fn wanted(version: Version) -> Wanted<'static> {
    Wanted { ipv6: false, version, vrid: 51, least_ttl: 255, peers: &[] }
}

const V3: [u8; 12] = [0x31, 51, 100, 1, 0, 100, 0, 0, 192, 0, 2, 10];
const V2: [u8; 20] = [0x21, 51, 100, 1, 1, 1, 0, 0, 192, 0, 2, 10, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn an_advert_of_our_router_passes_and_another_does_not() {
    let v3 = adverts(&wanted(Version::V3));
    let v2 = adverts(&wanted(Version::V2));
    assert!(accepts(&v3, &ipv4_packet(255, &V3), &[]));
    assert!(accepts(&v2, &ipv4_packet(255, &V2), &[]));
    assert!(!accepts(&v2, &ipv4_packet(255, &V3), &[]), "another version");
    assert!(!accepts(&v3, &ipv4_packet(254, &V3), &[]), "it came through a router");
    let change = |at: usize, value: u8| {
        let mut packet = V3;
        packet[at] = value;
        accepts(&v3, &ipv4_packet(255, &packet), &[])
    };
    assert!(!change(1, 52), "another VRID");
    assert!(!change(0, 0x32), "another type");
    assert!(!change(3, 2), "another length");
    let signed = [&V3[..], &[0; TRAILER_BYTES]].concat();
    assert!(accepts(&v3, &ipv4_packet(255, &signed), &[]));
    assert!(!accepts(&v3, &ipv4_packet(255, &signed[..39]), &[]));
    let with_options = {
        let mut packet = ipv4_packet(255, &[&[1; 4][..], &V3].concat());
        packet[0] = 0x46;
        packet
    };
    assert!(accepts(&v3, &with_options, &[]));
}

#[test]
fn only_listed_peers_pass() {
    let peer = [IpAddr::from([192, 0, 2, 7]), IpAddr::V4(PEER)];
    let of = |peers| adverts(&Wanted { peers, least_ttl: 0, ..wanted(Version::V3) });
    assert!(accepts(&of(&peer), &ipv4_packet(64, &V3), &[]));
    assert!(!accepts(&of(&peer[..1]), &ipv4_packet(64, &V3), &[]));
}

#[test]
fn ipv6_is_judged_by_the_header_before_the_socket() {
    let vip = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 10).octets();
    let advert = [&[0x31, 51, 100, 1, 0, 100, 0, 0][..], &vip].concat();
    let mut header = [0_u8; 40];
    header[7] = 255;
    header[20..24].copy_from_slice(&[1, 2, 3, 4]);
    let peers = [IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x0102, 0x0304))];
    let program = adverts(&Wanted { ipv6: true, peers: &peers, ..wanted(Version::V3) });
    assert!(accepts(&program, &advert, &header));
    header[7] = 64;
    assert!(!accepts(&program, &advert, &header));
    header[7] = 255;
    header[23] = 9;
    assert!(!accepts(&program, &advert, &header));
}

#[test]
fn claims_on_our_addresses_pass_and_other_talk_does_not() {
    let mac = [2, 0, 0, 0, 0, 9];
    let vips = [IpAddr::from([192, 0, 2, 10]), IpAddr::from([192, 0, 2, 11])];
    let about = |last| gratuitous_arp(mac, Ipv4Addr::new(192, 0, 2, last)).to_vec();
    let program = arp_claims(&vips);
    assert!(accepts(&program, &about(10), &[]) && accepts(&program, &about(11), &[]));
    assert!(!accepts(&program, &about(12), &[]));

    let vip = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 10);
    let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 11);
    let about = |address| neighbour_advertisement(mac, other, address, false).to_vec();
    let program = neighbour_claims(&[IpAddr::V6(vip)]);
    assert!(accepts(&program, &about(vip), &[]));
    assert!(!accepts(&program, &about(other), &[]));
}

proptest! {
    /// The filter may let garbage through, but never drops what the daemon would believe.
    #[test]
    fn what_the_daemon_would_believe_passes(
        packet in prop::collection::vec(any::<u8>(), 0..64), count in 0..4_u8, v2: bool, fit: bool
    ) {
        let mut packet = packet;
        let version = if v2 { Version::V2 } else { Version::V3 };
        let start = [if v2 { 0x21 } else { 0x31 }, 51, 100, count, 0, 1];
        if let Some(header) = packet.get_mut(..6) {
            header.copy_from_slice(&start);
        }
        if fit {
            packet.resize(8 + usize::from(count) * 4 + if v2 { 8 } else { 0 }, 0);
        }
        let metadata = vrrp::packet::Metadata {
            source: PEER.into(), destination: IpAddr::from([224, 0, 0, 18]), ttl: 255,
        };
        let either = vrrp::packet::AcceptedChecksum::Either;
        let passed = accepts(&adverts(&wanted(version)), &ipv4_packet(255, &packet), &[]);
        let whole = match vrrp::packet::parse(&packet, &metadata, either) {
            Ok(advert) => advert.vrid == 51,
            Err(vrrp::packet::PacketError::WrongChecksum { .. }) => packet[1] == 51,
            Err(_) => false,
        };
        prop_assert!(passed || !whole);
    }
}
