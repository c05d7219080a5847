//! The site as a whole: this node is in it, nobody is in it twice, and groups have a sound size.

use super::{Findings, Rule, repeated, rule};
use crate::scalar::can_be_reached;
use crate::section::{Datastore, Role, Seed};

pub(super) const RULES: &[Rule] = &[
    rule(&["cluster"], nodes_differ),
    rule(&["cluster"], nodes_are_hosts),
    rule(&["node", "cluster"], contains_this_node),
    rule(&["node", "cluster", "links"], own_addresses_are_on_links),
    rule(&["cluster"], pair_is_two),
    rule(&["node", "cluster"], witness_has_a_pair),
    rule(&["cluster"], quorums_are_odd),
    rule(&["cluster", "k3s"], embedded_etcd_is_odd),
];

fn nodes_differ(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let nodes = &seed.cluster.nodes;
    let names: Vec<_> = nodes.iter().map(|node| &node.name).collect();
    for (index, _) in repeated(&names) {
        findings.at(
            &format!("cluster.nodes[{index}].name"),
            format!("two nodes are called \"{}\"", names[index]),
            "named before",
            "give each node its own name",
        );
    }
    let mut seen = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        if node.addresses.is_empty() {
            findings.at(
                &format!("cluster.nodes[{index}].addresses"),
                "the others must be able to reach a node",
                "no address",
                "name at least one address",
            );
        }
        for (position, address) in node.addresses.iter().enumerate() {
            if let Some((_, owner)) = seen.iter().find(|(known, _)| *known == address) {
                findings.at(
                    &format!("cluster.nodes[{index}].addresses[{position}]"),
                    format!("two nodes have the address {address}"),
                    format!("is also \"{owner}\"'s"),
                    "give each node addresses of its own",
                );
            }
            seen.push((address, &node.name));
        }
    }
}

fn nodes_are_hosts(seed: &Seed, findings: &mut Findings<'_, '_>) {
    for (index, node) in seed.cluster.nodes.iter().enumerate() {
        for (position, address) in node.addresses.iter().enumerate() {
            if !can_be_reached(*address) {
                findings.at(
                    &format!("cluster.nodes[{index}].addresses[{position}]"),
                    format!("nobody reaches \"{}\" at {address}", node.name),
                    "unspecified, broadcast, multicast or loopback address",
                    "name the address that the node has on the site's network",
                );
            }
        }
    }
}

fn contains_this_node(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let name = &seed.node.name;
    let Some(index) = seed.cluster.nodes.iter().position(|node| node.name == *name) else {
        findings.at(
            "node.name",
            "this node is not among the nodes of its cluster",
            "not in [[cluster.nodes]]",
            format!("add [[cluster.nodes]] with `name = \"{name}\"`, or correct the name"),
        );
        return;
    };
    let sorted = |roles: &[Role]| {
        let mut roles = roles.to_vec();
        roles.sort_unstable();
        roles.dedup();
        roles
    };
    let other = &seed.cluster.nodes[index].roles;
    if sorted(other) != sorted(&seed.node.roles) {
        let words: Vec<_> = seed.node.roles.iter().map(|role| format!("\"{role}\"")).collect();
        findings.at(
            &format!("cluster.nodes[{index}].roles"),
            "the node's roles differ between [node] and [[cluster.nodes]]",
            "differ from `node.roles`",
            format!("write the same in both: roles = [{}]", words.join(", ")),
        );
    }
}

fn own_addresses_are_on_links(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(index) = seed.cluster.nodes.iter().position(|node| node.name == seed.node.name) else {
        return;
    };
    if seed.links.iter().all(|link| link.addresses.is_empty()) {
        return;
    }
    let own = |address| {
        seed.links.iter().flat_map(|link| &link.addresses).any(|cidr| cidr.address() == address)
    };
    for (position, address) in seed.cluster.nodes[index].addresses.iter().enumerate() {
        if !own(*address) {
            findings.at(
                &format!("cluster.nodes[{index}].addresses[{position}]"),
                format!("the others expect this node at {address}, but no link has it"),
                "is on no link of this node",
                "add it, with its prefix length, to the addresses of a link, or correct it",
            );
        }
    }
}

fn pair_is_two(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let count = seed.cluster.with_role(Role::Database).count();
    if count == 0 || count == 2 {
        return;
    }
    findings.at(
        "cluster",
        "a database pair is exactly two nodes",
        match count {
            1 => "only one node has the role \"database\"".to_owned(),
            count => format!("{count} nodes have the role \"database\""),
        },
        if count == 1 {
            "give a second node the role \"database\""
        } else {
            "use the role \"patroni\", with etcd, for three members or more"
        },
    );
}

fn witness_has_a_pair(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let pair = seed.cluster.with_role(Role::Database).count() > 0;
    let position = seed.node.roles.iter().position(|role| *role == Role::Witness);
    if let Some(index) = position.filter(|_| !pair) {
        findings.at(
            &format!("node.roles[{index}]"),
            "a witness votes for its site's database pair",
            "no node has the role \"database\"",
            "name the two nodes of the pair in [[cluster.nodes]], or remove the role",
        );
    }
}

fn quorums_are_odd(seed: &Seed, findings: &mut Findings<'_, '_>) {
    for role in [Role::Etcd, Role::Patroni] {
        let count = seed.cluster.with_role(role).count();
        if count > 0 && (count < 3 || count.is_multiple_of(2)) {
            findings.at(
                "cluster",
                format!("members of \"{role}\" decide by majority, so their number is odd"),
                format!("{count} of the nodes have the role \"{role}\""),
                "use three nodes, or five; two nodes can use the role \"database\" instead",
            );
        }
    }
}

fn embedded_etcd_is_odd(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let etcd = seed.k3s.as_ref().is_some_and(|k3s| k3s.datastore == Some(Datastore::Etcd));
    let count = seed.cluster.with_role(Role::Server).count();
    // One server is no cluster, and a sound choice for a test.
    if etcd && count > 0 && count.is_multiple_of(2) {
        findings.at(
            "k3s.datastore",
            "servers that carry etcd decide by majority, so their number is odd",
            format!("{count} nodes have the role \"server\""),
            "use three servers, or `datastore = \"database\"` for two",
        );
    }
}
