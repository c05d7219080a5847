//! From a virtual router's configuration to the bytes of its advert, in the caller's buffer.

use std::net::IpAddr;

use super::checksum::{CHECKSUM_AT, PseudoHeader, checksum};
use super::{
    AUTH_NONE, AUTH_PASSWORD, Authentication, EncodeError, HEADER_BYTES, Ipv4Checksum,
    PASSWORD_BYTES, TYPE_ADVERTISEMENT,
};
use crate::interval::{Interval, V3_CENTISECONDS_MAX, Version};
use crate::wellknown::Family;

/// The longest packet: 255 IPv6 addresses. More than an Ethernet frame holds, so the kernel
/// fragments it or refuses; the format itself allows it.
pub const ADVERT_BYTES_MAX: usize = HEADER_BYTES + 255 * 16;

/// An advert to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing<'a> {
    pub version: Version,
    pub vrid: u8,
    /// 0 resigns.
    pub priority: u8,
    pub interval: Interval,
    /// In the configured order, which the receivers compare and log.
    pub addresses: &'a [IpAddr],
}

/// How an advert is put into bytes, beside what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writing {
    /// The sender's primary address; it decides the family and the pseudo-header.
    pub source: IpAddr,
    /// The group, or the peer for unicast.
    pub destination: IpAddr,
    pub ipv4_checksum: Ipv4Checksum,
    /// Used by version 2 only.
    pub authentication: Authentication,
    /// Refuse to send an IPv6 advert whose first address is not link-local.
    pub first_ipv6_link_local: bool,
}

impl Outgoing<'_> {
    /// Writes the packet to the start of `buffer` and returns its length.
    pub fn encode(&self, writing: &Writing, buffer: &mut [u8]) -> Result<usize, EncodeError> {
        let family = Family::of(&writing.source);
        let count = self.validate(family, writing)?;
        let addresses_end = HEADER_BYTES + self.addresses.len() * family.address_bytes();
        let password_bytes = if self.version == Version::V2 { PASSWORD_BYTES } else { 0 };
        let wanted = addresses_end + password_bytes;
        let length = buffer.len();
        let packet =
            buffer.get_mut(..wanted).ok_or(EncodeError::BufferTooSmall { length, wanted })?;

        let (version, field, password) = self.version_fields(writing)?;
        let first = (version << 4) | TYPE_ADVERTISEMENT;
        packet[..CHECKSUM_AT].copy_from_slice(&[
            first,
            self.vrid,
            self.priority,
            count,
            field[0],
            field[1],
        ]);
        packet[CHECKSUM_AT..HEADER_BYTES].fill(0);
        let fields = packet[HEADER_BYTES..addresses_end].chunks_exact_mut(family.address_bytes());
        for (field, address) in fields.zip(self.addresses) {
            match address {
                IpAddr::V4(address) => field.copy_from_slice(&address.octets()),
                IpAddr::V6(address) => field.copy_from_slice(&address.octets()),
            }
        }
        packet[addresses_end..].copy_from_slice(&password[..password_bytes]);

        let sum = self.checksum(packet, family, writing);
        packet[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&sum.to_be_bytes());
        Ok(wanted)
    }

    /// Refuses what no receiver could accept; returns the address count as the header has it.
    fn validate(&self, family: Family, writing: &Writing) -> Result<u8, EncodeError> {
        let count = u8::try_from(self.addresses.len()).ok().filter(|count| *count > 0);
        let count = count.ok_or(EncodeError::AddressCount { count: self.addresses.len() })?;
        if self.version == Version::V2 && family == Family::V6 {
            return Err(EncodeError::Version2OverIpv6);
        }
        let stranger = self
            .addresses
            .iter()
            .chain([&writing.destination])
            .find(|address| Family::of(address) != family);
        if let Some(address) = stranger {
            return Err(EncodeError::MixedFamilies { address: *address });
        }
        match self.addresses.first() {
            Some(IpAddr::V6(first))
                if writing.first_ipv6_link_local && !first.is_unicast_link_local() =>
            {
                Err(EncodeError::FirstNotLinkLocal { first: *first })
            }
            _ => Ok(count),
        }
    }

    /// The version, its two bytes before the checksum, and what follows the addresses.
    fn version_fields(
        &self,
        writing: &Writing,
    ) -> Result<(u8, [u8; 2], [u8; PASSWORD_BYTES]), EncodeError> {
        let centiseconds = self.interval.centiseconds();
        match self.version {
            Version::V2 => {
                let seconds = self
                    .interval
                    .whole_seconds()
                    .ok_or(EncodeError::NotWholeSeconds { centiseconds })?;
                let (kind, password) = match writing.authentication {
                    Authentication::None => (AUTH_NONE, [0; PASSWORD_BYTES]),
                    Authentication::Password(password) => (AUTH_PASSWORD, password),
                };
                Ok((2, [kind, seconds], password))
            }
            Version::V3 if centiseconds > V3_CENTISECONDS_MAX => {
                Err(EncodeError::IntervalTooLong { centiseconds })
            }
            Version::V3 => Ok((3, centiseconds.to_be_bytes(), [0; PASSWORD_BYTES])),
        }
    }

    fn checksum(&self, packet: &[u8], family: Family, writing: &Writing) -> u16 {
        let ends = PseudoHeader { source: writing.source, destination: writing.destination };
        let counts_ends = match (self.version, family) {
            (Version::V2, _) => false,
            (Version::V3, Family::V6) => true,
            (Version::V3, Family::V4) => writing.ipv4_checksum == Ipv4Checksum::PseudoHeader,
        };
        checksum(packet, counts_ends.then_some(&ends))
    }
}
