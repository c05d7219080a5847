//! The links and addresses of this machine, kept current by the kernel's news.
//!
//! It answers two questions for each router: is the interface up, and which of its addresses is it
//! to send from. Virtual addresses are never sent from, unless by their owner.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink::owner::NODE;
use netlink::{Address, Check, Event, Link, Netlink, NetlinkError};

use super::holder::ADDRESS_TAG;
use crate::router::Settings;

/// What is known of the machine's network.
#[derive(Debug, Default)]
pub(super) struct Landscape {
    links: BTreeMap<u32, Link>,
    /// In the kernel's order as far as it is known: IPv6 is listed newest first, and news come last.
    addresses: Vec<(u32, Address)>,
}

impl Landscape {
    pub(super) fn list(netlink: &mut Netlink) -> Result<Self, NetlinkError> {
        let links = netlink.links()?.into_iter().map(|link| (link.id.index, link)).collect();
        Ok(Self { links, addresses: netlink.addresses()? })
    }

    /// Takes one piece of news; false if everything has to be listed again.
    pub(super) fn hear(&mut self, event: Event) -> bool {
        match event {
            Event::Link(link) => {
                self.links.insert(link.id.index, link);
            }
            Event::LinkGone(id) => {
                self.links.remove(&id.index);
                self.addresses.retain(|(index, _)| *index != id.index);
            }
            Event::Address(index, address) => {
                let same = |(at, known): &&mut (u32, Address)| {
                    *at == index && known.ip == address.ip && known.prefix == address.prefix
                };
                match self.addresses.iter_mut().find(same) {
                    Some((_, known)) => *known = address,
                    None => self.addresses.push((index, address)),
                }
            }
            Event::AddressGone(index, address) => {
                self.addresses.retain(|(at, known)| {
                    *at != index || known.ip != address.ip || known.prefix != address.prefix
                });
            }
            Event::Lost => return false,
        }
        true
    }

    pub(super) fn link(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.id.name == name)
    }

    pub(super) fn name(&self, index: u32) -> Option<&String> {
        self.links.get(&index).map(|link| &link.id.name)
    }

    /// Whether packets can be sent: it was set up, and its cable is plugged.
    pub(super) fn is_up(&self, name: &str) -> bool {
        self.link(name).is_some_and(|link| link.up && link.carrier)
    }

    pub(super) fn has(&self, index: u32, address: IpAddr) -> bool {
        self.addresses.iter().any(|(at, known)| *at == index && known.ip == address)
    }

    pub(super) fn addresses(&self) -> &[(u32, Address)] {
        &self.addresses
    }

    pub(super) fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// The address that a router sends from, if it has one now. The one that it has sent from stays,
    /// since peers know it; else the node's own from the seed comes before what others gave it.
    pub(super) fn primary(&self, settings: &Settings, present: Option<IpAddr>) -> Option<IpAddr> {
        let link = self.link(&settings.interface)?;
        let owner = settings.priority.is_owner();
        let virtual_one = |address: &Address| {
            address.protocol == ADDRESS_TAG
                || settings.addresses.iter().any(|cidr| cidr.address == address.ip)
        };
        let of_link = self.addresses.iter().filter(|(index, address)| {
            *index == link.id.index
                && address.ip.is_ipv6() == settings.ipv6
                && address.check == Check::Passed
        });
        let (shared, mut own): (Vec<&Address>, Vec<&Address>) =
            of_link.map(|(_, address)| address).partition(|address| virtual_one(address));
        // An owner that has nothing else sends from the address that it owns.
        let shared = shared.into_iter().filter(|_| owner);
        own.sort_by_key(|address| {
            let (is_own, fades) = (address.protocol == NODE, address.lifetime.preferred == Some(0));
            (Some(address.ip) != present, !is_own, fades)
        });
        let mut candidates = own.into_iter().chain(shared).map(|address| address.ip);
        if let Some(wanted) = settings.source {
            return candidates.find(|address| *address == wanted);
        }
        let local =
            |address: &IpAddr| matches!(address, IpAddr::V6(a) if a.is_unicast_link_local());
        // Multicast between IPv6 routers is link-local; far peers have to be able to answer.
        let wants_local = settings.ipv6 && settings.peers.iter().all(local);
        candidates.find(|address| local(address) == wants_local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use netlink::{LinkId, OperState};

    fn landscape(addresses: &[&str]) -> Landscape {
        let link = Link {
            id: LinkId { index: 3, name: "eth0".to_owned() },
            kind: None,
            detail: None,
            loopback: false,
            mac: None,
            permanent_mac: None,
            up: true,
            carrier: true,
            state: OperState::Up,
            mtu: 1500,
            master: None,
            below: None,
        };
        let mut landscape = Landscape::default();
        landscape.hear(Event::Link(link));
        for address in addresses {
            let address = Address::new(address.parse().expect("an address"), 24);
            landscape.hear(Event::Address(3, address));
        }
        landscape
    }

    fn settings(extra: &str, vip: &str) -> Settings {
        let text = format!(
            "[[instances]]\nname = 'a'\ninterface = 'eth0'\nvrid = 1\naddresses = ['{vip}']\n{extra}"
        );
        let config = Config::parse(&text).expect("good");
        Settings::of(&config.instances[0]).remove(0)
    }

    fn primary(addresses: &[&str], extra: &str, vip: &str) -> Option<String> {
        landscape(addresses).primary(&settings(extra, vip), None).map(|address| address.to_string())
    }

    #[test]
    fn the_first_address_that_is_not_virtual_is_sent_from() {
        let two = ["192.0.2.10", "192.0.2.1", "192.0.2.2"];
        assert_eq!(primary(&two, "", "192.0.2.10/24").as_deref(), Some("192.0.2.1"));
        let named = primary(&two, "source = ['192.0.2.2']", "192.0.2.10/24");
        assert_eq!(named.as_deref(), Some("192.0.2.2"));
        assert_eq!(primary(&two, "source = ['192.0.2.9']", "192.0.2.10/24"), None);
        assert_eq!(primary(&two[..1], "", "192.0.2.10/24"), None);
        let owner = |addresses| primary(addresses, "priority = 255", "192.0.2.10/24");
        assert_eq!(owner(&two).as_deref(), Some("192.0.2.1"));
        assert_eq!(owner(&two[..1]).as_deref(), Some("192.0.2.10"));
    }

    #[test]
    fn ipv6_routers_talk_by_link_local_addresses_unless_peers_are_far() {
        let both = ["2001:db8::1", "fe80::1"];
        assert_eq!(primary(&both, "", "2001:db8::10/64").as_deref(), Some("fe80::1"));
        let far = primary(&both, "peers = ['2001:db8::2']", "2001:db8::10/64");
        assert_eq!(far.as_deref(), Some("2001:db8::1"));
        let near = primary(&both, "peers = ['fe80::2']", "2001:db8::10/64");
        assert_eq!(near.as_deref(), Some("fe80::1"));
    }

    #[test]
    fn the_source_stays_whatever_comes_and_is_the_seeds_own_to_begin_with() {
        let settings = settings("peers = ['2001:db8::2']", "2001:db8::10/64");
        let own = Address { protocol: NODE, ..Address::new("2001:db8::1".parse().unwrap(), 64) };
        for others in [vec!["2001:db8:1::9"], vec!["2001:db8:1::9", "2001:db8:2::9"]] {
            let mut landscape = landscape(&others);
            let first: IpAddr = others[0].parse().unwrap();
            assert_eq!(landscape.primary(&settings, None), Some(first));
            landscape.hear(Event::Address(3, own));
            assert_eq!(landscape.primary(&settings, None), Some(own.ip));
            assert_eq!(landscape.primary(&settings, Some(first)), Some(first));
            landscape.hear(Event::AddressGone(3, Address::new(first, 24)));
            assert_eq!(landscape.primary(&settings, Some(first)), Some(own.ip));
        }
    }

    #[test]
    fn news_change_it_and_lost_news_are_said() {
        let mut landscape = landscape(&["192.0.2.1"]);
        assert!(landscape.is_up("eth0") && !landscape.is_up("eth1"));
        let gone = Address::new([192, 0, 2, 1].into(), 24);
        assert!(landscape.hear(Event::AddressGone(3, gone)));
        assert!(!landscape.has(3, [192, 0, 2, 1].into()));
        assert!(landscape.hear(Event::LinkGone(LinkId { index: 3, name: String::new() })));
        assert!(landscape.link("eth0").is_none());
        assert!(!landscape.hear(Event::Lost));
    }
}
