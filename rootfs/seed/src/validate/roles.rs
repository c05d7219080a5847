//! Roles and their sections: each needs the other.

use super::{Findings, Rule, repeated, rule};
use crate::section::{Role, Seed};

pub(super) const RULES: &[Rule] = &[
    rule(&["node"], some_role),
    rule(&["node"], compatible),
    rule(&["node"], section_for_each_role),
    rule(&["node", "cluster"], role_for_each_section),
];

/// A section, the roles that it serves, and whether the seed has it.
fn sections(seed: &Seed) -> [(&'static str, &'static [Role], bool); 7] {
    use Role::{Agent, Balancer, Database, Etcd, Patroni, Registry, Server, Witness};
    [
        ("database", &[Database, Patroni], seed.database.is_some()),
        ("patroni", &[Patroni], seed.patroni.is_some()),
        ("k3s", &[Server, Agent], seed.k3s.is_some()),
        ("balancer", &[Balancer], seed.balancer.is_some()),
        ("etcd", &[Etcd], seed.etcd.is_some()),
        ("witness", &[Witness], seed.witness.is_some()),
        ("registry", &[Registry], seed.registry.is_some()),
    ]
}

fn some_role(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let roles = &seed.node.roles;
    if roles.is_empty() {
        findings.at(
            "node.roles",
            "a node needs something to do",
            "no role",
            "name at least one role, such as \"server\"",
        );
    }
    for (index, _) in repeated(roles) {
        findings.at(
            &format!("node.roles[{index}]"),
            format!("the role \"{}\" is named twice", roles[index]),
            "named before",
            "remove one of the two",
        );
    }
}

fn compatible(seed: &Seed, findings: &mut Findings<'_, '_>) {
    const EXCLUSIVE: &[(Role, Role, &str)] = &[
        (Role::Server, Role::Agent, "a server already runs workloads; remove \"agent\""),
        (Role::Database, Role::Patroni, "both run PostgreSQL; keep the one that manages it"),
        (Role::Database, Role::Witness, "a voter for the pair must survive it; use a third node"),
    ];
    let position = |role| seed.node.roles.iter().position(|own| *own == role);
    for (first, second, mend) in EXCLUSIVE {
        if let (Some(_), Some(index)) = (position(*first), position(*second)) {
            findings.at(
                &format!("node.roles[{index}]"),
                format!("a node can't be both \"{first}\" and \"{second}\""),
                format!("excludes \"{first}\""),
                *mend,
            );
        }
    }
}

fn section_for_each_role(seed: &Seed, findings: &mut Findings<'_, '_>) {
    for (section, served, present) in sections(seed) {
        // A section that could not be read is there all the same.
        if present || !findings.is_sound(section) {
            continue;
        }
        let index = seed.node.roles.iter().position(|role| served.contains(role));
        if let Some(index) = index {
            findings.at(
                &format!("node.roles[{index}]"),
                format!("the role \"{}\" needs a section [{section}]", seed.node.roles[index]),
                format!("there is no [{section}]"),
                format!("add [{section}], or remove the role"),
            );
        }
    }
}

fn role_for_each_section(seed: &Seed, findings: &mut Findings<'_, '_>) {
    for (section, served, present) in sections(seed) {
        if present && !seed.node.roles.iter().any(|role| served.contains(role)) {
            let roles: Vec<_> = served.iter().map(|role| format!("\"{role}\"")).collect();
            findings.at(
                section,
                format!("[{section}] is of no use on this node"),
                format!("needs the role {}", roles.join(" or ")),
                format!("add the role to `node.roles`, or remove [{section}]"),
            );
        }
    }
    let pair = seed.cluster.with_role(Role::Database).count() > 0;
    if seed.failover.is_some() && !pair {
        findings.at(
            "failover",
            "[failover] is of no use at this site",
            "no node has the role \"database\"",
            "remove [failover], or give two nodes the role",
        );
    }
}
