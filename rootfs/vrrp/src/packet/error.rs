//! Every reason for which a received packet is dropped, and for which one can't be written.
//!
//! Each reason is a name of its own, so that the daemon can count them apart: a site where
//! `WrongPassword` grows has another problem than one where `WrongTtl` does.

use std::net::{IpAddr, Ipv6Addr};
use thiserror::Error;

/// Why a received packet was dropped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PacketError {
    #[error("{length} bytes are no VRRP packet: its header alone has 8")]
    Short { length: usize },
    #[error("version {found} is not the configured one: give all routers the same version")]
    WrongVersion { found: u8 },
    #[error("type {found} is no advertisement, the only type there is")]
    WrongType { found: u8 },
    #[error("the packet advertises no address")]
    NoAddress,
    #[error("{length} bytes where the header promises {promised}")]
    WrongLength { length: usize, promised: usize },
    #[error("checksum {found:#06x} where the bytes give {computed:#06x}")]
    WrongChecksum { found: u16, computed: u16 },
    #[error("an advertisement interval of 0")]
    NoInterval,
    #[error("{source_address} to {destination}: two address families in one packet")]
    MixedFamilies { source_address: IpAddr, destination: IpAddr },
    #[error("version 2 knows no IPv6: use version 3")]
    Version2OverIpv6,
    #[error("the first IPv6 address {first} is not link-local")]
    FirstNotLinkLocal { first: Ipv6Addr },
    #[error("TTL {found} below {wanted}: the packet came through a router")]
    WrongTtl { found: u8, wanted: u8 },
    #[error("VRID {found} is not ours, {ours}")]
    WrongVrid { found: u8, ours: u8 },
    #[error("authentication type {found} is not the configured one: compare auth_type")]
    WrongAuthType { found: u8 },
    #[error("the password is not the configured one: compare auth_pass")]
    WrongPassword,
    #[error("an interval of {found} s where {ours} s is configured: version 2 wants them equal")]
    WrongInterval { found: u16, ours: u16 },
    #[error("the advert is signed and no key is configured here: set the same keys on all routers")]
    UnexpectedSignature,
    #[error("the advert is not signed: set the same keys on all routers")]
    NoSignature,
}

/// Why an advert could not be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EncodeError {
    #[error("a buffer of {length} bytes for a packet of {wanted}: offer at least ADVERT_BYTES_MAX")]
    BufferTooSmall { length: usize, wanted: usize },
    #[error("{count} virtual addresses: a packet holds 1 to 255")]
    AddressCount { count: usize },
    #[error("{address} is not of the family of the packet's source: one VRID per family")]
    MixedFamilies { address: IpAddr },
    #[error("version 2 knows no IPv6: use version 3")]
    Version2OverIpv6,
    #[error("version 2 counts whole seconds up to 255, not {centiseconds} centiseconds")]
    NotWholeSeconds { centiseconds: u16 },
    #[error("version 3 counts up to 4095 centiseconds, not {centiseconds}")]
    IntervalTooLong { centiseconds: u16 },
    #[error("the first IPv6 address {first} is not link-local: list a link-local address first")]
    FirstNotLinkLocal { first: Ipv6Addr },
}
