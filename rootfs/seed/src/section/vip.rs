//! `[[vips]]`: virtual addresses that one node of a group holds at a time, by VRRP.

use std::net::IpAddr;

use crate::reader::{Item, Read, Reader, choice, number_of, section};
use crate::scalar::{Cidr, DurationText, LinkName, Priority, Ttl, Vrid, Word};
use crate::section::Check;

/// Which VRRP is spoken; a seed has it as the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VrrpVersion {
    /// RFC 3768: IPv4, whole seconds, passwords.
    V2,
    /// RFC 9568: IPv4 and IPv6, hundredths of a second.
    V3,
}

impl serde::Serialize for VrrpVersion {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_u8(match self {
            Self::V2 => 2,
            Self::V3 => 3,
        })
    }
}

impl Read for VrrpVersion {
    fn kind() -> String {
        "2 or 3".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let version = number_of(item, "VRRP version", 2, 3, reader)?;
        Some(if version == 2 { Self::V2 } else { Self::V3 })
    }
}

choice! {
    /// How adverts are authenticated.
    Authentication ("authentication") {
        /// Not at all: standard VRRPv3.
        None = "none",
        /// The eight-character password of VRRPv2, from `secrets.vrrp_passwords`.
        Password = "password",
        /// keepalived's HMAC trailer, sent and demanded; key from `secrets.vrrp_keys`.
        Hmac = "hmac",
        /// The HMAC trailer is sent, but adverts without it are accepted: for a change-over.
        HmacPermissive = "hmac-permissive",
    }
}

choice! {
    /// Which checksum VRRPv3 adverts for IPv4 carry; both are accepted.
    Checksum ("checksum") {
        /// Without a pseudo-header, as RFC 9568 has it.
        Rfc9568 = "rfc9568",
        /// With a pseudo-header, as keepalived sends by default.
        Pseudo = "pseudo",
    }
}

choice! {
    /// What allows a node to hold the VIP, beyond winning the election.
    Permit ("permit") {
        /// Nothing further; checks may still forbid it.
        None = "none",
        /// Only the node whose PostgreSQL has authority: the VIP follows the primary.
        Database = "database",
    }
}

section! {
    /// A group of virtual addresses. All nodes of the group share name, VRID and addresses. For
    /// active-active write two groups with different VRIDs and opposite priorities.
    Vip {
        /// The group's name.
        name: Word = required;
        /// The addresses, IPv4 and IPv6; each family runs its own VRRP instance of this VRID.
        addresses: Vec<Cidr> = required;
        /// Virtual router id, the same on all nodes, different from other groups on the link.
        vrid: Vrid = required;
        /// The link that carries the addresses.
        link: LinkName = required;
        /// The highest priority wins the election; 255 is for the owner of the address.
        priority: Priority = default("100");
        /// VRRP version.
        version: VrrpVersion = default("3");
        /// Time between adverts; the others take over after about three of them.
        interval: DurationText = default("'1s'");
        /// Addresses of the other nodes of the group, for unicast. Empty: multicast.
        peers: Vec<IpAddr> = default("[]");
        /// Unicast adverts that arrive with a lower TTL or hop limit are dropped; 255 lets only the
        /// same network speak. Multicast always needs 255.
        least_ttl: Ttl = default("255");
        /// Whether a better node takes the address from one that works.
        preempt: bool = default("false");
        /// How long such a node waits first.
        preempt_delay: DurationText = default("'0s'");
        /// How adverts are authenticated.
        authentication: Authentication = default("'none'");
        /// Checksum of VRRPv3 adverts for IPv4.
        checksum: Checksum = default("'rfc9568'");
        /// What allows this node to hold the addresses.
        permit: Permit = default("'none'");
        /// Health checks.
        checks: Vec<Check> = default("[]");
        /// Whether the addresses get a MAC address of their own (00:00:5e:00:01:VRID).
        virtual_mac: bool = default("false");
        /// How often the holder repeats its gratuitous ARP and neighbour advertisements.
        announce: DurationText = default("'30s'");
    }
}

impl Vip {
    /// The addresses of one family.
    pub fn family(&self, ipv4: bool) -> impl Iterator<Item = &Cidr> {
        self.addresses.iter().filter(move |cidr| cidr.address().is_ipv4() == ipv4)
    }
}
