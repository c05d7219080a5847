//! The frames that tell the neighbours, byte by byte.

use std::net::{Ipv4Addr, Ipv6Addr};

use vrrp::announce::{gratuitous_arp, neighbour_advertisement};

const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0a];

#[test]
fn a_gratuitous_arp_names_the_address_twice() {
    let frame = gratuitous_arp(MAC, Ipv4Addr::new(10, 0, 0, 9));
    let expected = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, 0x0a, 0x08, 0x06, // Ethernet
        0, 1, 0x08, 0, 6, 4, 0, 1, // Ethernet and IPv4, request
        0x02, 0, 0, 0, 0, 0x0a, 10, 0, 0, 9, // sender
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 10, 0, 0, 9, // target
    ];
    assert_eq!(frame, expected);
}

#[test]
fn a_neighbour_advertisement_has_router_and_override_and_not_solicited() {
    let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    let address = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let frame = neighbour_advertisement(MAC, source, address, true);
    assert_eq!(frame[..14], [0x33, 0x33, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 0x0a, 0x86, 0xdd]);
    assert_eq!(frame[14..22], [0x60, 0, 0, 0, 0, 32, 58, 255]);
    assert_eq!(frame[22..38], source.octets());
    assert_eq!(frame[54..56], [136, 0]);
    // fe80 + 2 + ff02 + 1 + 3a + 20 of pseudo-header, 8800 + a000 + fe80 + 1 + 0201 + 0200 + a.
    assert_eq!(frame[56..58], [0xd7, 0x90]);
    assert_eq!(frame[58..62], [0xa0, 0, 0, 0]);
    assert_eq!(frame[62..78], address.octets());
    assert_eq!(frame[78..], [2, 1, 0x02, 0, 0, 0, 0, 0x0a]);
}
