//! What keepalived 2.2.7 sent on a wire, read and written again byte by byte.
//!
//! Recorded from Debian's package on a veth pair: VRID 51, priority 100, our addresses as its VIPs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp::announce::{gratuitous_arp, neighbour_advertisement};
use vrrp::packet::{
    AcceptedChecksum, Admission, Authentication, Ipv4Checksum, Metadata, Outgoing, Writing, parse,
};
use vrrp::wellknown::{Family, TTL};
use vrrp::{Interval, Version};

const MAC: [u8; 6] = [0xa2, 0xd5, 0xaa, 0xe2, 0xe9, 0x0a];
const SENDER_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 200, 1);
const VIP_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 200, 16);
const SECOND_VIP_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 200, 17);
const SENDER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const SECOND_VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// Reads the recorded packet as its configuration says, and writes the same bytes from that.
fn same_both_ways(
    recorded: &str,
    version: Version,
    centiseconds: u16,
    source: IpAddr,
    vips: &[IpAddr],
) {
    let recorded = bytes(recorded);
    let interval = Interval::from_centiseconds(centiseconds).expect("fits");
    let destination = Family::of(&source).group();
    let metadata = Metadata { source, destination, ttl: TTL };
    let authentication = match version {
        Version::V2 => Authentication::password(b"1111"),
        Version::V3 => Authentication::None,
    };

    let advert = parse(&recorded, &metadata, AcceptedChecksum::Either).expect("a good packet");
    let admission = Admission { authentication, ..Admission::strict(version, 51, interval) };
    assert_eq!(admission.admit(&advert, &metadata), Ok(()));
    assert_eq!((advert.priority, advert.interval), (100, interval));
    assert_eq!(advert.addresses.iter().collect::<Vec<_>>(), vips);

    let outgoing = Outgoing { version, vrid: 51, priority: 100, interval, addresses: vips };
    let writing = Writing {
        source,
        destination,
        ipv4_checksum: Ipv4Checksum::PseudoHeader,
        authentication,
        first_ipv6_link_local: true,
    };
    let mut buffer = [0; 64];
    let length = outgoing.encode(&writing, &mut buffer).expect("can be written");
    assert_eq!(buffer[..length], recorded);
}

#[test]
fn its_version_2_adverts_with_a_password_are_ours() {
    let recorded = "21336402 010105f3 c0a8c810 c0a8c811 31313131 00000000";
    let vips = [VIP_V4.into(), SECOND_VIP_V4.into()];
    same_both_ways(recorded, Version::V2, 100, SENDER_V4.into(), &vips);
}

#[test]
fn its_version_3_adverts_over_ipv4_are_ours_with_the_pseudo_header() {
    let recorded = "31336401 003278a6 c0a8c810";
    same_both_ways(recorded, Version::V3, 50, SENDER_V4.into(), &[VIP_V4.into()]);
}

#[test]
fn its_version_3_adverts_over_ipv6_are_ours() {
    let recorded = "31336402 00643ffa fe800000 00000000 00000000 00000001
                    20010db8 00000000 00000000 00000001";
    let vips = [VIP_V6.into(), SECOND_VIP_V6.into()];
    same_both_ways(recorded, Version::V3, 100, SENDER_V6.into(), &vips);
}

#[test]
fn its_gratuitous_arp_is_ours() {
    let recorded = "ffffffffffff a2d5aae2e90a 0806 0001080006040001
                    a2d5aae2e90a c0a8c810 ffffffffffff c0a8c810";
    assert_eq!(gratuitous_arp(MAC, VIP_V4)[..], bytes(recorded));
}

#[test]
fn its_neighbour_advertisement_is_ours_for_a_machine_that_does_not_forward() {
    let recorded = "333300000001 a2d5aae2e90a 86dd 60000000 00203aff
                    fe800000 00000000 00000000 00000001 ff020000 00000000 00000000 00000001
                    880022d9 20000000 fe800000 00000000 00000000 00000001 0201 a2d5aae2e90a";
    assert_eq!(neighbour_advertisement(MAC, VIP_V6, VIP_V6, false)[..], bytes(recorded));
}
