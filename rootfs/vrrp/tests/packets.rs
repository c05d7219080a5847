//! Packets whose bytes were worked out by hand, each way of damaging one, and round trips.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use vrrp::packet::{
    ADVERT_BYTES_MAX, AcceptedChecksum, Admission, Advert, Authentication, EncodeError,
    Ipv4Checksum, Metadata, Outgoing, PacketError, Writing, address_difference, parse,
};
use vrrp::wellknown::{Family, GROUP_V4, GROUP_V6, TTL};
use vrrp::{Interval, Version};

const EITHER: AcceptedChecksum = AcceptedChecksum::Either;
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 200, 16));
const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 200, 1));
const LINK_LOCAL_VIP: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
const LINK_LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2));

/// VRID 51, priority 100, 1 s, password 1111: the example configuration of keepalived.
const V2: [u8; 20] =
    [0x21, 51, 100, 1, 1, 1, 0x8e, 0xae, 192, 168, 200, 16, b'1', b'1', b'1', b'1', 0, 0, 0, 0];
const V3: [u8; 12] = [0x31, 51, 100, 1, 0, 100, 0xe1, 0xad, 192, 168, 200, 16];
const V3_WITH_PSEUDO_HEADER: [u8; 12] = [0x31, 51, 100, 1, 0, 100, 0x78, 0x74, 192, 168, 200, 16];
const V3_IPV6: [u8; 24] =
    [0x31, 51, 100, 1, 0, 100, 0x6d, 0xc5, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

fn second() -> Interval {
    Interval::from_seconds(1).expect("fits")
}

fn received_from(source: IpAddr) -> Metadata {
    Metadata { source, destination: Family::of(&source).group(), ttl: TTL }
}

fn writing_from(source: IpAddr) -> Writing {
    Writing {
        source,
        destination: Family::of(&source).group(),
        ipv4_checksum: Ipv4Checksum::PacketOnly,
        authentication: Authentication::password(b"1111"),
        first_ipv6_link_local: true,
    }
}

fn outgoing(version: Version, addresses: &[IpAddr]) -> Outgoing<'_> {
    Outgoing { version, vrid: 51, priority: 100, interval: second(), addresses }
}

fn written(outgoing: &Outgoing<'_>, writing: &Writing) -> Vec<u8> {
    let mut buffer = [0xaa; ADVERT_BYTES_MAX];
    let length = outgoing.encode(writing, &mut buffer).expect("can be written");
    buffer[..length].to_vec()
}

fn strict(version: Version) -> Admission {
    let authentication = match version {
        Version::V2 => Authentication::password(b"1111"),
        Version::V3 => Authentication::None,
    };
    Admission { authentication, ..Admission::strict(version, 51, second()) }
}

fn dropped(bytes: &[u8]) -> PacketError {
    parse(bytes, &received_from(ROUTER), EITHER).expect_err("must be dropped")
}

fn refused(admission: &Admission, bytes: &[u8], metadata: &Metadata) -> PacketError {
    let advert = parse(bytes, metadata, EITHER).expect("an undamaged packet");
    admission.admit(&advert, metadata).expect_err("must be refused")
}

/// Puts the checksum right again after a change, so that the change itself is what is found.
fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[6..8].fill(0);
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !u16::try_from(sum).expect("folded");
    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn changed(bytes: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] = value;
    with_checksum(bytes)
}

#[test]
fn known_packets_are_written_byte_by_byte() {
    let writing = writing_from(ROUTER);
    let with_ends = Writing { ipv4_checksum: Ipv4Checksum::PseudoHeader, ..writing };
    assert_eq!(written(&outgoing(Version::V2, &[VIP]), &writing), V2);
    assert_eq!(written(&outgoing(Version::V3, &[VIP]), &writing), V3);
    assert_eq!(written(&outgoing(Version::V3, &[VIP]), &with_ends), V3_WITH_PSEUDO_HEADER);
    let ipv6 = written(&outgoing(Version::V3, &[LINK_LOCAL_VIP]), &writing_from(LINK_LOCAL));
    assert_eq!(ipv6, V3_IPV6);
}

#[test]
fn known_packets_are_read_and_admitted() {
    let packets: [(&[u8], Version, IpAddr); 4] = [
        (&V2, Version::V2, ROUTER),
        (&V3, Version::V3, ROUTER),
        (&V3_WITH_PSEUDO_HEADER, Version::V3, ROUTER),
        (&V3_IPV6, Version::V3, LINK_LOCAL),
    ];
    for (bytes, version, source) in packets {
        let metadata = received_from(source);
        let advert = parse(bytes, &metadata, EITHER).expect("a good packet");
        assert_eq!((advert.vrid, advert.priority, advert.interval), (51, 100, second()));
        assert_eq!(advert.addresses.count(), 1);
        strict(version).admit(&advert, &metadata).expect("a welcome packet");
    }
}

#[test]
fn one_checksum_form_can_be_insisted_on() {
    let read = |bytes, form| parse(bytes, &received_from(ROUTER), AcceptedChecksum::Only(form));
    assert!(read(&V3, Ipv4Checksum::PacketOnly).is_ok());
    assert!(read(&V3_WITH_PSEUDO_HEADER, Ipv4Checksum::PseudoHeader).is_ok());
    assert!(read(&V3, Ipv4Checksum::PseudoHeader).is_err());
    assert!(read(&V3_WITH_PSEUDO_HEADER, Ipv4Checksum::PacketOnly).is_err());
    assert!(read(&V2, Ipv4Checksum::PseudoHeader).is_ok(), "version 2 never has one");
}

#[test]
fn an_ipv6_checksum_covers_its_pseudo_header() {
    let other = Metadata { source: LINK_LOCAL_VIP, ..received_from(LINK_LOCAL) };
    let error = parse(&V3_IPV6, &other, EITHER).expect_err("another sender");
    assert!(matches!(error, PacketError::WrongChecksum { found: 0x6dc5, .. }), "{error}");
}

#[test]
fn each_damage_has_its_name() {
    assert_eq!(dropped(&V3[..7]), PacketError::Short { length: 7 });
    assert_eq!(dropped(&changed(&V3, 0, 0x41)), PacketError::WrongVersion { found: 4 });
    assert_eq!(dropped(&changed(&V3, 0, 0x32)), PacketError::WrongType { found: 2 });
    assert_eq!(dropped(&changed(&V3, 3, 0)), PacketError::NoAddress);
    assert_eq!(dropped(&V3[..11]), PacketError::WrongLength { length: 11, promised: 12 });
    assert_eq!(dropped(&V2[..12]), PacketError::WrongLength { length: 12, promised: 20 });
    let trailing = [&V3[..], &[0; 27]].concat();
    assert_eq!(dropped(&trailing), PacketError::WrongLength { length: 39, promised: 12 });
    assert_eq!(dropped(&changed(&V3, 5, 0)), PacketError::NoInterval);
    assert_eq!(dropped(&changed(&V2, 5, 0)), PacketError::NoInterval);
    let mut flipped = V3;
    flipped[2] ^= 1;
    assert!(matches!(dropped(&flipped), PacketError::WrongChecksum { found: 0xe1ad, .. }));
    let error = parse(&V2, &received_from(LINK_LOCAL), EITHER).expect_err("no such thing");
    assert_eq!(error, PacketError::Version2OverIpv6);
    let mixed = Metadata { destination: IpAddr::V6(GROUP_V6), ..received_from(ROUTER) };
    let error = parse(&V3, &mixed, EITHER).expect_err("two families");
    assert!(matches!(error, PacketError::MixedFamilies { .. }));
}

#[test]
fn reserved_bits_are_zero_when_sent_and_ignored_when_received() {
    assert_eq!(written(&outgoing(Version::V3, &[VIP]), &writing_from(ROUTER))[4] >> 4, 0);
    let bytes = changed(&V3, 4, 0xf0);
    let advert = parse(&bytes, &received_from(ROUTER), EITHER).expect("reserved bits are free");
    assert_eq!(advert.interval, second());
}

#[test]
fn adverts_for_others_are_refused_by_name() {
    let metadata = received_from(ROUTER);
    let routed = Metadata { ttl: 254, ..metadata };
    let error = refused(&strict(Version::V3), &V3, &routed);
    assert_eq!(error, PacketError::WrongTtl { found: 254, wanted: 255 });
    let error = refused(&strict(Version::V3), &changed(&V3, 1, 52), &metadata);
    assert_eq!(error, PacketError::WrongVrid { found: 52, ours: 51 });
    let error = refused(&strict(Version::V2), &V3, &metadata);
    assert_eq!(error, PacketError::WrongVersion { found: 3 });
    let error = refused(&strict(Version::V2), &changed(&V2, 5, 3), &metadata);
    assert_eq!(error, PacketError::WrongInterval { found: 3, ours: 1 });
}

#[test]
fn a_unicast_peer_may_be_given_a_lower_ttl() {
    let lenient = Admission { ttl_min: 250, ..strict(Version::V3) };
    let advert = parse(&V3, &received_from(ROUTER), EITHER).expect("a good packet");
    let at = |ttl| lenient.admit(&advert, &Metadata { ttl, ..received_from(ROUTER) });
    assert_eq!(at(250), Ok(()));
    assert_eq!(at(249), Err(PacketError::WrongTtl { found: 249, wanted: 250 }));
}

#[test]
fn version_2_passwords_must_match_in_type_and_text() {
    let metadata = received_from(ROUTER);
    let open = Admission::strict(Version::V2, 51, second());
    assert_eq!(refused(&open, &V2, &metadata), PacketError::WrongAuthType { found: 1 });
    let unset = changed(&V2, 4, 0);
    let error = refused(&strict(Version::V2), &unset, &metadata);
    assert_eq!(error, PacketError::WrongAuthType { found: 0 });
    let error = refused(&strict(Version::V2), &changed(&V2, 4, 2), &metadata);
    assert_eq!(error, PacketError::WrongAuthType { found: 2 });
    let error = refused(&strict(Version::V2), &changed(&V2, 12, b'2'), &metadata);
    assert_eq!(error, PacketError::WrongPassword);
    let advert = parse(&unset, &metadata, EITHER).expect("a good packet");
    assert_eq!(open.admit(&advert, &metadata), Ok(()), "bytes of type 0 say nothing");
}

#[test]
fn the_first_ipv6_address_is_link_local_unless_allowed_otherwise() {
    let global = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    let first = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let addresses = [global];
    let outgoing = outgoing(Version::V3, &addresses);
    let strict_writing = writing_from(LINK_LOCAL);
    let lenient = Writing { first_ipv6_link_local: false, ..strict_writing };
    let error = outgoing.encode(&strict_writing, &mut [0; 64]).expect_err("not link-local");
    assert_eq!(error, EncodeError::FirstNotLinkLocal { first });
    let bytes = written(&outgoing, &lenient);
    let metadata = received_from(LINK_LOCAL);
    let error = refused(&strict(Version::V3), &bytes, &metadata);
    assert_eq!(error, PacketError::FirstNotLinkLocal { first });
    let open = Admission { first_ipv6_link_local: false, ..strict(Version::V3) };
    let advert = parse(&bytes, &metadata, EITHER).expect("a good packet");
    assert_eq!(open.admit(&advert, &metadata), Ok(()));
}

#[test]
fn other_addresses_are_reported_and_not_refused() {
    let metadata = received_from(ROUTER);
    let advert = parse(&V3, &metadata, EITHER).expect("a good packet");
    assert_eq!(strict(Version::V3).admit(&advert, &metadata), Ok(()));
    assert_eq!(address_difference(&advert, &[VIP]), None);
    assert_eq!(address_difference(&advert, &[VIP, ROUTER]), Some(ROUTER));
    assert_eq!(address_difference(&advert, &[ROUTER]), Some(VIP));
}

#[test]
fn what_no_packet_can_say_is_not_written() {
    let tried = |outgoing: Outgoing<'_>, source| {
        outgoing.encode(&writing_from(source), &mut [0; ADVERT_BYTES_MAX])
    };
    let many = [VIP; 256];
    let error = tried(outgoing(Version::V3, &many), ROUTER);
    assert_eq!(error, Err(EncodeError::AddressCount { count: 256 }));
    assert_eq!(
        tried(outgoing(Version::V3, &[]), ROUTER),
        Err(EncodeError::AddressCount { count: 0 })
    );
    let error = tried(outgoing(Version::V3, &[VIP]), LINK_LOCAL);
    assert_eq!(error, Err(EncodeError::MixedFamilies { address: VIP }));
    let error = tried(outgoing(Version::V2, &[LINK_LOCAL]), LINK_LOCAL);
    assert_eq!(error, Err(EncodeError::Version2OverIpv6));
    let quick = Interval::from_centiseconds(10).expect("fits");
    let error = tried(Outgoing { interval: quick, ..outgoing(Version::V2, &[VIP]) }, ROUTER);
    assert_eq!(error, Err(EncodeError::NotWholeSeconds { centiseconds: 10 }));
    let slow = Interval::from_seconds(41).expect("fits");
    let error = tried(Outgoing { interval: slow, ..outgoing(Version::V3, &[VIP]) }, ROUTER);
    assert_eq!(error, Err(EncodeError::IntervalTooLong { centiseconds: 4100 }));
    let short = outgoing(Version::V3, &[VIP]).encode(&writing_from(ROUTER), &mut [0; 11]);
    assert_eq!(short, Err(EncodeError::BufferTooSmall { length: 11, wanted: 12 }));
}

#[test]
fn assigned_addresses_are_those_of_the_standard() {
    assert_eq!(Family::V4.group(), IpAddr::V4(GROUP_V4));
    assert_eq!(GROUP_V4.to_string(), "224.0.0.18");
    assert_eq!(GROUP_V6.to_string(), "ff02::12");
    assert_eq!(Family::V4.virtual_mac(51), [0, 0, 0x5e, 0, 1, 51]);
    assert_eq!(Family::V6.virtual_mac(51), [0, 0, 0x5e, 0, 2, 51]);
}

fn any_addresses() -> impl Strategy<Value = (IpAddr, Vec<IpAddr>)> {
    let ipv4 = (any::<[u8; 4]>(), prop::collection::vec(any::<[u8; 4]>(), 1..=255)).prop_map(
        |(source, list)| (source.into(), list.into_iter().map(IpAddr::from).collect::<Vec<_>>()),
    );
    let ipv6 = (any::<[u8; 16]>(), prop::collection::vec(any::<[u8; 16]>(), 1..=255)).prop_map(
        |(source, list)| (source.into(), list.into_iter().map(IpAddr::from).collect::<Vec<_>>()),
    );
    prop_oneof![ipv4, ipv6]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        (source, addresses) in any_addresses(),
        vrid in any::<u8>(),
        priority in any::<u8>(),
        seconds in 1_u16..=40,
        version_2 in any::<bool>(),
        pseudo in any::<bool>(),
        password in prop::option::of(any::<[u8; 8]>()),
    ) {
        let version = if version_2 && source.is_ipv4() { Version::V2 } else { Version::V3 };
        let interval = Interval::from_seconds(seconds).expect("fits");
        let form = if pseudo { Ipv4Checksum::PseudoHeader } else { Ipv4Checksum::PacketOnly };
        let writing = Writing {
            ipv4_checksum: form,
            authentication: password.map_or(Authentication::None, Authentication::Password),
            first_ipv6_link_local: false,
            ..writing_from(source)
        };
        let outgoing = Outgoing { version, vrid, priority, interval, addresses: &addresses };
        let bytes = written(&outgoing, &writing);
        let advert = parse(&bytes, &received_from(source), EITHER).expect("our own packet");
        let Advert { vrid: read_vrid, priority: read_priority, .. } = advert;
        prop_assert_eq!((advert.version, read_vrid, read_priority), (version, vrid, priority));
        prop_assert_eq!(advert.interval, interval);
        prop_assert_eq!(advert.addresses.iter().collect::<Vec<_>>(), addresses);
        if version == Version::V2 {
            prop_assert_eq!(advert.authentication(), Some(writing.authentication));
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        plausible in any::<bool>(),
        ipv6 in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if plausible && bytes.len() > 20 {
            bytes.truncate(20);
            bytes[0] = 0x21;
            bytes[3] = 1;
            bytes = with_checksum(bytes);
        }
        let metadata = received_from(if ipv6 { LINK_LOCAL } else { ROUTER });
        if let Ok(advert) = parse(&bytes, &metadata, EITHER) {
            prop_assert!(advert.addresses.count() > 0);
            let _ = strict(advert.version).admit(&advert, &metadata);
        }
    }

    #[test]
    fn one_flipped_bit_is_always_noticed(bit in 0_usize..96) {
        let mut bytes = V3;
        bytes[bit / 8] ^= 1 << (bit % 8);
        let only = AcceptedChecksum::Only(Ipv4Checksum::PacketOnly);
        prop_assert!(parse(&bytes, &received_from(ROUTER), only).is_err());
    }
}
