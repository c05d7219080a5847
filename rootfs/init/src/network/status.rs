//! The network at a glance, for whoever asks: `nodectl status`, and the console.

use std::fmt;

use netlink::{Address, Check, Link, OperState, owner};
use serde::Serialize;

use super::cards::Claims;
use super::change::Trouble;
use super::there::{Seen, There};
use super::wanted::{self, Wanted};

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NetworkStatus {
    /// Whether something that the seed wants isn't there.
    pub(crate) degraded: bool,
    /// Why, in whole sentences.
    pub(crate) troubles: Vec<String>,
    /// In the seed's order.
    pub(crate) links: Vec<LinkStatus>,
}

/// In one line: `lan 192.168.77.11/24 fd77::11/64; port2 (no carrier)`.
impl fmt::Display for NetworkStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, link) in self.links.iter().enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            write!(formatter, "{separator}{}", link.name)?;
            for address in link.addresses.iter().filter(|address| address.wanted) {
                write!(formatter, " {}", address.address)?;
                if address.state != AddressState::Usable {
                    write!(formatter, " ({})", address.state.word())?;
                }
            }
            if !link.there {
                formatter.write_str(" (missing)")?;
            } else if !link.carrier {
                formatter.write_str(" (no carrier)")?;
            }
        }
        Ok(())
    }
}

/// A link of the seed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LinkStatus {
    pub(crate) name: String,
    pub(crate) kind: String,
    /// Whether it is there at all, under its name.
    pub(crate) there: bool,
    pub(crate) driver: Option<String>,
    pub(crate) mac: Option<String>,
    pub(crate) up: bool,
    pub(crate) carrier: bool,
    /// In Mbit/s, where the driver knows.
    pub(crate) speed: Option<u32>,
    pub(crate) mtu: Option<u32>,
    /// The bond that it is a member of.
    pub(crate) bond: Option<String>,
    pub(crate) addresses: Vec<AddressStatus>,
}

/// An address on a link of the seed, or one that should be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AddressStatus {
    pub(crate) address: String,
    pub(crate) state: AddressState,
    /// Whether the seed names it as the node's own.
    pub(crate) wanted: bool,
    /// Whether it is a virtual address, which is on this node for now.
    #[serde(rename = "virtual")]
    pub(crate) is_virtual: bool,
}

/// How far an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AddressState {
    Usable,
    /// It is being asked whether another machine has it.
    Checking,
    /// Another machine has it.
    Duplicate,
    Missing,
}

impl AddressState {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Checking => "being checked",
            Self::Duplicate => "another machine has it",
            Self::Missing => "missing",
        }
    }
}

impl NetworkStatus {
    pub(crate) fn of(
        wanted: &Wanted,
        there: &There,
        claims: &Claims,
        troubles: &[Trouble],
    ) -> Self {
        let links: Vec<LinkStatus> =
            wanted.links.iter().map(|link| link_status(link, wanted, there, claims)).collect();
        let whole = |link: &LinkStatus| {
            let missing = |address: &AddressStatus| {
                matches!(address.state, AddressState::Missing | AddressState::Duplicate)
            };
            link.there && link.up && link.carrier && !link.addresses.iter().any(missing)
        };
        Self {
            degraded: !troubles.is_empty() || !links.iter().all(whole),
            troubles: troubles.iter().map(Trouble::to_string).collect(),
            links,
        }
    }
}

fn link_status(
    link: &seed::section::Link,
    wanted: &Wanted,
    there: &There,
    claims: &Claims,
) -> LinkStatus {
    let card = claims.card(link, there);
    let seen = there.named(link.name.as_str()).or(card);
    let kernel = seen.map(|seen| &seen.link);
    LinkStatus {
        name: link.name.to_string(),
        kind: link.kind.to_string(),
        there: there.named(link.name.as_str()).is_some(),
        driver: seen.and_then(|seen| seen.driver.clone()),
        mac: seen.and_then(Seen::born_with).map(|mac| mac.to_string()),
        up: kernel.is_some_and(|link| link.up),
        carrier: kernel.is_some_and(has_carrier),
        speed: seen.and_then(|seen| seen.speed),
        mtu: kernel.map(|link| link.mtu),
        bond: wanted.bond_of(link).map(|bond| bond.name.to_string()),
        addresses: addresses(link, seen, there),
    }
}

/// Whether packets can pass. A bond or VLAN has carrier when what is below has; one that
/// waits for its partner's LACP has not.
pub(crate) fn has_carrier(link: &Link) -> bool {
    link.carrier && link.state != OperState::Dormant
}

fn addresses(link: &seed::section::Link, seen: Option<&Seen>, there: &There) -> Vec<AddressStatus> {
    let own: Vec<_> = wanted::addresses(link).collect();
    let is_own = |address: &Address| own.iter().any(|own| wanted::is_same(own, address));
    let present: Vec<&Address> =
        seen.map(|seen| there.addresses_of(seen.index()).collect()).unwrap_or_default();
    let missing =
        own.iter().filter(|own| !present.iter().any(|address| wanted::is_same(own, address)));
    let missing = missing.map(|address| AddressStatus {
        address: address.to_string(),
        state: AddressState::Missing,
        wanted: true,
        is_virtual: false,
    });
    let there = present.iter().map(|address| AddressStatus {
        address: address.to_string(),
        state: match address.check {
            Check::Passed => AddressState::Usable,
            Check::Running => AddressState::Checking,
            Check::Duplicate => AddressState::Duplicate,
        },
        wanted: is_own(address),
        is_virtual: address.protocol == owner::VIP,
    });
    there.chain(missing).collect()
}
