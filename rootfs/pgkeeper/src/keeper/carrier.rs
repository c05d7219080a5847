//! The cables: whether any link that a channel uses still has its other end.
//!
//! A pulled cable is known within milliseconds, silence only after the bound. So when the last one
//! goes, the protocol is told at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd};

use netlink::{Event, Monitor, Netlink, NetlinkError, Route};

use super::config::Channel;

/// What the kernel says about links, as far as it matters. Pure.
#[derive(Debug, Default)]
struct Links {
    /// By index: the name, and whether the link is up and has carrier.
    links: BTreeMap<u32, (String, bool)>,
    /// The link that an address was last seen on. With its link down an IPv6 address vanishes, and
    /// that is when one must know where it was.
    addresses: BTreeMap<IpAddr, u32>,
}

impl Links {
    /// Whether a channel's link has carrier; `None` if nobody knows which link it uses.
    fn has_carrier(&self, channel: &Channel) -> Option<bool> {
        let link = if let Some(name) = &channel.link {
            self.links.values().find(|(known, _)| known == name)
        } else {
            self.links.get(self.addresses.get(&channel.local.ip())?)
        };
        Some(link.is_some_and(|(_, carrier)| *carrier))
    }

    fn unplugged(&self, channels: &[Channel]) -> bool {
        channels.iter().all(|channel| self.has_carrier(channel) == Some(false))
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Link(link) => {
                self.links.insert(link.id.index, (link.id.name, link.up && link.carrier));
            }
            Event::LinkGone(id) => {
                self.links.remove(&id.index);
            }
            Event::Address(index, address) => {
                self.addresses.insert(address.ip, index);
            }
            Event::AddressGone(..) | Event::Lost => {}
        }
    }
}

/// The watch over the cables.
#[derive(Debug)]
pub(crate) struct Carrier {
    monitor: Monitor,
    netlink: Netlink,
    channels: Vec<Channel>,
    links: Links,
    unplugged: bool,
}

impl Carrier {
    pub(crate) fn open(channels: &[Channel]) -> Result<Self, NetlinkError> {
        // News are heard from before the list, so that nothing falls between.
        let monitor = Monitor::open()?;
        let netlink = Netlink::open()?;
        let (channels, links) = (channels.to_vec(), Links::default());
        let mut carrier = Self { monitor, netlink, channels, links, unplugged: false };
        carrier.list()?;
        Ok(carrier)
    }

    fn list(&mut self) -> Result<(), NetlinkError> {
        self.links.links.clear();
        for link in self.netlink.links()? {
            self.links.hear(Event::Link(link));
        }
        for (index, address) in self.netlink.addresses()? {
            self.links.hear(Event::Address(index, address));
        }
        Ok(())
    }

    /// Takes in the news; whether the last cable was pulled just now.
    pub(crate) fn hear(&mut self) -> Result<bool, NetlinkError> {
        while let Some(event) = self.monitor.event()? {
            match event {
                Event::Lost => self.list()?,
                event => self.links.hear(event),
            }
        }
        Ok(self.look())
    }

    /// Whether the last cable was pulled since the last look.
    pub(crate) fn look(&mut self) -> bool {
        let before = self.unplugged;
        self.unplugged = self.links.unplugged(&self.channels);
        self.unplugged && !before
    }

    /// The routers of the default routes: who is to be asked where the seed names no gateway.
    pub(crate) fn routers(&mut self) -> Result<Vec<SocketAddr>, NetlinkError> {
        let routes = self.netlink.routes()?;
        let default = routes.iter().filter(|route| route.prefix == 0);
        Ok(default.filter_map(router).collect::<BTreeSet<_>>().into_iter().collect())
    }
}

/// Who a route leads to. What advertises itself on an IPv6 link has an address of that link only.
fn router(route: &Route) -> Option<SocketAddr> {
    Some(match route.via? {
        IpAddr::V6(via) if via.is_unicast_link_local() => {
            SocketAddrV6::new(via, 0, 0, route.link?).into()
        }
        via => SocketAddr::new(via, 0),
    })
}

impl AsFd for Carrier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(local: &str, link: Option<&str>) -> Channel {
        let (name, local) = ("c".to_owned(), local.parse().expect("an address"));
        Channel { name, local, peer: local, link: link.map(str::to_owned) }
    }

    fn links(of: &[(u32, &str, bool)]) -> Links {
        let links = of.iter().map(|(index, name, up)| (*index, ((*name).to_owned(), *up)));
        let addresses = [("10.0.0.1".parse().expect("an address"), 1)];
        Links { links: links.collect(), addresses: addresses.into() }
    }

    #[test]
    fn a_router_of_a_link_is_asked_on_that_link() {
        let via = |text: &str, link| {
            let route = Route::default_via(text.parse().expect("an address"));
            router(&Route { link, ..route }).map(|address| address.to_string())
        };
        assert_eq!(via("fe80::1", Some(3)).as_deref(), Some("[fe80::1%3]:0"));
        assert_eq!(via("fe80::1", None), None, "nobody knows where it is");
        assert_eq!(via("2001:db8::1", Some(3)).as_deref(), Some("[2001:db8::1]:0"));
        assert_eq!(via("192.0.2.1", Some(3)).as_deref(), Some("192.0.2.1:0"));
        let own = Route::new("0.0.0.0".parse().expect("an address"), 0);
        assert_eq!(router(&own), None, "it leads to the link itself");
    }

    #[test]
    fn only_when_every_cable_is_out_the_node_is_unplugged() {
        let channels = [channel("10.0.0.1:1", None), channel("0.0.0.0:1", Some("cross"))];
        assert!(!links(&[(1, "lan", true), (2, "cross", false)]).unplugged(&channels));
        assert!(!links(&[(1, "lan", false), (2, "cross", true)]).unplugged(&channels));
        assert!(links(&[(1, "lan", false), (2, "cross", false)]).unplugged(&channels));
        assert!(links(&[]).unplugged(&channels), "links that are gone carry nothing");
    }

    #[test]
    fn an_address_that_nobody_has_seen_proves_nothing() {
        let channels = [channel("10.0.0.9:1", None)];
        assert!(!links(&[(1, "lan", false)]).unplugged(&channels));
    }

    #[test]
    fn an_address_that_vanished_with_its_link_is_remembered() {
        let mut links = links(&[(1, "lan", false)]);
        let address = netlink::Address::new("10.0.0.1".parse().expect("an address"), 24);
        links.hear(Event::AddressGone(1, address));
        assert!(links.unplugged(&[channel("10.0.0.1:1", None)]));
    }

    #[test]
    fn the_kernel_s_loopback_has_carrier() {
        let mut carrier = Carrier::open(&[channel("127.0.0.1:1", None)]).expect("netlink");
        assert!(!carrier.hear().expect("news"));
        assert_eq!(carrier.links.has_carrier(&carrier.channels[0]), Some(true));
    }
}
