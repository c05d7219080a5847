//! Links, routes, name servers and time servers.

use std::net::IpAddr;

use super::{Findings, Rule, repeated, rule};
use crate::scalar::{Destination, HostName, LinkName};
use crate::section::{LinkKind, Seed};

pub(super) const RULES: &[Rule] = &[
    rule(&["links"], some_link),
    rule(&["links"], links_differ),
    rule(&["links"], links_stand_on_links),
    rule(&["links"], cards_carry_one_link),
    rule(&["links"], addresses_are_hosts),
    rule(&["links", "routes"], routes_lead_somewhere),
    rule(&["dns"], few_name_servers),
    rule(&["time"], time_servers_differ),
];

/// More than enough; `clockd` asks no more.
const MAX_TIME_SERVERS: usize = 16;
/// The C library asks no more than these (MAXNS).
const MAX_NAME_SERVERS: usize = 3;

fn some_link(seed: &Seed, findings: &mut Findings<'_, '_>) {
    if seed.links.iter().all(|link| link.addresses.is_empty()) {
        findings.at(
            if seed.links.is_empty() { "node" } else { "links[0]" },
            "a node needs an address",
            "no link has one",
            "add [[links]] with name, match and addresses",
        );
    }
}

fn links_differ(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let names: Vec<_> = seed.links.iter().map(|link| &link.name).collect();
    for (index, _) in repeated(&names) {
        findings.at(
            &format!("links[{index}].name"),
            format!("two links are called \"{}\"", names[index]),
            "named before",
            "give each link its own name",
        );
    }
    let mut cards = Vec::new();
    for (index, link) in seed.links.iter().enumerate() {
        let Some(card) = &link.r#match else { continue };
        // A pattern fits one card, and so it is the same one for both.
        let mac = card.mac.as_ref().map(|mac| ("mac", mac.to_string()));
        let name = card.name.as_ref().map(|name| ("name", name.to_string()));
        let driver = card.driver.as_ref().map(|driver| ("driver", driver.to_string()));
        let Some((key, text)) = mac.or(name).or(driver) else { continue };
        if cards.contains(&(key, text.clone())) {
            findings.at(
                &format!("links[{index}].match.{key}"),
                format!("two links match the card {text}"),
                "matched before",
                "one card is one link; put all addresses under it, or use a VLAN",
            );
        }
        cards.push((key, text));
    }
    let mut addresses = Vec::new();
    for (index, link) in seed.links.iter().enumerate() {
        for (position, cidr) in link.addresses.iter().enumerate() {
            if addresses.contains(&cidr.address()) {
                findings.at(
                    &format!("links[{index}].addresses[{position}]"),
                    format!("the address {} is written twice", cidr.address()),
                    "written before",
                    "remove one of the two",
                );
            }
            addresses.push(cidr.address());
        }
    }
}

fn links_stand_on_links(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let find = |name: &LinkName| seed.links.iter().find(|link| link.name == *name);
    for (index, link) in seed.links.iter().enumerate() {
        for (position, member) in link.members.iter().enumerate() {
            let path = format!("links[{index}].members[{position}]");
            match find(member) {
                None => no_such_link(seed, &path, member.as_str(), findings),
                Some(card) if card.kind != LinkKind::Plain => findings.at(
                    &path,
                    "members of a bond are network cards",
                    format!("is of kind \"{}\"", card.kind),
                    "name links of kind \"plain\"",
                ),
                Some(card) if !card.addresses.is_empty() => findings.at(
                    &path,
                    "members of a bond have no addresses of their own",
                    "has addresses",
                    "move them to the bond",
                ),
                Some(_) => {}
            }
        }
        if let Some(parent) = &link.parent {
            let path = format!("links[{index}].parent");
            match find(parent) {
                None => no_such_link(seed, &path, parent.as_str(), findings),
                Some(below) if below.kind == LinkKind::Vlan => findings.at(
                    &path,
                    "a VLAN stands on a card or a bond",
                    "is a VLAN itself",
                    "name a link of kind \"plain\" or \"bond\"",
                ),
                Some(_) => {}
            }
        }
    }
}

/// A card in two bonds would be moved to and fro, and the kernel has a VLAN's number once.
fn cards_carry_one_link(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let mut bound: Vec<(&LinkName, &LinkName)> = Vec::new();
    let mut tagged = Vec::new();
    for (index, link) in seed.links.iter().enumerate() {
        for (position, member) in link.members.iter().enumerate() {
            if let Some((_, bond)) = bound.iter().find(|(card, _)| *card == member) {
                findings.at(
                    &format!("links[{index}].members[{position}]"),
                    format!("the card \"{member}\" is named twice as a member"),
                    format!("\"{bond}\" has it already"),
                    "a card is a member of one bond, once: remove it here or there",
                );
            }
            bound.push((member, &link.name));
        }
        let Some(tag) = link.parent.as_ref().zip(link.id) else {
            continue;
        };
        if tagged.contains(&tag) {
            findings.at(
                &format!("links[{index}].id"),
                format!("two VLANs on \"{}\" have the id {}", tag.0, tag.1),
                "used before",
                "put all addresses under one of the two, or correct the id",
            );
        }
        tagged.push(tag);
    }
}

/// Reports a name that no link has. Shared by all sections that name links.
pub(super) fn no_such_link(seed: &Seed, path: &str, name: &str, findings: &mut Findings<'_, '_>) {
    let names: Vec<_> = seed.links.iter().map(|link| link.name.as_str()).collect();
    let mend = match crate::reader::nearest(name, names.iter().copied()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None if names.is_empty() => "add the link to [[links]]".to_owned(),
        None => format!("name one of the links: {}", names.join(", ")),
    };
    findings.at(path, format!("there is no link \"{name}\""), "not in [[links]]", mend);
}

/// Reports a link's name unless the link exists.
pub(super) fn link_exists(
    seed: &Seed,
    path: &str,
    name: &str,
    findings: &mut Findings<'_, '_>,
) -> bool {
    let exists = seed.links.iter().any(|link| link.name.as_str() == name);
    if !exists {
        no_such_link(seed, path, name, findings);
    }
    exists
}

fn addresses_are_hosts(seed: &Seed, findings: &mut Findings<'_, '_>) {
    for (index, link) in seed.links.iter().enumerate() {
        for (position, cidr) in link.addresses.iter().enumerate() {
            let address = cidr.address();
            if !cidr.is_host() {
                findings.at(
                    &format!("links[{index}].addresses[{position}]"),
                    format!("{address} is no address that a host can have"),
                    "network, broadcast, multicast or loopback address",
                    format!("use another address of {}/{}", cidr.network(), cidr.prefix()),
                );
            }
        }
    }
}

fn routes_lead_somewhere(seed: &Seed, findings: &mut Findings<'_, '_>) {
    for (index, route) in seed.routes.iter().enumerate() {
        let path = |key: &str| format!("routes[{index}].{key}");
        if let Some(link) = &route.link
            && !link_exists(seed, &path("link"), link.as_str(), findings)
        {
            continue;
        }
        let usable = seed
            .links
            .iter()
            .filter(|link| route.link.as_ref().is_none_or(|name| link.name == *name));
        // A link-local gateway is on every link, so the link must be named instead.
        let local = matches!(route.via, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let reachable = usable.flat_map(|link| &link.addresses).any(|own| own.contains(route.via));
        if !(reachable || local && route.link.is_some()) {
            findings.at(
                &path("via"),
                format!("the gateway {} can't be reached", route.via),
                "is in the network of no link",
                "use an address in a link's network; for fe80:: addresses name the `link` too",
            );
        }
        if let Destination::Network(to) = route.to
            && to.cidr().address().is_ipv4() != route.via.is_ipv4()
        {
            findings.at(
                &path("via"),
                "network and gateway of a route are of one family",
                format!("is not of the family of {to}"),
                "use a gateway of the same family",
            );
        }
    }
    let keys: Vec<_> =
        seed.routes.iter().map(|route| (route.to, route.via.is_ipv4(), route.metric)).collect();
    for (index, _) in repeated(&keys) {
        findings.at(
            &format!("routes[{index}]"),
            format!("two routes lead to {} with the same metric", keys[index].0),
            "written before",
            "remove one, or give the worse one a higher `metric`",
        );
    }
}

fn few_name_servers(seed: &Seed, findings: &mut Findings<'_, '_>) {
    if seed.dns.servers.len() > MAX_NAME_SERVERS {
        findings.at(
            &format!("dns.servers[{MAX_NAME_SERVERS}]"),
            format!("at most {MAX_NAME_SERVERS} name servers are ever asked"),
            "would be ignored",
            "remove what is too much",
        );
    }
}

fn time_servers_differ(seed: &Seed, findings: &mut Findings<'_, '_>) {
    // One address has several spellings, and so has a name.
    let host = |name: &HostName| match name.as_str().parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => name.as_str().to_ascii_lowercase(),
    };
    let servers: Vec<_> = seed.time.servers.iter().map(host).collect();
    for (index, _) in repeated(&servers) {
        findings.at(
            &format!("time.servers[{index}]"),
            format!("the time server {} is named twice", seed.time.servers[index]),
            "named before",
            "remove one of the two",
        );
    }
    if servers.len() > MAX_TIME_SERVERS {
        findings.at(
            &format!("time.servers[{MAX_TIME_SERVERS}]"),
            format!("at most {MAX_TIME_SERVERS} time servers are asked"),
            format!("there are {}", servers.len()),
            "remove some: four are enough",
        );
    }
}
