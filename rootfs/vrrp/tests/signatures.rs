//! The signature of version 3 adverts: the packets of its specification, and what must not pass.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use vrrp::packet::{
    ADVERT_BYTES_MAX, AcceptedChecksum, Admission, Authentication, Freshness, Ipv4Checksum, Key,
    KeyError, Keyring, Metadata, Outgoing, PacketError, SENDERS_MAX, SignaturePolicy, Signer,
    TRAILER_BYTES, TrailerError, Verifier, Writing, parse,
};
use vrrp::wellknown::TTL;
use vrrp::{Interval, Version};

/// The appendix of the draft: VRID 51, priority 200, one address, key 1 of the bytes 00 to 1f.
const DRAFT_IPV4: &str = "3133c80100644402c0000264 010100006800000080000000
                          1b84bc4e8e43892dc6d98448f8ee2265";
const DRAFT_IPV6: &str = "3133c8010064a2e9 fe800000000000000000000000000100
                          010100006800000080000000 c8c56146ebfd66ee10ec4d8186461b78";
/// Its sequence 0x6800000080000000 as a time: that many seconds, and half of one.
const DRAFT_TIME: Duration = Duration::from_millis(0x6800_0000 * 1000 + 500);
const WINDOW: Freshness = Freshness::Window { seconds: 5 };

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn keyring() -> Keyring {
    let bytes: Vec<u8> = (0..32).collect();
    Keyring::new(vec![Key::new(1, &bytes).expect("a key")], 1).expect("a ring")
}

fn of(source: &str, destination: &str) -> Metadata {
    Metadata { source: address(source), destination: address(destination), ttl: TTL }
}

fn verify(
    verifier: &mut Verifier,
    freshness: Freshness,
    wall: Duration,
    packet: &[u8],
    metadata: &Metadata,
) -> Result<(), TrailerError> {
    let advert = parse(packet, metadata, AcceptedChecksum::Either).expect("an undamaged packet");
    verifier.verify(&keyring(), freshness, wall, metadata.source, &advert)
}

fn signed(signer: &mut Signer, freshness: Freshness, wall: Duration, ends: &Metadata) -> Vec<u8> {
    let vip = if ends.source.is_ipv4() { "192.0.2.100" } else { "fe80::100" };
    let vips = [address(vip)];
    let interval = Interval::from_seconds(1).expect("fits");
    let outgoing =
        Outgoing { version: Version::V3, vrid: 51, priority: 200, interval, addresses: &vips };
    let writing = Writing {
        source: ends.source,
        destination: ends.destination,
        ipv4_checksum: Ipv4Checksum::PacketOnly,
        authentication: Authentication::None,
        first_ipv6_link_local: true,
    };
    let mut buffer = [0; ADVERT_BYTES_MAX];
    let length = outgoing.encode(&writing, &mut buffer).expect("can be written");
    let length =
        signer.sign(&keyring(), freshness, wall, &writing, &mut buffer, length).expect("fits");
    buffer[..length].to_vec()
}

fn ipv4() -> Metadata {
    of("198.51.100.10", "224.0.0.18")
}

fn ipv6() -> Metadata {
    of("fe80::10", "fe80::20")
}

#[test]
fn the_packets_of_the_draft_are_written_byte_by_byte() {
    let write = |ends| signed(&mut Signer::default(), WINDOW, DRAFT_TIME, &ends);
    assert_eq!(write(ipv4()), bytes(DRAFT_IPV4));
    assert_eq!(write(ipv6()), bytes(DRAFT_IPV6));
}

#[test]
fn the_packets_of_the_draft_are_believed() {
    for (hex, ends) in [(DRAFT_IPV4, ipv4()), (DRAFT_IPV6, ipv6())] {
        let believed = verify(&mut Verifier::default(), WINDOW, DRAFT_TIME, &bytes(hex), &ends);
        assert_eq!(believed, Ok(()));
    }
}

#[test]
fn what_was_changed_or_comes_from_another_is_not_believed() {
    let good = bytes(DRAFT_IPV4);
    let mut verifier = Verifier::default();
    let elsewhere = of("198.51.100.11", "224.0.0.18");
    let stolen = verify(&mut verifier, WINDOW, DRAFT_TIME, &good, &elsewhere);
    assert_eq!(stolen, Err(TrailerError::Forged));

    // A change in the trailer leaves the IPv4 checksum right, so the signature has to notice it.
    let trailer = good.len() - TRAILER_BYTES;
    let expected = [
        (trailer, TrailerError::Malformed { scheme: 0 }),
        (trailer + 1, TrailerError::UnknownKey { id: 0 }),
        (trailer + 2, TrailerError::Malformed { scheme: 1 }),
        (trailer + 7, TrailerError::Forged),
        (trailer + 11, TrailerError::Forged),
        (trailer + 12, TrailerError::Forged),
        (good.len() - 1, TrailerError::Forged),
    ];
    for (at, error) in expected {
        let mut changed = good.clone();
        changed[at] ^= 1;
        let verdict = verify(&mut verifier, WINDOW, DRAFT_TIME, &changed, &ipv4());
        assert_eq!(verdict, Err(error), "byte {at}");
    }
}

#[test]
fn an_advert_counts_once_and_only_for_a_while() {
    let mut verifier = Verifier::default();
    let mut signer = Signer::default();
    let first = signed(&mut signer, WINDOW, DRAFT_TIME, &ipv4());
    let second = signed(&mut signer, WINDOW, DRAFT_TIME, &ipv4());
    assert_eq!(verify(&mut verifier, WINDOW, DRAFT_TIME, &second, &ipv4()), Ok(()));
    for packet in [&second, &first] {
        let again = verify(&mut verifier, WINDOW, DRAFT_TIME, packet, &ipv4());
        assert_eq!(again, Err(TrailerError::Replayed));
    }
    let late = DRAFT_TIME + Duration::from_secs(6);
    let stale = verify(&mut verifier, WINDOW, late, &second, &ipv4());
    assert_eq!(stale, Err(TrailerError::Stale { seconds: 6 }));
    let unbound = verify(&mut Verifier::default(), Freshness::Monotonic, late, &second, &ipv4());
    assert_eq!(unbound, Ok(()));
}

#[test]
fn the_senders_that_are_remembered_are_few_and_the_latest() {
    let mut verifier = Verifier::default();
    let ends = |last: usize| of(&format!("198.51.100.{last}"), "224.0.0.18");
    let packet = |last| signed(&mut Signer::default(), WINDOW, DRAFT_TIME, &ends(last));
    for last in 1..=SENDERS_MAX + 1 {
        let verdict = verify(&mut verifier, WINDOW, DRAFT_TIME, &packet(last), &ends(last));
        assert_eq!(verdict, Ok(()));
    }
    let latest = SENDERS_MAX + 1;
    let again = verify(&mut verifier, WINDOW, DRAFT_TIME, &packet(latest), &ends(latest));
    assert_eq!(again, Err(TrailerError::Replayed));
    assert_eq!(verify(&mut verifier, WINDOW, DRAFT_TIME, &packet(1), &ends(1)), Ok(()));
}

#[test]
fn a_router_wants_signatures_or_none_as_configured() {
    let interval = Interval::from_seconds(1).expect("fits");
    let strict = Admission::strict(Version::V3, 51, interval);
    let with = bytes(DRAFT_IPV4);
    let without = &with[..with.len() - TRAILER_BYTES];
    let verdict = |signature, packet: &[u8]| {
        let advert = parse(packet, &ipv4(), AcceptedChecksum::Either).expect("undamaged");
        Admission { signature, ..strict }.admit(&advert, &ipv4())
    };
    assert_eq!(verdict(SignaturePolicy::Refused, without), Ok(()));
    assert_eq!(verdict(SignaturePolicy::Refused, &with), Err(PacketError::UnexpectedSignature));
    assert_eq!(verdict(SignaturePolicy::Optional, without), Ok(()));
    assert_eq!(verdict(SignaturePolicy::Optional, &with), Ok(()));
    assert_eq!(verdict(SignaturePolicy::Required, without), Err(PacketError::NoSignature));
    assert_eq!(verdict(SignaturePolicy::Required, &with), Ok(()));
}

#[test]
fn keys_are_of_good_length_and_have_their_own_ids() {
    assert_eq!(Key::new(1, &[0; 31]), Err(KeyError::Length { length: 31 }));
    assert_eq!(Key::new(0, &[0; 32]), Err(KeyError::ZeroId));
    let key = |id| Key::new(id, &[7; 32]).expect("a key");
    assert_eq!(Keyring::new(vec![key(1), key(1)], 1), Err(KeyError::Repeated { id: 1 }));
    assert_eq!(Keyring::new(vec![key(1)], 2), Err(KeyError::NoActive { id: 2 }));
    assert!(!format!("{:?}", key(1)).contains('7'), "a key is not shown");
}

proptest! {
    #[test]
    fn one_changed_bit_is_never_believed(bit in 0..DRAFT_IPV6_BITS) {
        let mut packet = bytes(DRAFT_IPV6);
        packet[bit / 8] ^= 1 << (bit % 8);
        if let Ok(advert) = parse(&packet, &ipv6(), AcceptedChecksum::Either) {
            let verdict = Verifier::default().verify(
                &keyring(), Freshness::Monotonic, DRAFT_TIME, ipv6().source, &advert);
            prop_assert!(verdict.is_err());
        }
    }

    #[test]
    fn no_trailer_panics(tail in prop::collection::vec(any::<u8>(), TRAILER_BYTES), wall in any::<u64>()) {
        let mut packet = bytes(DRAFT_IPV4);
        let at = packet.len() - TRAILER_BYTES;
        packet[at..].copy_from_slice(&tail);
        let advert = parse(&packet, &ipv4(), AcceptedChecksum::Either).expect("undamaged");
        for freshness in [WINDOW, Freshness::Monotonic] {
            let wall = Duration::from_secs(wall);
            let _ = Verifier::default().verify(&keyring(), freshness, wall, ipv4().source, &advert);
        }
    }
}

const DRAFT_IPV6_BITS: usize = (24 + TRAILER_BYTES) * 8;
