//! K3s: datastore, networks, and what a node joins.

use super::links::link_exists;
use super::{Findings, Rule, rule};
use crate::scalar::Network;
use crate::section::{Datastore, K3s, Role, Seed};

pub(super) const RULES: &[Rule] = &[
    rule(&["k3s", "node"], server_has_a_datastore),
    rule(&["k3s", "node"], agent_has_a_server),
    rule(&["k3s", "node", "cluster"], datastore_exists),
    rule(&["k3s"], families_match),
    rule(&["k3s", "links"], networks_are_apart),
    rule(&["k3s"], dns_is_a_service),
    rule(&["k3s", "links"], flannel_link_exists),
];

/// The section, if this node has the role.
fn of_role(seed: &Seed, role: Role) -> Option<&K3s> {
    seed.k3s.as_ref().filter(|_| seed.node.roles.contains(&role))
}

fn server_has_a_datastore(seed: &Seed, findings: &mut Findings<'_, '_>) {
    if of_role(seed, Role::Server).is_some_and(|k3s| k3s.datastore.is_none()) {
        findings.at(
            "k3s",
            "a K3s server needs a datastore",
            "has no `datastore`",
            "add `datastore = \"database\"` (two nodes) or \"etcd\" (three and more)",
        );
    }
}

fn agent_has_a_server(seed: &Seed, findings: &mut Findings<'_, '_>) {
    // That a node can't be both is told elsewhere.
    let server = seed.node.roles.contains(&Role::Server);
    let Some(k3s) = of_role(seed, Role::Agent).filter(|_| !server) else {
        return;
    };
    if k3s.server.is_none() {
        findings.at(
            "k3s",
            "a K3s agent needs a server to join",
            "has no `server`",
            "add `server = \"https://192.168.77.10:6443\"` with the API's VIP or balancer",
        );
    }
    if k3s.datastore.is_some() {
        findings.at(
            "k3s.datastore",
            "a K3s agent has no datastore",
            "belongs to servers",
            "remove it, or give the node the role \"server\"",
        );
    }
}

fn datastore_exists(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(k3s) = &seed.k3s else { return };
    let external = k3s.datastore == Some(Datastore::External);
    match k3s.datastore {
        Some(Datastore::Database) if !seed.node.roles.contains(&Role::Database) => findings.at(
            "k3s.datastore",
            "the datastore \"database\" is the pair that this node is a member of",
            "this node has no role \"database\"",
            "use \"external\" with the pair's VIP as host, or give the node the role",
        ),
        Some(Datastore::ExternalEtcd) if seed.cluster.with_role(Role::Etcd).count() == 0 => {
            findings.at(
                "k3s.datastore",
                "the datastore \"external-etcd\" needs nodes that run it",
                "no node has the role \"etcd\"",
                "give three nodes the role \"etcd\", or use \"etcd\" inside of K3s",
            );
        }
        Some(Datastore::External) if k3s.external.is_none() => findings.at(
            "k3s.datastore",
            "the datastore \"external\" needs a section [k3s.external]",
            "there is no [k3s.external]",
            "add [k3s.external] with `host`",
        ),
        _ => {}
    }
    if k3s.external.is_some() && !external {
        findings.at(
            "k3s.external",
            "[k3s.external] is used by the datastore \"external\" only",
            "is of no use",
            "write `datastore = \"external\"`, or remove [k3s.external]",
        );
    }
}

/// Whether the list has networks of IPv4 and of IPv6.
fn families(networks: &[Network]) -> (bool, bool) {
    let has = |ipv4| networks.iter().any(|net| net.cidr().address().is_ipv4() == ipv4);
    (has(true), has(false))
}

fn families_match(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(k3s) = &seed.k3s else { return };
    if families(&k3s.cluster_cidr) != families(&k3s.service_cidr) {
        findings.at(
            "k3s.cluster_cidr",
            "pods and services use the same address families",
            "differs from `service_cidr`",
            "write one IPv4 network, one IPv6 network, or one of each, in both",
        );
    }
}

fn networks_are_apart(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(k3s) = &seed.k3s else { return };
    for (index, pods) in k3s.cluster_cidr.iter().enumerate() {
        if let Some(clash) = k3s.service_cidr.iter().find(|other| other.overlaps(*pods)) {
            findings.at(
                &format!("k3s.cluster_cidr[{index}]"),
                "pods and services need networks of their own",
                format!("overlaps the service network {clash}"),
                "choose networks that have nothing in common",
            );
        }
    }
    let lists = [("cluster_cidr", &k3s.cluster_cidr), ("service_cidr", &k3s.service_cidr)];
    for (key, networks) in lists {
        for (index, network) in networks.iter().enumerate() {
            let clash = seed.links.iter().find(|link| {
                link.addresses.iter().any(|own| {
                    network.cidr().contains(own.address()) || own.contains(network.cidr().address())
                })
            });
            if let Some(link) = clash {
                findings.at(
                    &format!("k3s.{key}[{index}]"),
                    format!("the network {network} is in use at the site"),
                    format!("overlaps the network of link \"{}\"", link.name),
                    "choose a private network that the site doesn't use",
                );
            }
        }
    }
}

fn dns_is_a_service(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(k3s) = &seed.k3s else { return };
    for (index, address) in k3s.cluster_dns.iter().enumerate() {
        if !k3s.service_cidr.iter().any(|net| net.cidr().contains(*address)) {
            findings.at(
                &format!("k3s.cluster_dns[{index}]"),
                "the cluster's DNS is a service",
                "is in no service network",
                "use an address of `service_cidr`, such as its tenth, or remove the key",
            );
        }
    }
}

fn flannel_link_exists(seed: &Seed, findings: &mut Findings<'_, '_>) {
    if let Some(link) = seed.k3s.as_ref().and_then(|k3s| k3s.flannel_link.as_ref()) {
        link_exists(seed, "k3s.flannel_link", link.as_str(), findings);
    }
}
