//! Virtual addresses on links: put there, taken away, and found left behind.
//!
//! Release, in order: a router with its own interface first takes that down, which stops answers;
//! then the addresses go, which for the others stops answers; then the connections that used them are
//! ended, since their programs would wait for tens of seconds for packets that go nowhere.
//!
//! A takeover ends the connections that this machine's programs had with the former holder, and no
//! others: what is made with the new one is a moment old by then, and good.
//!
//! What a killed predecessor left is known by a tag that the kernel keeps with each address, and by
//! the configuration: an address that is virtual here is nobody else's. It is removed before the
//! first packet is read.

use std::fs;
use std::net::IpAddr;

use netlink::{
    Address, Lifetime, Link, LinkId, Mac, MacvlanMode, Netlink, NetlinkError, NewKind, NewLink,
    Sockets,
};

use super::landscape::Landscape;
use super::wire::virtual_interface;
use crate::config::Cidr;
use crate::router::{Router, Settings};

/// The mark of our addresses, as the kernel's `IFA_PROTO`. PID 1 knows it and leaves them alone.
pub(super) const ADDRESS_TAG: u8 = netlink::owner::VIP;
/// How virtual MACs begin; the rest is family and VRID.
const VIRTUAL_MAC: [u8; 4] = [0x00, 0x00, 0x5e, 0x00];

/// Ends some connections of one address; how many.
type Ending = fn(&mut Sockets, IpAddr) -> Result<usize, NetlinkError>;

/// What speaks to the kernel about addresses.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) netlink: Netlink,
    sockets: Option<Sockets>,
}

impl Holder {
    /// Ends of connections are a courtesy: without them everything else still works.
    pub(super) fn open() -> Result<Self, NetlinkError> {
        Ok(Self { netlink: Netlink::open()?, sockets: Sockets::open().ok() })
    }

    pub(super) fn has_sockets(&self) -> bool {
        self.sockets.is_some()
    }

    /// Puts a router's addresses on the link. Those of an owner may be there as its real ones.
    pub(super) fn add(&mut self, link: &LinkId, settings: &Settings) -> Result<(), NetlinkError> {
        if settings.virtual_mac {
            self.netlink.set_up(link, true)?;
        }
        for cidr in &settings.addresses {
            match self.netlink.add_address(link, &address(cidr)) {
                Err(error) if !error.is_there_already() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes a router's addresses away; a failure is for the log, and the others still go.
    pub(super) fn remove(
        &mut self,
        link: &LinkId,
        settings: &Settings,
        landscape: &Landscape,
    ) -> Vec<NetlinkError> {
        let mut failed = Vec::new();
        if settings.virtual_mac {
            let down = self.netlink.set_up(link, false);
            failed.extend(down.err().filter(|error| !error.is_gone()));
        }
        for cidr in &settings.addresses {
            if settings.priority.is_owner() && is_real(link, cidr, landscape) {
                continue;
            }
            let gone = self.netlink.delete_address(link, &address(cidr));
            failed.extend(gone.err().filter(|error| !error.is_gone()));
        }
        failed
    }

    /// The addresses of a router that go when it lets go of them; an owner's real ones stay.
    pub(super) fn going(link: Option<&LinkId>, settings: &Settings, all: &Landscape) -> Vec<Cidr> {
        let stays = |cidr: &&Cidr| {
            settings.priority.is_owner() && link.is_some_and(|link| is_real(link, cidr, all))
        };
        settings.addresses.iter().filter(|cidr| !stays(cidr)).copied().collect()
    }

    /// Ends all connections of addresses that went away; how many, and the first failure.
    pub(super) fn end_connections(&mut self, addresses: &[Cidr]) -> (usize, Option<NetlinkError>) {
        self.end(addresses, Sockets::destroy)
    }

    /// Ends those to the former holder of addresses that came; how many, and the first failure.
    pub(super) fn end_connections_to_former(
        &mut self,
        addresses: &[Cidr],
    ) -> (usize, Option<NetlinkError>) {
        self.end(addresses, Sockets::destroy_outgoing)
    }

    fn end(&mut self, addresses: &[Cidr], ending: Ending) -> (usize, Option<NetlinkError>) {
        let mut ended = 0;
        let Some(sockets) = &mut self.sockets else { return (0, None) };
        for cidr in addresses {
            match ending(sockets, cidr.address) {
                Ok(count) => ended += count,
                Err(error @ NetlinkError::CannotDestroy { .. }) => {
                    // The kernel can't; asking again the next time would only cost time.
                    self.sockets = None;
                    return (ended, Some(error));
                }
                Err(error) => return (ended, Some(error)),
            }
        }
        (ended, None)
    }

    /// Removes what was left behind; says what was removed, and what could not be.
    pub(super) fn clean(
        &mut self,
        routers: &[Router],
        landscape: &Landscape,
    ) -> (Vec<String>, Vec<NetlinkError>) {
        let (mut removed, mut failed) = (Vec::new(), Vec::new());
        for link in landscape.links().filter(|link| is_ours(link)) {
            match self.netlink.delete_link(&link.id) {
                Ok(()) => {
                    removed.push(format!("interface {}", link.id));
                    let on = landscape.addresses().iter().filter(|(at, _)| *at == link.id.index);
                    let on: Vec<Cidr> = on.map(|(_, address)| cidr_of(address)).collect();
                    failed.extend(self.end_connections(&on).1);
                }
                Err(error) => failed.push(error),
            }
        }
        for (index, address) in landscape.addresses() {
            let Some(link) = landscape.links().find(|link| link.id.index == *index) else {
                continue;
            };
            let configured = |router: &Router| {
                let settings = router.settings();
                settings.interface == link.id.name
                    && !settings.priority.is_owner()
                    && settings.addresses.iter().any(|cidr| cidr.address == address.ip)
            };
            let left = address.protocol == ADDRESS_TAG || routers.iter().any(configured);
            if !left || is_ours(link) {
                continue;
            }
            match self.netlink.delete_address(&link.id, address) {
                Ok(()) => {
                    removed.push(format!("{address} on {}", link.id));
                    failed.extend(self.end_connections(&[cidr_of(address)]).1);
                }
                Err(error) if error.is_gone() => {}
                Err(error) => failed.push(error),
            }
        }
        (removed, failed)
    }

    /// Makes the interface of a router with a virtual MAC, down and with nothing on it.
    pub(super) fn make_virtual(
        &mut self,
        settings: &Settings,
        below: &Link,
    ) -> Result<LinkId, NetlinkError> {
        let name = virtual_interface(settings.family(), settings.vrid, below.id.index);
        let kind = NewKind::Macvlan { parent: below.id.index, mode: MacvlanMode::Private };
        let mac = Mac(settings.family().virtual_mac(settings.vrid));
        let link = NewLink { mac: Some(mac), ..NewLink::new(&name, kind) };
        match self.netlink.create(&link) {
            Err(error) if !error.is_there_already() => return Err(error),
            _ => {}
        }
        let made = self.netlink.link(&name)?;
        quieten(&name, &below.id.name);
        Ok(made.id)
    }

    pub(super) fn delete_virtual(&mut self, link: &LinkId) -> Result<(), NetlinkError> {
        self.netlink.delete_link(link)
    }
}

/// A virtual address: used at once, since its old holder may be unable to let go of it; known by
/// its tag; and in IPv6 never chosen as the source of a connection that did not ask for it.
fn address(cidr: &Cidr) -> Address {
    let ipv6 = cidr.address.is_ipv6();
    Address {
        protocol: ADDRESS_TAG,
        no_dad: ipv6,
        lifetime: Lifetime { valid: None, preferred: ipv6.then_some(0) },
        ..Address::new(cidr.address, cidr.prefix)
    }
}

fn cidr_of(address: &Address) -> Cidr {
    Cidr { address: address.ip, prefix: address.prefix }
}

/// Whether an owner's address was there before us, and stays.
fn is_real(link: &LinkId, cidr: &Cidr, landscape: &Landscape) -> bool {
    landscape.addresses().iter().any(|(index, address)| {
        *index == link.index && address.ip == cidr.address && address.protocol != ADDRESS_TAG
    })
}

/// Whether an interface was made by us, now or in an earlier life.
fn is_ours(link: &Link) -> bool {
    let named = link.id.name.starts_with("vr4-") || link.id.name.starts_with("vr6-");
    let virtual_mac = link.mac.is_some_and(|mac| mac.0.starts_with(&VIRTUAL_MAC));
    named && virtual_mac && link.kind.as_deref() == Some("macvlan")
}

/// Keeps a virtual interface from making addresses of its own, and the real one from answering for
/// it with the wrong MAC. What can't be set is as the kernel has it by default.
fn quieten(name: &str, below: &str) {
    let ipv4 = |interface: &str, key: &str| format!("/proc/sys/net/ipv4/conf/{interface}/{key}");
    let ipv6 = |key: &str| format!("/proc/sys/net/ipv6/conf/{name}/{key}");
    let settings = [
        (ipv6("addr_gen_mode"), "1"),
        (ipv6("accept_ra"), "0"),
        (ipv6("dad_transmits"), "0"),
        (ipv4(name, "arp_ignore"), "1"),
        (ipv4(name, "rp_filter"), "0"),
        (ipv4(below, "arp_ignore"), "1"),
        (ipv4(below, "arp_announce"), "2"),
    ];
    for (path, value) in settings {
        let _ = fs::write(path, value);
    }
}

/// The addresses of routers, for messages.
pub(super) fn named(addresses: &[Cidr]) -> String {
    let all: Vec<String> = addresses.iter().map(|cidr| cidr.address.to_string()).collect();
    all.join(", ")
}
