//! Whether a frame says that somebody else has one of our virtual addresses.
//!
//! A router that was frozen and thaws believes for a moment that it is still Active, and tells the
//! neighbours so. It finds out and goes, but the neighbours keep its word. So an Active watches for
//! such claims and answers with its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp::announce::Mac;

/// Ethernet types, which decide what a watching socket sees.
pub const ETHERTYPE_ARP: u16 = 0x0806;
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// A claim fits in this; what is longer is cut.
pub const CLAIM_BYTES: usize = 128;

const ETHERNET_BYTES: usize = 14;
/// Ethernet hardware, IPv4 protocol, addresses of 6 and 4 bytes.
const ARP_OF_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const IPV6_HEADER_BYTES: usize = 40;
const ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const OPTION_TARGET_LINK_ADDRESS: u8 = 2;

/// Somebody else's claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub address: IpAddr,
    pub by: Mac,
}

/// The claim that a frame makes on one of `ours`, unless one of `our_macs` makes it.
pub fn claim(frame: &[u8], ours: &[IpAddr], our_macs: &[Mac]) -> Option<Claim> {
    let claim = match u16::from_be_bytes(array(frame, 12)?) {
        ETHERTYPE_ARP => arp(frame)?,
        ETHERTYPE_IPV6 => neighbour_advertisement(frame)?,
        _ => return None,
    };
    let sender: Mac = array(frame, 6)?;
    let foreign = !our_macs.contains(&claim.by) && !our_macs.contains(&sender);
    (foreign && ours.contains(&claim.address)).then_some(claim)
}

/// Requests and replies alike: neighbours learn the sender from either.
fn arp(frame: &[u8]) -> Option<Claim> {
    if array(frame, ETHERNET_BYTES)? != ARP_OF_IPV4 {
        return None;
    }
    let by = array(frame, ETHERNET_BYTES + 8)?;
    let address = Ipv4Addr::from(array::<4>(frame, ETHERNET_BYTES + 14)?);
    Some(Claim { address: address.into(), by })
}

fn neighbour_advertisement(frame: &[u8]) -> Option<Claim> {
    let message = ETHERNET_BYTES + IPV6_HEADER_BYTES;
    let next_header = *frame.get(ETHERNET_BYTES + 6)?;
    if next_header != ICMPV6 || *frame.get(message)? != NEIGHBOUR_ADVERTISEMENT {
        return None;
    }
    let address = Ipv6Addr::from(array::<16>(frame, message + 8)?);
    let option = array::<2>(frame, message + 24);
    let named = option.filter(|option| option[0] == OPTION_TARGET_LINK_ADDRESS);
    let by = named.and_then(|_| array(frame, message + 26)).or_else(|| array(frame, 6))?;
    Some(Claim { address: address.into(), by })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vrrp::announce::{gratuitous_arp, neighbour_advertisement};

    const THEIRS: Mac = [2, 0, 0, 0, 0, 9];
    const OURS: Mac = [2, 0, 0, 0, 0, 1];
    const VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
    const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 10);

    fn vips() -> [IpAddr; 2] {
        [VIP4.into(), VIP6.into()]
    }

    #[test]
    fn an_announcement_by_another_is_a_claim_and_our_own_is_not() {
        let from = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
        let arp = |mac| gratuitous_arp(mac, VIP4).to_vec();
        let na = |mac| neighbour_advertisement(mac, from, VIP6, false).to_vec();
        for (frame, address) in [(arp(THEIRS), vips()[0]), (na(THEIRS), vips()[1])] {
            assert_eq!(claim(&frame, &vips(), &[OURS]), Some(Claim { address, by: THEIRS }));
            assert_eq!(claim(&frame, &[], &[OURS]), None, "not about us");
        }
        for frame in [arp(OURS), na(OURS)] {
            assert_eq!(claim(&frame, &vips(), &[OURS]), None);
        }
    }

    #[test]
    fn asking_for_an_address_is_no_claim() {
        let mut probe = gratuitous_arp(THEIRS, VIP4);
        probe[28..32].fill(0);
        assert_eq!(claim(&probe, &vips(), &[OURS]), None);
    }

    proptest! {
        #[test]
        fn no_frame_panics(frame in prop::collection::vec(any::<u8>(), 0..CLAIM_BYTES), arp: bool) {
            let mut frame = frame;
            let kind = if arp { [8, 6] } else { [0x86, 0xdd] };
            if let Some(field) = frame.get_mut(12..14) {
                field.copy_from_slice(&kind);
            }
            let _ = claim(&frame, &vips(), &[OURS]);
        }
    }
}
