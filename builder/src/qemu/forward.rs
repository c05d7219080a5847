//! A network of QEMU's own on which the desk reaches a node: one port of the loopback interface leads
//! to the port of the node's API, and nothing else leads in or out.
//!
//! The node has the address of its seed, so the network is made around that address. QEMU's own
//! end of it takes the last address that is left; no node of a site is called that by habit.

use std::net::{IpAddr, Ipv4Addr};

use seed::Seed;
use seed::scalar::Cidr;

use super::command::Card;

/// Smaller networks have no room for QEMU's own address beside a node and its neighbours.
const PREFIX_MAX: u8 = 29;

/// The node API's port, unless the seed has another.
pub const API_PORT: u16 = 7432;

/// The card of the seed's first link that has an IPv4 address and is known by its hardware address.
/// Connections to this port of the loopback interface reach the node's API.
pub fn card(seed: &Seed, from_port: u16) -> Option<Card> {
    let to_port = seed.operators.as_ref().map_or(API_PORT, |operators| operators.port.get());
    seed.links.iter().find_map(|link| {
        let mac = link.r#match.as_ref()?.mac.as_ref()?.to_string();
        let backend = link.addresses.iter().find_map(|cidr| backend(*cidr, from_port, to_port))?;
        Some(Card { mac, backend })
    })
}

fn backend(cidr: Cidr, from_port: u16, to_port: u16) -> Option<String> {
    let (IpAddr::V4(node), IpAddr::V4(network)) = (cidr.address(), cidr.network()) else {
        return None;
    };
    if cidr.prefix() > PREFIX_MAX {
        return None;
    }
    let broadcast = u32::from(network) | (u32::MAX >> cidr.prefix());
    // `dns=` would be the third address, which may be a node's.
    let others = (1..8).map(|below| Ipv4Addr::from(broadcast.saturating_sub(below)));
    let mut free = others.filter(|other| *other != node);
    let (prefix, host, dns) = (cidr.prefix(), free.next()?, free.next()?);
    Some(format!(
        "user,restrict=on,net={network}/{prefix},host={host},dns={dns},\
         hostfwd=tcp:127.0.0.1:{from_port}-{node}:{to_port}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_is_made_around_the_nodes_address() {
        let of = |cidr: &str| backend(cidr.parse().expect("an address"), 17432, 7432);
        let lab = "user,restrict=on,net=192.168.77.0/24,host=192.168.77.254,dns=192.168.77.253,\
                   hostfwd=tcp:127.0.0.1:17432-192.168.77.11:7432";
        assert_eq!(of("192.168.77.11/24").as_deref(), Some(lab));
        let last = of("10.0.0.254/24").expect("room");
        assert!(last.contains("host=10.0.0.253,dns=10.0.0.252"), "{last}");
        assert_eq!(of("10.0.0.1/30"), None);
        assert_eq!(of("fd77::11/64"), None);
    }
}
