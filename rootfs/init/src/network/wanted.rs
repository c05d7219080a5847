//! What the seed wants of the network: its links and routes, and nothing of its secrets.

use std::net::IpAddr;

use netlink::{Address, BondMode, owner};
use seed::Seed;
use seed::scalar::{Count, Destination};
use seed::section::{BondMode as SeedBondMode, Link, LinkKind, Route};

/// The part of a seed that this folder works with.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) links: Vec<Link>,
    pub(crate) routes: Vec<Route>,
}

impl Wanted {
    pub(crate) fn of(seed: &Seed) -> Self {
        Self { links: seed.links.clone(), routes: seed.routes.clone() }
    }

    pub(crate) fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name.as_str() == name)
    }

    /// The bond that a link is a member of.
    pub(crate) fn bond_of(&self, member: &Link) -> Option<&Link> {
        self.links.iter().find(|bond| bond.members.contains(&member.name))
    }

    /// The link that a route leads through: the named one, or the one in whose network its
    /// gateway is.
    pub(crate) fn link_of(&self, route: &Route) -> Option<&Link> {
        match &route.link {
            Some(name) => self.link(name.as_str()),
            None => self.links.iter().find(|link| own_address(link, route.via).is_some()),
        }
    }

    /// What must be loaded for these links, with parameters, since no modprobe answers when the
    /// kernel asks.
    pub(crate) fn modules(&self) -> Vec<(&'static str, &'static str)> {
        let has = |kind| self.links.iter().any(|link| link.kind == kind);
        let needs = [
            // Or it would make a bond0 that nobody asked for.
            (LinkKind::Bond, ("bonding", "max_bonds=0")),
            (LinkKind::Vlan, ("8021q", "")),
        ];
        needs.into_iter().filter(|(kind, _)| has(*kind)).map(|(_, module)| module).collect()
    }
}

/// The node's own address on a link in whose network a gateway is.
pub(crate) fn own_address(link: &Link, gateway: IpAddr) -> Option<IpAddr> {
    link.addresses.iter().find(|own| own.contains(gateway)).map(|own| own.address())
}

/// The addresses of a link, tagged as the node's own.
pub(crate) fn addresses(link: &Link) -> impl Iterator<Item = Address> {
    link.addresses
        .iter()
        .map(|own| Address { protocol: owner::NODE, ..Address::new(own.address(), own.prefix()) })
}

/// Whether two are the same address to the kernel, whoever put them there.
pub(crate) fn is_same(one: &Address, other: &Address) -> bool {
    (one.ip, one.prefix) == (other.ip, other.prefix)
}

/// A route's network as address and prefix. "default" is of its gateway's family.
pub(crate) fn network(route: &Route) -> (IpAddr, u8) {
    match route.to {
        Destination::Default => (netlink::Route::default_via(route.via).to, 0),
        Destination::Network(network) => (network.cidr().network(), network.cidr().prefix()),
    }
}

/// The metric that the kernel will show. It has no 0 for IPv6 and writes 1024 instead.
pub(crate) fn metric(route: &Route) -> u32 {
    const IPV6_DEFAULT: u32 = 1024;
    let otherwise = if route.via.is_ipv4() { 0 } else { IPV6_DEFAULT };
    route.metric.map_or(otherwise, Count::get)
}

pub(crate) fn bond_mode(mode: SeedBondMode) -> BondMode {
    match mode {
        SeedBondMode::ActiveBackup => BondMode::ActiveBackup,
        SeedBondMode::Lacp => BondMode::Lacp,
        SeedBondMode::BalanceXor => BondMode::Xor,
        SeedBondMode::Broadcast => BondMode::Broadcast,
    }
}
