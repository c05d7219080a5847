//! What a router counts, and why it drops packets, by name.

use std::collections::BTreeMap;
use std::net::IpAddr;

use thiserror::Error;
use vrrp::packet::{PacketError, TrailerError};

/// Why a packet had no effect.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Dropped {
    #[error(transparent)]
    Packet(#[from] PacketError),
    #[error(transparent)]
    Signature(#[from] TrailerError),
    #[error("{sender} is none of the peers: add it on both sides")]
    Stranger { sender: IpAddr },
    #[error("{}", wrong_way(*.multicast))]
    WrongWay { multicast: bool },
}

fn wrong_way(multicast: bool) -> &'static str {
    if multicast {
        "a multicast advert where peers are configured: the sender lacks its list of peers"
    } else {
        "a unicast advert where no peers are configured: the sender has a list of peers"
    }
}

impl Dropped {
    /// The name in metrics, which tells one kind of trouble from another.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Packet(error) => match error {
                PacketError::Short { .. } => "short",
                PacketError::WrongVersion { .. } => "version",
                PacketError::WrongType { .. } => "type",
                PacketError::NoAddress => "no_address",
                PacketError::WrongLength { .. } => "length",
                PacketError::WrongChecksum { .. } => "checksum",
                PacketError::NoInterval => "no_interval",
                PacketError::MixedFamilies { .. } => "mixed_families",
                PacketError::Version2OverIpv6 => "version_2_over_ipv6",
                PacketError::FirstNotLinkLocal { .. } => "not_link_local",
                PacketError::WrongTtl { .. } => "ttl",
                PacketError::WrongVrid { .. } => "vrid",
                PacketError::WrongAuthType { .. } => "auth_type",
                PacketError::WrongPassword => "password",
                PacketError::WrongInterval { .. } => "interval",
                PacketError::UnexpectedSignature => "unexpected_signature",
                PacketError::NoSignature => "no_signature",
            },
            Self::Signature(error) => match error {
                TrailerError::Malformed { .. } => "signature_malformed",
                TrailerError::Stale { .. } => "signature_stale",
                TrailerError::UnknownKey { .. } => "signature_key",
                TrailerError::Forged => "signature_forged",
                TrailerError::Replayed => "signature_replayed",
            },
            Self::Stranger { .. } => "stranger",
            Self::WrongWay { .. } => "wrong_way",
        }
    }
}

/// What has happened since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    pub adverts_sent: u64,
    pub adverts_received: u64,
    pub send_errors: u64,
    /// Adverts that were late by an interval or more, through this machine's own fault.
    pub adverts_late: u64,
    pub announcements: u64,
    pub foreign_claims: u64,
    pub transitions: u64,
    pub became_active: u64,
    pub connections_ended: u64,
    /// By the name of the reason; the names are few.
    pub dropped: BTreeMap<&'static str, u64>,
}

impl Counters {
    pub(super) fn drop(&mut self, dropped: &Dropped) {
        *self.dropped.entry(dropped.kind()).or_default() += 1;
    }
}
