//! Virtual addresses: what VRRP and its peers on the network demand.

use std::net::IpAddr;

use super::links::link_exists;
use super::{Findings, Rule, repeated, rule};
use crate::section::{Authentication, Permit, Role, Seed, Vip, VrrpVersion};

pub(super) const RULES: &[Rule] = &[
    rule(&["vips"], few_enough),
    rule(&["vips"], groups_differ),
    rule(&["vips", "links"], stand_on_links),
    rule(&["vips", "links", "cluster"], addresses_are_free),
    rule(&["vips", "links"], addresses_are_hosts),
    rule(&["vips"], one_way_to_peers),
    rule(&["vips"], fit_their_version),
    rule(&["vips"], authentication_fits_version),
    rule(&["vips", "links"], peers_are_others),
    rule(&["vips", "node"], permits_make_sense),
];

/// The interval of VRRPv2 is one byte of seconds.
const MAX_V2_SECONDS: u64 = 255;
/// The interval of VRRPv3 is twelve bits of hundredths.
const MAX_V3_CENTISECONDS: u64 = 4095;
/// The priority that says "I own this address" (RFC 9568, section 5.2.4).
pub(super) const OWNER: u8 = 255;
/// As many run in one `vipd`.
const MAX_VIPS: usize = 128;
/// An advert counts its addresses in one byte.
const MAX_ADDRESSES: usize = 255;

fn few_enough(seed: &Seed, findings: &mut Findings<'_, '_>) {
    if seed.vips.len() > MAX_VIPS {
        findings.at(
            &format!("vips[{MAX_VIPS}].name"),
            format!("a node has at most {MAX_VIPS} VIPs"),
            format!("there are {}", seed.vips.len()),
            "put addresses that move together into one VIP",
        );
    }
    for (index, vip) in seed.vips.iter().enumerate() {
        if vip.addresses.len() > MAX_ADDRESSES {
            findings.at(
                &format!("vips[{index}].addresses"),
                format!("a VIP has at most {MAX_ADDRESSES} addresses"),
                format!("has {}", vip.addresses.len()),
                "make two VIPs of it, with different VRIDs",
            );
        }
    }
}

fn groups_differ(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let names: Vec<_> = seed.vips.iter().map(|vip| &vip.name).collect();
    for (index, _) in repeated(&names) {
        findings.at(
            &format!("vips[{index}].name"),
            format!("two VIPs are called \"{}\"", names[index]),
            "named before",
            "give each VIP its own name",
        );
    }
    for (index, vip) in seed.vips.iter().enumerate() {
        let clash = seed.vips[..index].iter().find(|earlier| {
            let family = |ipv4| vip.family(ipv4).count() > 0 && earlier.family(ipv4).count() > 0;
            earlier.vrid == vip.vrid && earlier.link == vip.link && (family(true) || family(false))
        });
        if let Some(earlier) = clash {
            findings.at(
                &format!("vips[{index}].vrid"),
                format!("two VIPs use VRID {} on link \"{}\"", vip.vrid, vip.link),
                format!("\"{}\" has it already", earlier.name),
                "choose another VRID; it must be free on the whole network",
            );
        }
    }
    let mut seen: Vec<IpAddr> = Vec::new();
    for (index, vip) in seed.vips.iter().enumerate() {
        if vip.addresses.is_empty() {
            findings.at(
                &format!("vips[{index}].addresses"),
                "a VIP consists of addresses",
                "no address",
                "name at least one address with its prefix length",
            );
        }
        for (position, cidr) in vip.addresses.iter().enumerate() {
            if seen.contains(&cidr.address()) {
                findings.at(
                    &format!("vips[{index}].addresses[{position}]"),
                    format!("the virtual address {} is written twice", cidr.address()),
                    "written before",
                    "an address belongs to one VIP only",
                );
            }
            seen.push(cidr.address());
        }
    }
}

fn stand_on_links(seed: &Seed, findings: &mut Findings<'_, '_>) {
    for (index, vip) in seed.vips.iter().enumerate() {
        let path = format!("vips[{index}].link");
        if !link_exists(seed, &path, vip.link.as_str(), findings) {
            continue;
        }
        let networks: Vec<_> = seed
            .links
            .iter()
            .filter(|link| link.name == vip.link)
            .flat_map(|link| &link.addresses)
            .collect();
        for (position, cidr) in vip.addresses.iter().enumerate() {
            if !networks.iter().any(|own| own.contains(cidr.address())) {
                findings.at(
                    &format!("vips[{index}].addresses[{position}]"),
                    format!("nobody on link \"{}\" would look for {}", vip.link, cidr.address()),
                    format!("is in no network of \"{}\"", vip.link),
                    "use an address in a network of the link, or add the network to the link",
                );
            }
        }
        for (position, check) in vip.checks.iter().enumerate() {
            if let Some(link) = &check.link {
                let path = format!("vips[{index}].checks[{position}].link");
                link_exists(seed, &path, link.as_str(), findings);
            }
        }
    }
}

fn addresses_are_free(seed: &Seed, findings: &mut Findings<'_, '_>) {
    for (index, vip) in seed.vips.iter().enumerate() {
        for (position, cidr) in vip.addresses.iter().enumerate() {
            let own = seed
                .links
                .iter()
                .flat_map(|link| &link.addresses)
                .any(|own| own.address() == cidr.address());
            let owner =
                seed.cluster.nodes.iter().find(|node| node.addresses.contains(&cidr.address()));
            // VRRP lets the owner of an address offer it to others, with priority 255.
            let offered = vip.priority.get() == OWNER;
            if (offered && own) || !(own || owner.is_some()) {
                continue;
            }
            let owner = owner.map_or(&seed.node.name, |node| &node.name);
            findings.at(
                &format!("vips[{index}].addresses[{position}]"),
                format!("the virtual address {} belongs to a node", cidr.address()),
                format!("is an address of \"{owner}\""),
                if offered {
                    "choose an address that nobody has; priority 255 is for a node's own"
                } else {
                    "choose an address that nobody has"
                },
            );
        }
    }
}

fn addresses_are_hosts(seed: &Seed, findings: &mut Findings<'_, '_>) {
    for (index, vip) in seed.vips.iter().enumerate() {
        let link = seed.links.iter().find(|link| link.name == vip.link);
        let networks = link.map(|link| link.addresses.as_slice()).unwrap_or_default();
        for (position, cidr) in vip.addresses.iter().enumerate() {
            let within = networks.iter().filter(|own| own.contains(cidr.address()));
            let mut seen = within.map(|own| own.with_address(cidr.address())).peekable();
            // An address outside of all networks is told elsewhere.
            if seen.peek().is_none() {
                continue;
            }
            if let Some(no_host) = seen.chain([*cidr]).find(|seen| !seen.is_host()) {
                findings.at(
                    &format!("vips[{index}].addresses[{position}]"),
                    format!("{} is no address that a host can have", cidr.address()),
                    "network, broadcast, multicast or loopback address",
                    format!(
                        "use another address of {}/{} as the virtual one",
                        no_host.network(),
                        no_host.prefix()
                    ),
                );
            }
        }
    }
}

/// A MAC address of its own lives in one network; unicast is for peers beyond it.
fn one_way_to_peers(seed: &Seed, findings: &mut Findings<'_, '_>) {
    for (index, vip) in seed.vips.iter().enumerate() {
        if vip.virtual_mac && !vip.peers.is_empty() {
            findings.at(
                &format!("vips[{index}].virtual_mac"),
                "a VIP with unicast peers has no MAC address of its own",
                format!("\"{}\" has `peers`", vip.name),
                "remove `virtual_mac`, or `peers` to speak by multicast",
            );
        }
    }
}

fn fit_their_version(seed: &Seed, findings: &mut Findings<'_, '_>) {
    for (index, vip) in seed.vips.iter().enumerate() {
        let milliseconds = vip.interval.milliseconds();
        let path = |key: &str| format!("vips[{index}].{key}");
        match vip.version {
            VrrpVersion::V2 => {
                let position = vip.addresses.iter().position(|cidr| cidr.address().is_ipv6());
                if let Some(position) = position {
                    findings.at(
                        &path(&format!("addresses[{position}]")),
                        "VRRP version 2 knows no IPv6",
                        "is an IPv6 address",
                        "write `version = 3`, or remove the address",
                    );
                }
                let whole = milliseconds.is_multiple_of(1000);
                if !whole || !(1..=MAX_V2_SECONDS).contains(&(milliseconds / 1000)) {
                    findings.at(
                        &path("interval"),
                        "VRRP version 2 counts whole seconds",
                        format!("is not 1 to {MAX_V2_SECONDS} whole seconds"),
                        "write `interval = \"1s\"`, or `version = 3`",
                    );
                }
            }
            VrrpVersion::V3 => {
                let whole = milliseconds.is_multiple_of(10);
                if !whole || !(1..=MAX_V3_CENTISECONDS).contains(&(milliseconds / 10)) {
                    findings.at(
                        &path("interval"),
                        "VRRP version 3 counts hundredths of a second",
                        format!("is not 1 to {MAX_V3_CENTISECONDS} hundredths"),
                        "write for example `interval = \"10cs\"`",
                    );
                }
            }
        }
        if vip.preempt_delay.milliseconds() > 0 && !vip.preempt {
            findings.at(
                &path("preempt_delay"),
                "a delay of preemption needs preemption",
                "`preempt` is false",
                "write `preempt = true`, or remove the delay",
            );
        }
    }
}

fn authentication_fits_version(seed: &Seed, findings: &mut Findings<'_, '_>) {
    for (index, vip) in seed.vips.iter().enumerate() {
        let path = format!("vips[{index}].authentication");
        match (vip.authentication, vip.version) {
            (Authentication::Password, VrrpVersion::V3) => findings.at(
                &path,
                "VRRP version 3 has no passwords",
                "belongs to version 2",
                "use \"hmac\" or \"none\", or write `version = 2`",
            ),
            (Authentication::Hmac | Authentication::HmacPermissive, VrrpVersion::V2) => findings
                .at(
                    &path,
                    "VRRP version 2 has no HMAC",
                    "belongs to version 3",
                    "use \"password\" or \"none\", or write `version = 3`",
                ),
            _ => {}
        }
    }
}

fn peers_are_others(seed: &Seed, findings: &mut Findings<'_, '_>) {
    for (index, vip) in seed.vips.iter().enumerate() {
        for (position, peer) in vip.peers.iter().enumerate() {
            let path = format!("vips[{index}].peers[{position}]");
            let own = seed.links.iter().flat_map(|link| &link.addresses);
            if own.into_iter().any(|own| own.address() == *peer) {
                findings.at(
                    &path,
                    "a node is not its own peer",
                    "is an address of this node",
                    "name the addresses of the other nodes only",
                );
            }
            if vip.family(peer.is_ipv4()).count() == 0 {
                findings.at(
                    &path,
                    "peers are of the families of the VIP's addresses",
                    "the VIP has no address of this family",
                    "remove the peer, or add an address of its family to the VIP",
                );
            }
        }
        family_without_peer(index, vip, findings);
    }
}

/// With unicast, a family without a peer would elect itself on every node.
fn family_without_peer(index: usize, vip: &Vip, findings: &mut Findings<'_, '_>) {
    for (ipv4, family) in [(true, "IPv4"), (false, "IPv6")] {
        let lonely = !vip.peers.iter().any(|peer| peer.is_ipv4() == ipv4);
        if !vip.peers.is_empty() && vip.family(ipv4).count() > 0 && lonely {
            findings.at(
                &format!("vips[{index}].peers"),
                format!("the {family} addresses of \"{}\" have no peer", vip.name),
                format!("no {family} address among the peers"),
                "add the others' addresses of this family, or leave `peers` out for multicast",
            );
        }
    }
}

fn permits_make_sense(seed: &Seed, findings: &mut Findings<'_, '_>) {
    for (index, vip) in seed.vips.iter().enumerate() {
        if vip.permit != Permit::Database {
            continue;
        }
        if !seed.node.roles.contains(&Role::Database) {
            findings.at(
                &format!("vips[{index}].permit"),
                "only nodes of the database pair can hold the database's VIP",
                "this node has no role \"database\"",
                "remove the VIP from this node, or its `permit`",
            );
        }
        if vip.preempt {
            findings.at(
                &format!("vips[{index}].preempt"),
                "a VIP that follows the database is never taken from a working primary",
                "contradicts `permit = \"database\"`",
                "remove `preempt`; hand over with `nodectl pg switchover`",
            );
        }
    }
}
