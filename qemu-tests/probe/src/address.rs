//! The guest's links and addresses, set and read.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink::{Address, Netlink, NetlinkError};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum AddressError {
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error("{0:?} is no address with a prefix")]
    Unreadable(String),
    #[error("this guest has no network card")]
    NoCard,
}

/// Sets the only card up, with these addresses.
pub fn set(addresses: &[String]) -> Result<(), AddressError> {
    let mut netlink = Netlink::open()?;
    let card = netlink.links()?.into_iter().find(|link| !link.loopback && link.kind.is_none());
    let card = card.ok_or(AddressError::NoCard)?.id;
    netlink.set_up(&card, true)?;
    for text in addresses {
        let unreadable = || AddressError::Unreadable(text.clone());
        let (ip, prefix) = text.split_once('/').ok_or_else(unreadable)?;
        let ip: IpAddr = ip.parse().map_err(|_| unreadable())?;
        let prefix: u8 = prefix.parse().map_err(|_| unreadable())?;
        // The rig gives each address once, so nobody need be asked for a second.
        let address = Address { no_dad: true, ..Address::new(ip, prefix) };
        netlink.replace_address(&card, &address)?;
    }
    Ok(())
}

/// Addresses that reach beyond the link.
pub fn addresses() -> Result<Vec<IpAddr>, AddressError> {
    let all = Netlink::open()?.addresses()?.into_iter();
    let beyond = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    Ok(all.map(|(_, address)| address.ip).filter(beyond).collect())
}

/// Whether each card has a cable.
pub fn carriers() -> Result<BTreeMap<String, bool>, AddressError> {
    let links = Netlink::open()?.links()?.into_iter().filter(|link| !link.loopback);
    Ok(links.map(|link| (link.id.name, link.carrier)).collect())
}
