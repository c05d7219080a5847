//! A kernel made of values, as strict as the real one where it matters to the planner: a step that
//! the real one would refuse fails the test.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink::{
    Address, Check, Detail, Link, LinkId, Mac, NewKind, NewLink, OperState, PROTOCOL_KERNEL, Route,
};

use crate::network::cards::Claims;
use crate::network::change::{Change, Trouble};
use crate::network::plan::plan;
use crate::network::there::{ACCEPT_RA, INHERITED, Seen, Settings, There};
use crate::network::wanted::Wanted;

/// What the defaults of a node are set to; cards that came before have 0 everywhere.
const DEFAULT: &str = "1";
/// No seed here needs so many.
const MAX_ROUNDS: usize = 16;

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) there: There,
    pub(super) claims: Claims,
    next: u32,
}

/// The links and routes of a seed whose node has the first address of 10.9.0.0/24.
pub(super) fn wanted(links: &str) -> Wanted {
    let mut text = format!(
        "format = 1\n[node]\nname = \"n1\"\nroles = [\"etcd\"]\n{links}\n[cluster]\nname = \"c\"\n\
         [etcd]\ntoken = \"c\"\n"
    );
    for number in 1..=3 {
        text += &format!(
            "[[cluster.nodes]]\nname = \"n{number}\"\nroles = [\"etcd\"]\n\
             addresses = [\"10.9.0.{number}\"]\n"
        );
    }
    Wanted::of(&seed::parse("test", &text).unwrap_or_else(|problems| panic!("{problems}")))
}

fn settings(value: &str) -> Settings {
    INHERITED.iter().chain([&ACCEPT_RA]).map(|setting| (*setting, value.to_owned())).collect()
}

pub(super) fn mac(last: u8) -> Mac {
    Mac([0x52, 0x54, 0, 0, 0, last])
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self { there: There::default(), claims: Claims::default(), next: 1 };
        world.there.defaults = settings(DEFAULT);
        world.add("lo", None);
        world.there.links[0].link.loopback = true;
        world
    }

    /// A link with a name, down, with settings from before the defaults were set.
    pub(super) fn add(&mut self, name: &str, kind: Option<&str>) -> u32 {
        let index = self.next;
        self.next += 1;
        let link = Link {
            id: LinkId { index, name: name.to_owned() },
            kind: kind.map(str::to_owned),
            detail: None,
            loopback: false,
            mac: None,
            permanent_mac: None,
            up: false,
            carrier: false,
            state: OperState::Down,
            mtu: 1500,
            master: None,
            below: None,
        };
        let settings = settings("0");
        self.there.links.push(Seen { link, card: false, driver: None, speed: None, settings });
        index
    }

    pub(super) fn add_card(&mut self, name: &str, last: u8, driver: &str) -> u32 {
        let index = self.add(name, None);
        let seen = self.seen(index);
        seen.card = true;
        seen.driver = Some(driver.to_owned());
        seen.link.mac = Some(mac(last));
        seen.link.permanent_mac = Some(mac(last));
        index
    }

    pub(super) fn seen(&mut self, index: u32) -> &mut Seen {
        let found = self.there.links.iter_mut().find(|seen| seen.index() == index);
        found.unwrap_or_else(|| panic!("link {index} isn't there"))
    }

    pub(super) fn give(&mut self, index: u32, ip: &str, prefix: u8, protocol: u8) {
        let ip: IpAddr = ip.parse().expect("ip");
        self.there.addresses.push((index, Address { protocol, ..Address::new(ip, prefix) }));
    }

    /// Plans and does until nothing is left; returns what stands in the way.
    pub(super) fn settle(&mut self, wanted: &Wanted) -> Vec<Trouble> {
        let mut done = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let (claims, mut troubles) = self.claims.renew(wanted, &self.there);
            self.claims = claims;
            let plan = plan(wanted, &self.there, &self.claims);
            if plan.changes.is_empty() {
                troubles.extend(plan.troubles);
                return troubles;
            }
            for change in &plan.changes {
                self.apply(change);
            }
            done.push(plan.changes);
        }
        panic!("no end to {:#?}", done.last());
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::SetUp { link, up: true } => self.set_up(link.index),
            Change::SetUp { link, up: false } => self.set_down(link.index),
            Change::Rename { link, to } => {
                assert!(!self.seen(link.index).link.up, "{link} is up, so it keeps its name");
                assert!(self.there.named(to).is_none(), "there is a {to} already");
                self.seen(link.index).link.id.name.clone_from(to);
            }
            Change::SetMtu { link, mtu } => self.seen(link.index).link.mtu = *mtu,
            Change::Create(new) => self.create(new),
            Change::Remove(link) => {
                assert!(!self.seen(link.index).card, "cards aren't removed");
                self.remove(link.index);
            }
            Change::Join { member, bond } => {
                assert!(!self.seen(member.index).link.up, "{member} is up, so no bond takes it");
                let mac = self.seen(bond.index).link.mac;
                let seen = self.seen(member.index);
                seen.link.master = Some(bond.index);
                seen.link.mac = mac.or(seen.link.mac);
                self.set_up(member.index);
            }
            Change::Set { link, setting, value } => {
                self.seen(link.index).settings.insert(*setting, value.clone());
            }
            Change::AddAddress { link, address } => {
                self.seen(link.index);
                let twice = self.there.addresses_of(link.index).any(|own| own.ip == address.ip);
                assert!(!twice || address.ip.is_ipv4(), "{link} has {address} already");
                let check = if address.ip.is_ipv4() { Check::Passed } else { Check::Running };
                self.there.addresses.push((link.index, Address { check, ..*address }));
            }
            Change::DropAddress { link, address } => {
                let before = self.there.addresses.len();
                self.there.addresses.retain(|own| *own != (link.index, *address));
                assert!(self.there.addresses.len() < before, "{link} has no {address}");
            }
            Change::PutRoute(route) => {
                let link = route.link.expect("planned with its link");
                assert!(self.seen(link).link.up, "a route through a link that is down: {route}");
                let same = |other: &Route| {
                    (other.to, other.prefix, other.metric) == (route.to, route.prefix, route.metric)
                };
                self.there.routes.retain(|other| !same(other));
                self.there.routes.push(*route);
            }
            Change::DropRoute(route) => self.there.routes.retain(|other| other != route),
        }
    }

    fn create(&mut self, new: &NewLink) {
        assert!(self.there.named(&new.name).is_none(), "there is a {} already", new.name);
        let index = self.add(&new.name, Some(new.kind.name()));
        let defaults = self.there.defaults.clone();
        let seen = self.seen(index);
        seen.settings = defaults;
        seen.link.mac = new.mac;
        match &new.kind {
            NewKind::Bond { mode, miimon, .. } => {
                seen.link.detail = Some(Detail::Bond { mode: *mode as u8, miimon: *miimon });
            }
            NewKind::Vlan { parent, id } => {
                seen.link.detail = Some(Detail::Vlan { id: *id });
                seen.link.below = Some(*parent);
                self.seen(*parent);
            }
            other => panic!("no seed has a {other:?}"),
        }
    }

    fn set_up(&mut self, index: u32) {
        let link = self.seen(index).link.clone();
        if let Some(below) = link.below {
            assert!(self.seen(below).link.up, "what {} stands on is down", link.id);
        }
        self.seen(index).link.up = true;
    }

    /// As the real one does: routes and IPv6 addresses go, and VLANs on the link go down with it.
    pub(super) fn set_down(&mut self, index: u32) {
        self.seen(index).link.up = false;
        self.there.routes.retain(|route| route.link != Some(index));
        self.there.addresses.retain(|(link, address)| *link != index || address.ip.is_ipv4());
        for vlan in self.above(index) {
            self.set_down(vlan);
        }
    }

    /// A link is gone: unplugged, or removed.
    pub(super) fn remove(&mut self, index: u32) {
        for vlan in self.above(index) {
            self.remove(vlan);
        }
        for seen in &mut self.there.links {
            seen.link.master = seen.link.master.filter(|master| *master != index);
        }
        self.there.links.retain(|seen| seen.index() != index);
        self.there.addresses.retain(|(link, _)| *link != index);
        self.there.routes.retain(|route| route.link != Some(index));
    }

    fn above(&self, index: u32) -> Vec<u32> {
        let stands_on = |seen: &&Seen| seen.link.below == Some(index);
        self.there.links.iter().filter(stands_on).map(Seen::index).collect()
    }

    /// Names and addresses, for comparing at a glance. Addresses of each link are sorted.
    pub(super) fn picture(&self) -> BTreeMap<String, Vec<String>> {
        let addresses = |index: u32| {
            let mut list: Vec<String> =
                self.there.addresses_of(index).map(Address::to_string).collect();
            list.sort();
            list
        };
        self.there
            .links
            .iter()
            .map(|seen| (seen.name().to_owned(), addresses(seen.index())))
            .collect()
    }

    /// A route that the kernel has by itself, which nobody may touch.
    pub(super) fn add_kernel_route(&mut self, index: u32) {
        let to: IpAddr = "10.9.0.0".parse().expect("ip");
        let route = Route { link: Some(index), protocol: PROTOCOL_KERNEL, ..Route::new(to, 24) };
        self.there.routes.push(route);
    }
}
