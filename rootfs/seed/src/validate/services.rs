//! The address pool for Kubernetes services, and who may control the node.

use std::net::IpAddr;

use super::links::link_exists;
use super::{Findings, Rule, rule};
use crate::section::{Packaged, Role, Seed};

pub(super) const RULES: &[Rule] = &[
    rule(&["services", "node"], pool_is_served),
    rule(&["services", "links", "vips", "cluster"], pool_is_free),
    rule(&["services", "k3s"], one_service_balancer),
    rule(&["services", "links"], pool_links_exist),
    rule(&["operators"], some_operator),
];

fn pool_is_served(seed: &Seed, findings: &mut Findings<'_, '_>) {
    if seed.services.is_some() && seed.k3s.is_none() {
        findings.at(
            "services",
            "[services] is of no use without Kubernetes",
            "this node has no [k3s]",
            "remove [services], or add the role \"server\" and [k3s]",
        );
    }
}

fn pool_is_free(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(pool) = seed.services.as_ref().and_then(|services| services.pool.as_ref()) else {
        return;
    };
    let nodes = seed.cluster.nodes.iter().flat_map(|node| {
        node.addresses.iter().map(move |address| (*address, format!("node \"{}\"", node.name)))
    });
    let vips = seed.vips.iter().flat_map(|vip| {
        vip.addresses.iter().map(move |cidr| (cidr.address(), format!("VIP \"{}\"", vip.name)))
    });
    let taken: Vec<(IpAddr, String)> = nodes.chain(vips).collect();
    for (index, range) in pool.ranges.iter().enumerate() {
        if let Some((address, owner)) = taken.iter().find(|(ip, _)| range.contains(*ip)) {
            findings.at(
                &format!("services.pool.ranges[{index}]"),
                format!("the pool contains {address}, which is taken"),
                format!("{address} belongs to {owner}"),
                "choose a range that contains no node and no VIP",
            );
        }
    }
    if pool.ranges.is_empty() {
        findings.at(
            "services.pool.ranges",
            "a pool consists of address ranges",
            "no range",
            "name a range such as \"192.168.77.100-192.168.77.150\"",
        );
    }
}

fn one_service_balancer(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let pool = seed.services.as_ref().is_some_and(|services| services.pool.is_some());
    let server = seed.node.roles.contains(&Role::Server);
    let Some(k3s) = seed.k3s.as_ref().filter(|_| pool && server) else {
        return;
    };
    if !k3s.disable.contains(&Packaged::Servicelb) {
        findings.at(
            "services.pool",
            "two things would answer for services of type LoadBalancer",
            "servicelb of K3s is not disabled",
            "write `disable = [\"servicelb\"]` in [k3s]",
        );
    }
}

fn pool_links_exist(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let pool = seed.services.as_ref().and_then(|services| services.pool.as_ref());
    for (index, link) in pool.iter().flat_map(|pool| &pool.links).enumerate() {
        let path = format!("services.pool.links[{index}]");
        link_exists(seed, &path, link.as_str(), findings);
    }
}

fn some_operator(seed: &Seed, findings: &mut Findings<'_, '_>) {
    if seed.operators.as_ref().is_some_and(|operators| operators.fingerprints.is_empty()) {
        findings.at(
            "operators.fingerprints",
            "a door that nobody may enter is better not made",
            "no fingerprint",
            "name the operators' certificates, or remove [operators]",
        );
    }
}
