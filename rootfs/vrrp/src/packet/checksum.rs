//! The Internet checksum over a packet, with and without the pseudo-header of its family.

use std::net::IpAddr;

use crate::sum::Sum;
use crate::wellknown::IP_PROTOCOL;

/// Where the checksum stands in both versions' headers.
pub(super) const CHECKSUM_AT: usize = 6;

/// The addresses that a pseudo-header carries.
#[derive(Debug, Clone, Copy)]
pub(super) struct PseudoHeader {
    pub source: IpAddr,
    pub destination: IpAddr,
}

impl PseudoHeader {
    fn add_to(&self, sum: &mut Sum, length: usize) {
        for address in [self.source, self.destination] {
            match address {
                IpAddr::V4(address) => sum.add(&address.octets()),
                IpAddr::V6(address) => sum.add(&address.octets()),
            }
        }
        // Both families end in protocol and length; IPv6's wider zeros add nothing to the sum.
        sum.add(&[0, IP_PROTOCOL]);
        sum.add_length(length);
    }
}

/// The checksum that belongs into `packet`, whatever its checksum field holds now.
pub(super) fn checksum(packet: &[u8], pseudo_header: Option<&PseudoHeader>) -> u16 {
    let mut sum = Sum::default();
    let (before, rest) = packet.split_at(CHECKSUM_AT.min(packet.len()));
    sum.add(before);
    sum.add(rest.get(2..).unwrap_or(&[]));
    if let Some(pseudo_header) = pseudo_header {
        pseudo_header.add_to(&mut sum, packet.len());
    }
    sum.folded()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_field_does_not_count() {
        let zero = [0x21, 1, 100, 1, 0, 1, 0, 0];
        let full = [0x21, 1, 100, 1, 0, 1, 0xff, 0xff];
        assert_eq!(checksum(&zero, None), checksum(&full, None));
    }

    #[test]
    fn a_pseudo_header_counts_addresses_protocol_and_length() {
        let ends = PseudoHeader {
            source: IpAddr::from([0, 0, 0, 1]),
            destination: IpAddr::from([0, 0, 0, 2]),
        };
        assert_eq!(checksum(&[0; 12], Some(&ends)), !(1 + 2 + 112 + 12));
    }
}
