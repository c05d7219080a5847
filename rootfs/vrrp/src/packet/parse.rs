//! From bytes to an advert that borrows them, or to the one reason why they are none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum::{CHECKSUM_AT, PseudoHeader, checksum};
use super::{
    AUTH_NONE, AUTH_PASSWORD, Authentication, HEADER_BYTES, Ipv4Checksum, Metadata, PASSWORD_BYTES,
    PacketError, TRAILER_BYTES, TYPE_ADVERTISEMENT, Trailer,
};
use crate::interval::{Interval, Version};
use crate::wellknown::Family;

/// The low twelve bits, where version 3 keeps its interval.
const INTERVAL_MASK: u16 = 0x0fff;

/// Which forms of the IPv4 checksum a receiver takes for undamaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptedChecksum {
    Either,
    Only(Ipv4Checksum),
}

/// A whole, undamaged advert; its addresses are still the received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advert<'a> {
    pub version: Version,
    pub vrid: u8,
    /// As sent: 0 means that the sender stops being Active.
    pub priority: u8,
    pub interval: Interval,
    pub addresses: Addresses<'a>,
    /// Version 2's type field; always 0 in version 3, which has none.
    pub auth_type: u8,
    /// Version 2's eight bytes; none in version 3.
    pub auth_data: Option<&'a [u8]>,
    /// The packet without its signature; what the signature is about.
    pub message: &'a [u8],
    /// The signature after a version 3 packet, not yet verified.
    pub trailer: Option<Trailer<'a>>,
}

impl Advert<'_> {
    /// The authentication in this packet; none for a type that this crate does not know.
    pub fn authentication(&self) -> Option<Authentication> {
        match (self.auth_type, self.auth_data) {
            (AUTH_NONE, _) => Some(Authentication::None),
            (AUTH_PASSWORD, Some(data)) => Some(Authentication::password(data)),
            _ => None,
        }
    }
}

/// The virtual addresses of an advert, in the order in which they were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses<'a> {
    family: Family,
    bytes: &'a [u8],
}

impl<'a> Addresses<'a> {
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        let family = self.family;
        self.bytes.chunks_exact(family.address_bytes()).filter_map(move |bytes| match family {
            Family::V4 => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))),
            Family::V6 => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))),
        })
    }

    pub fn count(&self) -> usize {
        self.bytes.len() / self.family.address_bytes()
    }
}

/// Reads one VRRP packet: what follows the IP header, and nothing else.
pub fn parse<'a>(
    bytes: &'a [u8],
    metadata: &Metadata,
    accepted: AcceptedChecksum,
) -> Result<Advert<'a>, PacketError> {
    let family = family_of(metadata)?;
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(PacketError::Short { length: bytes.len() });
    };
    let version = version_of(header[0])?;
    if version == Version::V2 && family == Family::V6 {
        return Err(PacketError::Version2OverIpv6);
    }
    let count = usize::from(header[3]);
    if count == 0 {
        return Err(PacketError::NoAddress);
    }
    let address_bytes = count * family.address_bytes();
    let password_bytes = if version == Version::V2 { PASSWORD_BYTES } else { 0 };
    let promised = HEADER_BYTES + address_bytes + password_bytes;
    let trailer = trailer_of(bytes, version, promised)?;
    let message = bytes.get(..promised).unwrap_or(bytes);
    // Over IPv6 the kernel computes the sum of all that it sends, over IPv4 the sender does.
    let summed = if family == Family::V6 { bytes } else { message };
    verify_checksum(summed, version, metadata, accepted)?;
    let (addresses, after) = body.split_at(address_bytes);
    let auth_data = &after[..password_bytes];
    Ok(Advert {
        version,
        vrid: header[1],
        priority: header[2],
        interval: interval_of(version, [header[4], header[5]])?,
        addresses: Addresses { family, bytes: addresses },
        auth_type: if version == Version::V2 { header[4] } else { AUTH_NONE },
        auth_data: (version == Version::V2).then_some(auth_data),
        message,
        trailer,
    })
}

/// What follows the promised bytes: nothing, or in version 3 a signature of exactly its length.
fn trailer_of(
    bytes: &[u8],
    version: Version,
    promised: usize,
) -> Result<Option<Trailer<'_>>, PacketError> {
    if bytes.len() == promised {
        return Ok(None);
    }
    let after =
        bytes.get(promised..).and_then(|after| <&[u8; TRAILER_BYTES]>::try_from(after).ok());
    match (version, after) {
        (Version::V3, Some(after)) => Ok(Some(Trailer::new(after))),
        _ => Err(PacketError::WrongLength { length: bytes.len(), promised }),
    }
}

fn family_of(metadata: &Metadata) -> Result<Family, PacketError> {
    let family = Family::of(&metadata.source);
    if family == Family::of(&metadata.destination) {
        return Ok(family);
    }
    Err(PacketError::MixedFamilies {
        source_address: metadata.source,
        destination: metadata.destination,
    })
}

fn version_of(first_byte: u8) -> Result<Version, PacketError> {
    let version = match first_byte >> 4 {
        2 => Version::V2,
        3 => Version::V3,
        found => return Err(PacketError::WrongVersion { found }),
    };
    match first_byte & 0x0f {
        TYPE_ADVERTISEMENT => Ok(version),
        found => Err(PacketError::WrongType { found }),
    }
}

/// Version 3's four reserved bits are ignored, as its RFC wants them to be on reception.
fn interval_of(version: Version, field: [u8; 2]) -> Result<Interval, PacketError> {
    let interval = match version {
        Version::V2 => Interval::from_seconds(u16::from(field[1])),
        Version::V3 => Interval::from_centiseconds(u16::from_be_bytes(field) & INTERVAL_MASK),
    };
    interval.map_err(|_| PacketError::NoInterval)
}

fn verify_checksum(
    bytes: &[u8],
    version: Version,
    metadata: &Metadata,
    accepted: AcceptedChecksum,
) -> Result<(), PacketError> {
    let found = u16::from_be_bytes([bytes[CHECKSUM_AT], bytes[CHECKSUM_AT + 1]]);
    let ends = PseudoHeader { source: metadata.source, destination: metadata.destination };
    let alone = || checksum(bytes, None);
    let with_addresses = || checksum(bytes, Some(&ends));
    let computed = match (version, Family::of(&metadata.source), accepted) {
        (Version::V2, ..) | (_, Family::V4, AcceptedChecksum::Only(Ipv4Checksum::PacketOnly)) => {
            alone()
        }
        (_, Family::V6, _) | (_, _, AcceptedChecksum::Only(Ipv4Checksum::PseudoHeader)) => {
            with_addresses()
        }
        (_, Family::V4, AcceptedChecksum::Either) => {
            if found == with_addresses() {
                return Ok(());
            }
            alone()
        }
    };
    if found == computed {
        return Ok(());
    }
    Err(PacketError::WrongChecksum { found, computed })
}
