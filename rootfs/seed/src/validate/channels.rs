//! The ways between the two nodes of the pair, as `pgkeeper` wants them.

use super::links::link_exists;
use super::{Findings, Rule, repeated, rule};
use crate::section::{ClusterNode, Role, Seed};

pub(super) const RULES: &[Rule] = &[
    rule(&["failover", "links"], channels_exist),
    rule(&["failover"], channels_differ),
    rule(&["node", "cluster", "failover"], some_way_to_the_peer),
];

/// What `pgkeeper` calls the ways between the nodes' own addresses.
const OWN_NAMES: [&str; 2] = ["ipv4", "ipv6"];
/// As many `pgkeeper` has, those two among them.
const MAX_CHANNELS: usize = 8;

fn channels_exist(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(failover) = &seed.failover else {
        return;
    };
    for (index, channel) in failover.channels.iter().enumerate() {
        let path = |key: &str| format!("failover.channels[{index}].{key}");
        if !link_exists(seed, &path("link"), channel.link.as_str(), findings) {
            continue;
        }
        let link = seed.links.iter().find(|link| link.name == channel.link);
        let networks = link.map(|link| link.addresses.as_slice()).unwrap_or_default();
        let mut around = networks.iter().filter(|own| own.contains(channel.peer)).peekable();
        if around.peek().is_none() {
            findings.at(
                &path("peer"),
                format!("the peer of channel \"{}\" can't be reached there", channel.name),
                format!("is in no network of \"{}\"", channel.link),
                "use the peer's address on that very link",
            );
        } else if networks.iter().any(|own| own.address() == channel.peer) {
            findings.at(
                &path("peer"),
                format!("channel \"{}\" leads back to this node", channel.name),
                format!("is this node's own address on \"{}\"", channel.link),
                "use the other node's address on that link",
            );
        } else if around.any(|own| !own.with_address(channel.peer).is_host()) {
            findings.at(
                &path("peer"),
                format!("{} is no address that the peer can have", channel.peer),
                "network, broadcast, multicast or loopback address",
                "use the peer's address on that very link",
            );
        }
    }
}

fn channels_differ(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(failover) = &seed.failover else {
        return;
    };
    let channels = &failover.channels;
    let names: Vec<_> = channels.iter().map(|channel| &channel.name).collect();
    for (index, _) in repeated(&names) {
        findings.at(
            &format!("failover.channels[{index}].name"),
            format!("two channels are called \"{}\"", names[index]),
            "named before",
            "give each channel its own name",
        );
    }
    for (index, name) in names.iter().enumerate() {
        if OWN_NAMES.contains(&name.as_str()) {
            findings.at(
                &format!("failover.channels[{index}].name"),
                format!("the channel \"{name}\" is the one between the nodes' own addresses"),
                "is taken",
                "choose another name, such as \"cable\"",
            );
        }
    }
    // On one link both would listen on the same port, and could fail only together.
    let ways: Vec<_> =
        channels.iter().map(|channel| (&channel.link, channel.peer.is_ipv4())).collect();
    for (index, earlier) in repeated(&ways) {
        findings.at(
            &format!("failover.channels[{index}].link"),
            format!("two channels of one family run over link \"{}\"", channels[index].link),
            format!("\"{}\" does already", channels[earlier].name),
            "remove one of the two, or name another link",
        );
    }
    let most = MAX_CHANNELS - OWN_NAMES.len();
    if channels.len() > most {
        findings.at(
            &format!("failover.channels[{most}].name"),
            format!("a pair has at most {most} channels beside its own addresses"),
            format!("there are {}", channels.len()),
            "remove some: two or three that share no cable are enough",
        );
    }
}

/// Heartbeats go between addresses of one family, and over the channels.
fn some_way_to_the_peer(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let pair: Vec<_> = seed.cluster.with_role(Role::Database).collect();
    let member = seed.node.roles.contains(&Role::Database);
    let channels = seed.failover.iter().flat_map(|failover| &failover.channels).count();
    let [one, other] = pair.as_slice() else { return };
    let family = |node: &ClusterNode, ipv4| node.addresses.iter().any(|ip| ip.is_ipv4() == ipv4);
    let shared = [true, false].iter().any(|ipv4| family(one, *ipv4) && family(other, *ipv4));
    let known = !one.addresses.is_empty() && !other.addresses.is_empty();
    if member && known && !shared && channels == 0 {
        findings.at(
            "cluster",
            "the two nodes of the pair have no way to each other",
            format!(
                "\"{}\" and \"{}\" have no family of addresses in common",
                one.name, other.name
            ),
            "give both an address of one family, or add [[failover.channels]]",
        );
    }
}
