//! What the kernel has of a network, as the planner sees it: plain values, read by `observe.rs`.

use std::collections::BTreeMap;
use std::fmt;

use netlink::{Address, Check, Link, Mac, Route};

/// A setting of one link below `/proc/sys/net`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Setting {
    /// `ipv4` or `ipv6`.
    pub(crate) family: &'static str,
    pub(crate) key: &'static str,
}

const fn ipv4(key: &'static str) -> Setting {
    Setting { family: "ipv4", key }
}

const fn ipv6(key: &'static str) -> Setting {
    Setting { family: "ipv6", key }
}

/// Whether router advertisements may add addresses and routes; the seed says so for each link.
pub(crate) const ACCEPT_RA: Setting = ipv6("accept_ra");

/// What each link of the seed takes from `conf/default`. The kernel copies these values into a link
/// at the moment in which the link appears, and a card's driver may be loaded before the defaults
/// are set. So they are compared later; the values and their reasons are in
/// `overlays/base/overlay.toml`.
pub(crate) const INHERITED: &[Setting] = &[
    ipv4("accept_redirects"),
    ipv4("accept_source_route"),
    ipv4("arp_announce"),
    ipv4("arp_ignore"),
    ipv4("ignore_routes_with_linkdown"),
    ipv4("promote_secondaries"),
    ipv4("rp_filter"),
    ipv4("send_redirects"),
    ipv6("accept_redirects"),
    ipv6("accept_source_route"),
    ipv6("ignore_routes_with_linkdown"),
    ipv6("router_solicitation_delay"),
];

/// Settings by their value. One that can't be read, since its family is switched off, is absent.
pub(crate) type Settings = BTreeMap<Setting, String>;

/// A link, with what netlink doesn't tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) link: Link,
    /// Whether it is a network card, in contrast to what the kernel makes on demand.
    pub(crate) card: bool,
    pub(crate) driver: Option<String>,
    /// In Mbit/s, where the driver knows.
    pub(crate) speed: Option<u32>,
    /// Read for the links of the seed only.
    pub(crate) settings: Settings,
}

impl Seen {
    pub(crate) fn name(&self) -> &str {
        &self.link.id.name
    }

    pub(crate) fn index(&self) -> u32 {
        self.link.id.index
    }

    /// The address that the card was born with; as a member of a bond it may show another.
    pub(crate) fn born_with(&self) -> Option<Mac> {
        self.link.permanent_mac.or(self.link.mac)
    }
}

/// How a person tells cards apart: `enp1s0 (52:54:00:77:00:01, virtio_net)`.
impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (", self.name())?;
        match self.born_with() {
            Some(mac) => write!(formatter, "{mac}")?,
            None => formatter.write_str("without hardware address")?,
        }
        match &self.driver {
            Some(driver) => write!(formatter, ", {driver})"),
            None => formatter.write_str(")"),
        }
    }
}

/// Everything that the kernel has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct There {
    pub(crate) links: Vec<Seen>,
    /// Each with the index of its link.
    pub(crate) addresses: Vec<(u32, Address)>,
    pub(crate) routes: Vec<Route>,
    /// `conf/default`.
    pub(crate) defaults: Settings,
}

impl There {
    pub(crate) fn named(&self, name: &str) -> Option<&Seen> {
        self.links.iter().find(|seen| seen.name() == name)
    }

    pub(crate) fn numbered(&self, index: u32) -> Option<&Seen> {
        self.links.iter().find(|seen| seen.index() == index)
    }

    /// Whether the kernel is asking if another machine has the address.
    pub(crate) fn is_checking(&self, address: &str) -> bool {
        let mut checked = self.addresses.iter().filter(|(_, it)| it.check == Check::Running);
        checked.any(|(_, checked)| checked.ip.to_string() == address)
    }

    pub(crate) fn addresses_of(&self, index: u32) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(move |(link, _)| *link == index).map(|(_, address)| address)
    }
}
