//! What one virtual router is configured with: one family of an instance.

use std::net::IpAddr;
use std::time::Duration;

use vrrp::packet::{Admission, Authentication, Ipv4Checksum, SignaturePolicy, Writing};
use vrrp::wellknown::{Family, TTL};
use vrrp::{Interval, Priority, Version};

use crate::config::{Cidr, InstanceConfig, Permit, Signing};

/// One family of an instance.
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the file")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The instance's name and the family, such as `api/ipv4`.
    pub label: String,
    pub instance: String,
    pub interface: String,
    pub ipv6: bool,
    pub version: Version,
    pub vrid: u8,
    pub addresses: Vec<Cidr>,
    pub priority: Priority,
    pub interval: Interval,
    pub preempt: bool,
    pub preempt_delay: Duration,
    /// The address to send from, if the file names one.
    pub source: Option<IpAddr>,
    pub peers: Vec<IpAddr>,
    pub least_ttl: u8,
    pub authentication: Authentication,
    pub signing: Option<Signing>,
    pub checksum: Ipv4Checksum,
    pub permit_required: bool,
    pub virtual_mac: bool,
    pub announce: Option<Duration>,
    pub link_local_first: bool,
}

impl Settings {
    /// The one or two routers of an instance.
    pub fn of(instance: &InstanceConfig) -> Vec<Self> {
        [true, false]
            .into_iter()
            .filter(|ipv4| instance.has_family(*ipv4))
            .map(|ipv4| Self::of_family(instance, ipv4))
            .collect()
    }

    fn of_family(instance: &InstanceConfig, ipv4: bool) -> Self {
        let family = if ipv4 { "ipv4" } else { "ipv6" };
        let of_family = |list: &[IpAddr]| -> Vec<IpAddr> {
            list.iter().copied().filter(|address| address.is_ipv4() == ipv4).collect()
        };
        Self {
            label: format!("{}/{family}", instance.name),
            instance: instance.name.clone(),
            interface: instance.interface.clone(),
            ipv6: !ipv4,
            version: instance.version,
            vrid: instance.vrid,
            addresses: instance.family(ipv4).copied().collect(),
            priority: instance.priority,
            interval: instance.interval,
            preempt: instance.preempt,
            preempt_delay: instance.preempt_delay,
            source: of_family(&instance.source).first().copied(),
            peers: of_family(&instance.peers),
            least_ttl: instance.least_ttl,
            authentication: instance.authentication,
            signing: instance.signing.clone(),
            checksum: instance.checksum,
            permit_required: instance.permit == Permit::Holder,
            virtual_mac: instance.virtual_mac,
            announce: instance.announce,
            link_local_first: instance.link_local_first,
        }
    }

    pub fn family(&self) -> Family {
        if self.ipv6 { Family::V6 } else { Family::V4 }
    }

    /// The least TTL that is believed: multicast always comes from this link.
    pub fn ttl_min(&self) -> u8 {
        if self.peers.is_empty() { TTL } else { self.least_ttl }
    }

    pub(super) fn admission(&self) -> Admission {
        let signature = match &self.signing {
            None => SignaturePolicy::Refused,
            Some(signing) if signing.required => SignaturePolicy::Required,
            Some(_) => SignaturePolicy::Optional,
        };
        Admission {
            authentication: self.authentication,
            ttl_min: self.ttl_min(),
            first_ipv6_link_local: self.link_local_first,
            signature,
            ..Admission::strict(self.version, self.vrid, self.interval)
        }
    }

    pub(super) fn writing(&self, source: IpAddr, destination: IpAddr) -> Writing {
        Writing {
            source,
            destination,
            ipv4_checksum: self.checksum,
            authentication: self.authentication,
            first_ipv6_link_local: self.link_local_first,
        }
    }

    pub(super) fn election(&self, primary: IpAddr) -> vrrp::Config {
        vrrp::Config {
            version: self.version,
            priority: self.priority,
            interval: self.interval,
            primary,
            preempt: self.preempt,
            preempt_delay: self.preempt_delay,
            permit_required: self.permit_required,
            refresh: self.announce,
        }
    }
}
