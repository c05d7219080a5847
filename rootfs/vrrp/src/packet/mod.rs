//! The bytes of an advert: version 2 and version 3, read and written.
//!
//! ```text
//!   byte      0             1        2          3           4          5         6..8
//!   v2   version<<4|type | VRID | priority | addresses | auth type | seconds | checksum
//!   v3   version<<4|type | VRID | priority | addresses | 0000 | centiseconds | checksum
//!        then the addresses, 4 or 16 bytes each; then, in v2 only, 8 bytes of password;
//!        then, in v3 and only where keys are configured, a signature of 28 bytes
//! ```
//!
//! Reading has two steps, because they answer two questions. [`parse`] asks whether bytes are a
//! whole and undamaged advert of any virtual router. [`Admission::admit`] asks whether that advert
//! is meant for, and allowed to influence, one particular virtual router. Both only ever drop: a
//! packet that fails either step has no effect on the election.
//!
//! The checksum over IPv4 is a trap with history. RFC 5798 was read as "with the pseudo-header",
//! and keepalived does so; RFC 9568 says "without". We send the configured form and by default
//! accept either, since a checksum protects against accidents and not against attackers.

mod admit;
mod checksum;
mod encode;
mod error;
mod parse;
mod replay;
mod trailer;

pub use admit::{Admission, SignaturePolicy, address_difference};
pub use encode::{ADVERT_BYTES_MAX, Outgoing, Writing};
pub use error::{EncodeError, PacketError};
pub use parse::{AcceptedChecksum, Addresses, Advert, parse};
pub use replay::{Freshness, SENDERS_MAX, Verifier};
pub use trailer::{
    Key, KeyError, Keyring, SIGNATURE_BYTES, Signer, TRAILER_BYTES, Trailer, TrailerError,
};

use std::net::IpAddr;

/// The fixed part of both versions, in bytes.
const HEADER_BYTES: usize = 8;
/// The authentication data that ends every version 2 packet, in bytes.
pub const PASSWORD_BYTES: usize = 8;
/// The only packet type of either version.
const TYPE_ADVERTISEMENT: u8 = 1;
/// Version 2's authentication types that still occur; type 2, an `IPsec` header, is gone.
const AUTH_NONE: u8 = 0;
const AUTH_PASSWORD: u8 = 1;

/// What the IP header said about a packet; raw sockets report it beside the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// TTL or hop limit as received.
    pub ttl: u8,
}

/// The two readings of the version 3 checksum over IPv4. IPv6 always has its pseudo-header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv4Checksum {
    /// RFC 9568: over the VRRP packet alone.
    PacketOnly,
    /// RFC 5798 as keepalived reads it: with the addresses of the IP header.
    PseudoHeader,
}

/// Version 2's authentication, as one packet carries it or one router is configured with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    None,
    /// A password in clear text: it keeps strangers' mistakes out, and nobody else.
    Password([u8; PASSWORD_BYTES]),
}

impl Authentication {
    /// A configured password, cut or zero-padded to the field as keepalived does it.
    pub fn password(text: &[u8]) -> Self {
        let mut field = [0; PASSWORD_BYTES];
        let kept = text.len().min(PASSWORD_BYTES);
        field[..kept].copy_from_slice(&text[..kept]);
        Self::Password(field)
    }
}
