//! From what the kernel has to what the seed wants, one round of steps at a time.
//!
//! A round holds only steps that are possible right now: what stands on a link that this round
//! makes or renames comes in the next one, when the kernel has told the link's number. The caller
//! does a round, looks again and asks again, until nothing is left to do:
//!
//! ```text
//!   card found ─> its name ─┬─> settings, MTU ─> up ─> addresses ─> routes
//!   bond made ─> members ───┤
//!   VLAN made on either ────┘
//! ```
//!
//! It is a comparison, not a script: it never asks for what is there, so on a finished network it
//! asks for nothing, and whatever somebody changes, it changes back. What carries another owner's
//! tag, above all virtual addresses, it doesn't see; untagged addresses it leaves alone.

use std::net::IpAddr;

use netlink::{Address, Check, Detail, LinkId, NewKind, NewLink, Route, TransmitHash, owner};
use seed::section::{Link, LinkKind};

use super::cards::Claims;
use super::change::{Change, Trouble};
use super::there::{ACCEPT_RA, INHERITED, Seen, There};
use super::wanted::{self, Wanted, is_same};

/// How often a bond looks at the carrier of its members, in milliseconds. It decides how long a
/// pulled cable goes unnoticed; a look costs next to nothing.
const MIIMON: u32 = 50;

/// A round.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) changes: Vec<Change>,
    pub(crate) troubles: Vec<Trouble>,
}

/// Compares, and says what to do next.
pub(crate) fn plan(wanted: &Wanted, there: &There, claims: &Claims) -> Plan {
    let mut planner = Planner { wanted, there, claims, plan: Plan::default() };
    planner.loopback();
    let ready: Vec<(&Link, &Seen)> =
        wanted.links.iter().filter_map(|link| Some((link, planner.ready(link)?))).collect();
    planner.drop_addresses(&ready);
    for (link, seen) in &ready {
        planner.settings(link, seen);
        planner.mtu_and_up(link, seen);
        planner.addresses(link, seen);
    }
    planner.routes(&ready);
    planner.plan
}

/// Takes away those of the node's own addresses that another machine has.
pub(crate) fn forget_duplicates(there: &There) -> Vec<Change> {
    let taken = there.addresses.iter().filter(|(_, address)| {
        address.protocol == owner::NODE && address.check == Check::Duplicate
    });
    let forget = |(index, address): &(u32, Address)| {
        let link = there.numbered(*index)?.link.id.clone();
        Some(Change::DropAddress { link, address: *address })
    };
    taken.filter_map(forget).collect()
}

struct Planner<'a> {
    wanted: &'a Wanted,
    there: &'a There,
    claims: &'a Claims,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn change(&mut self, change: Change) {
        self.plan.changes.push(change);
    }

    fn set_up(&mut self, link: &LinkId, up: bool) {
        self.change(Change::SetUp { link: link.clone(), up });
    }

    fn loopback(&mut self) {
        let down = self.there.links.iter().find(|seen| seen.link.loopback && !seen.link.up);
        if let Some(seen) = down {
            self.set_up(&seen.link.id, true);
        }
    }

    /// The link as it is, once it has its name and stands where it should; until then what is
    /// missing.
    fn ready(&mut self, link: &Link) -> Option<&'a Seen> {
        match link.kind {
            LinkKind::Plain => self.card(link),
            LinkKind::Bond => self.bond(link),
            LinkKind::Vlan => self.vlan(link),
        }
    }

    fn card(&mut self, link: &Link) -> Option<&'a Seen> {
        let card = self.claims.card(link, self.there)?;
        if card.name() != link.name.as_str() {
            self.rename(card, link);
            return None;
        }
        let Some(bond) = self.wanted.bond_of(link) else { return Some(card) };
        let bond = self.made(bond, "bond")?;
        if card.link.master == Some(bond.index()) {
            return Some(card);
        }
        // A bond takes only links that are down, and sets them up itself.
        if card.link.up {
            self.set_up(&card.link.id, false);
        }
        self.change(Change::Join { member: card.link.id.clone(), bond: bond.link.id.clone() });
        None
    }

    /// Gives a card its name. Who has that name gives it up first.
    fn rename(&mut self, card: &Seen, link: &Link) {
        let to = link.name.to_string();
        let (who, to) = match self.there.named(&to) {
            None => (card, to),
            Some(holder) if holder.card => (holder, format!("card{}", holder.index())),
            Some(holder) => {
                let kind = holder.link.kind.clone().unwrap_or_default();
                self.plan.troubles.push(Trouble::NameTaken { link: to, kind });
                return;
            }
        };
        if who.link.up {
            self.set_up(&who.link.id, false);
        }
        self.change(Change::Rename { link: who.link.id.clone(), to });
    }

    fn bond(&mut self, link: &Link) -> Option<&'a Seen> {
        let mode = wanted::bond_mode(link.mode);
        let there = self.made(link, "bond");
        match there {
            Some(seen)
                if seen.link.detail == Some(Detail::Bond { mode: mode as u8, miimon: MIIMON }) =>
            {
                there
            }
            // Loading the driver makes a bond0 of its own, and modes don't change in a bond in use.
            Some(seen) => {
                self.change(Change::Remove(seen.link.id.clone()));
                None
            }
            None => {
                let hash = TransmitHash::HardwareAndIp;
                self.create(link, NewKind::Bond { mode, miimon: MIIMON, hash });
                None
            }
        }
    }

    fn vlan(&mut self, link: &Link) -> Option<&'a Seen> {
        let parent = self.wanted.link(link.parent.as_ref()?.as_str())?;
        let parent = match parent.kind {
            LinkKind::Plain => {
                let card = self.claims.card(parent, self.there)?;
                (card.name() == parent.name.as_str()).then_some(card)?
            }
            _ => self.made(parent, "bond")?,
        };
        let id = link.id?.get();
        let there = self.made(link, "vlan");
        match there {
            Some(seen)
                if seen.link.detail == Some(Detail::Vlan { id })
                    && seen.link.below == Some(parent.index()) =>
            {
                there
            }
            Some(seen) => {
                self.change(Change::Remove(seen.link.id.clone()));
                None
            }
            None => {
                self.create(link, NewKind::Vlan { parent: parent.index(), id });
                None
            }
        }
    }

    /// The made link of a name, if it is of the right kind.
    fn made(&self, link: &Link, kind: &str) -> Option<&'a Seen> {
        let seen = self.there.named(link.name.as_str())?;
        (seen.link.kind.as_deref() == Some(kind)).then_some(seen)
    }

    fn create(&mut self, link: &Link, kind: NewKind) {
        let name = link.name.to_string();
        match self.there.named(&name) {
            None => {
                // The same hardware address at every boot, whichever member comes first.
                let first = link.members.first().and_then(|name| self.wanted.link(name.as_str()));
                let card = first.and_then(|member| self.claims.card(member, self.there));
                let mac = card.and_then(Seen::born_with);
                self.change(Change::Create(NewLink { mac, ..NewLink::new(&name, kind) }));
            }
            Some(holder) if holder.card => {
                if holder.link.up {
                    self.set_up(&holder.link.id, false);
                }
                let to = format!("card{}", holder.index());
                self.change(Change::Rename { link: holder.link.id.clone(), to });
            }
            Some(holder) => {
                let kind = holder.link.kind.clone().unwrap_or_default();
                self.plan.troubles.push(Trouble::NameTaken { link: name, kind });
            }
        }
    }

    fn settings(&mut self, link: &Link, seen: &Seen) {
        // 2 accepts them although the node forwards packets, as nodes with pods do.
        let accept = if link.accept_router_advertisements { "2" } else { "0" };
        let inherited = INHERITED
            .iter()
            .filter_map(|setting| Some((*setting, self.there.defaults.get(setting)?.as_str())));
        for (setting, value) in inherited.chain([(ACCEPT_RA, accept)]) {
            if seen.settings.get(&setting).is_some_and(|own| own != value) {
                let (link, value) = (seen.link.id.clone(), value.to_owned());
                self.plan.changes.push(Change::Set { link, setting, value });
            }
        }
    }

    fn mtu_and_up(&mut self, link: &Link, seen: &Seen) {
        let id = &seen.link.id;
        // Members of a bond have its MTU.
        let mtu = link.mtu.map(seed::scalar::Mtu::get).filter(|mtu| *mtu != seen.link.mtu);
        if let Some(mtu) = mtu
            && self.wanted.bond_of(link).is_none()
        {
            self.change(Change::SetMtu { link: id.clone(), mtu });
        }
        // A VLAN goes up only on a link that is up.
        let below = seen.link.below.filter(|_| link.kind == LinkKind::Vlan);
        let possible =
            below.and_then(|index| self.there.numbered(index)).is_none_or(|it| it.link.up);
        if !seen.link.up && possible {
            self.set_up(id, true);
        }
    }

    /// Takes away the addresses that PID 1 gave and that the seed doesn't name (any more).
    fn drop_addresses(&mut self, ready: &[(&Link, &Seen)]) {
        for (index, address) in &self.there.addresses {
            let named = ready.iter().any(|(link, seen)| {
                seen.index() == *index && wanted::addresses(link).any(|own| is_same(&own, address))
            });
            // A link that isn't ready has its addresses again before long.
            let in_work = |seen: &Seen| {
                self.wanted.link(seen.name()).is_some_and(|link| self.is_its(link, seen))
                    && !ready.iter().any(|(_, other)| other.index() == *index)
            };
            let Some(seen) = self.there.numbered(*index) else { continue };
            if address.protocol == owner::NODE && !named && !in_work(seen) {
                let (link, address) = (seen.link.id.clone(), *address);
                self.plan.changes.push(Change::DropAddress { link, address });
            }
        }
    }

    /// Whether what has a link's name is that link: a card may have it by chance.
    fn is_its(&self, link: &Link, seen: &Seen) -> bool {
        link.kind != LinkKind::Plain
            || self.claims.card(link, self.there).is_some_and(|card| card.index() == seen.index())
    }

    fn addresses(&mut self, link: &Link, seen: &Seen) {
        for address in wanted::addresses(link) {
            let found = self.there.addresses_of(seen.index()).find(|own| is_same(own, &address));
            match found {
                Some(own) if own.check == Check::Duplicate => {
                    let (link, address) = (link.name.to_string(), address.ip.to_string());
                    self.plan.troubles.push(Trouble::Duplicate { link, address });
                }
                Some(_) => {}
                None => self.change(Change::AddAddress { link: seen.link.id.clone(), address }),
            }
        }
    }

    fn routes(&mut self, ready: &[(&Link, &Seen)]) {
        for route in &self.wanted.routes {
            let Some(through) = self.wanted.link_of(route) else { continue };
            let Some((link, seen)) = ready.iter().find(|(link, _)| link.name == through.name)
            else {
                continue;
            };
            let Some(route) = self.possible(route, link, seen) else { continue };
            let same = |other: &&Route| key(other) == key(&route);
            let done = self.there.routes.iter().filter(same).any(|other| {
                (other.via, other.link, other.source) == (route.via, route.link, route.source)
            });
            if !done {
                self.change(Change::PutRoute(route));
            }
        }
        for route in self.there.routes.iter().filter(|route| route.protocol == owner::NODE) {
            let named = self.wanted.routes.iter().any(|other| {
                let (to, prefix) = wanted::network(other);
                (to, prefix, wanted::metric(other)) == key(route)
            });
            if !named {
                self.change(Change::DropRoute(*route));
            }
        }
    }

    /// The route in the kernel's words, if the kernel would take it now.
    fn possible(&self, route: &seed::section::Route, link: &Link, seen: &Seen) -> Option<Route> {
        let own = wanted::own_address(link, route.via);
        let usable = |ip| self.there.addresses_of(seen.index()).any(|address| address.ip == ip);
        if !seen.link.up || own.is_some_and(|own| !usable(own)) {
            return None;
        }
        let (to, prefix) = wanted::network(route);
        Some(Route {
            via: Some(route.via),
            link: Some(seen.index()),
            metric: wanted::metric(route),
            // Connections shall come from the node's own address, not from a virtual one on the
            // same link. For IPv6 the kernel refuses an address whose check isn't over, and chooses
            // well by itself.
            source: own.filter(IpAddr::is_ipv4),
            protocol: owner::NODE,
            ..Route::new(to, prefix)
        })
    }
}

/// What makes two routes the same place in the table.
fn key(route: &Route) -> (IpAddr, u8, u32) {
    (route.to, route.prefix, route.metric)
}
