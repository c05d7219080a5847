//! Whether an undamaged advert may influence one particular virtual router.

use std::net::IpAddr;

use super::{Advert, Authentication, Metadata, PacketError};
use crate::interval::{Interval, Version};
use crate::wellknown::TTL;

/// What a virtual router demands of the adverts that it listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    pub version: Version,
    pub vrid: u8,
    /// Compared in version 2 only; version 3 learns the Active's interval instead.
    pub interval: Interval,
    /// Compared in version 2 only.
    pub authentication: Authentication,
    /// 255 for multicast. Unicast peers behind a router get a lower one, or 0 for any.
    pub ttl_min: u8,
    /// RFC 9568 wants it; keepalived outside its strict mode sends what it was given.
    pub first_ipv6_link_local: bool,
    /// What becomes of adverts with and without a signature. The signature itself is verified by
    /// [`super::Verifier`], and only after this.
    pub signature: SignaturePolicy,
}

/// Which adverts a router with or without keys listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignaturePolicy {
    /// No keys: a signed advert is dropped, as keepalived drops it for its length.
    Refused,
    /// Keys, and a change-over in progress: unsigned adverts still count.
    Optional,
    /// Keys: unsigned adverts are dropped.
    Required,
}

impl Admission {
    /// What the RFC of each version demands of multicast adverts.
    pub fn strict(version: Version, vrid: u8, interval: Interval) -> Self {
        Self {
            version,
            vrid,
            interval,
            authentication: Authentication::None,
            ttl_min: TTL,
            first_ipv6_link_local: true,
            signature: SignaturePolicy::Refused,
        }
    }

    /// Says why `advert` has to be dropped, if it has to.
    pub fn admit(&self, advert: &Advert<'_>, metadata: &Metadata) -> Result<(), PacketError> {
        if metadata.ttl < self.ttl_min {
            return Err(PacketError::WrongTtl { found: metadata.ttl, wanted: self.ttl_min });
        }
        if advert.version != self.version {
            let found = match advert.version {
                Version::V2 => 2,
                Version::V3 => 3,
            };
            return Err(PacketError::WrongVersion { found });
        }
        if advert.vrid != self.vrid {
            return Err(PacketError::WrongVrid { found: advert.vrid, ours: self.vrid });
        }
        if self.version == Version::V2 {
            self.admit_version_2(advert)?;
        }
        match (self.signature, advert.trailer.is_some()) {
            (SignaturePolicy::Refused, true) => return Err(PacketError::UnexpectedSignature),
            (SignaturePolicy::Required, false) => return Err(PacketError::NoSignature),
            _ => {}
        }
        match advert.addresses.iter().next() {
            Some(IpAddr::V6(first))
                if self.first_ipv6_link_local && !first.is_unicast_link_local() =>
            {
                Err(PacketError::FirstNotLinkLocal { first })
            }
            _ => Ok(()),
        }
    }

    fn admit_version_2(&self, advert: &Advert<'_>) -> Result<(), PacketError> {
        match (advert.authentication(), self.authentication) {
            (Some(Authentication::None), Authentication::None) => {}
            (Some(Authentication::Password(found)), Authentication::Password(ours)) => {
                if found != ours {
                    return Err(PacketError::WrongPassword);
                }
            }
            _ => return Err(PacketError::WrongAuthType { found: advert.auth_type }),
        }
        if advert.interval != self.interval {
            return Err(PacketError::WrongInterval {
                found: advert.interval.centiseconds() / 100,
                ours: self.interval.centiseconds() / 100,
            });
        }
        Ok(())
    }
}

/// The first address that only one side has, in any order of the lists.
///
/// This is reported and never drops a packet: during a change of configuration both routers have to
/// keep electing, and RFC 9568 makes the comparison optional.
pub fn address_difference(advert: &Advert<'_>, configured: &[IpAddr]) -> Option<IpAddr> {
    let unknown = advert.addresses.iter().find(|address| !configured.contains(address));
    let missing = || {
        configured.iter().copied().find(|ours| advert.addresses.iter().all(|sent| sent != *ours))
    };
    unknown.or_else(missing)
}
