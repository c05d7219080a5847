//! No two services of a node may want the same port.

use std::net::IpAddr;

use super::{Findings, Rule, rule};
use crate::section::{Role, Seed};

pub(super) const RULES: &[Rule] = &[rule(
    &["node", "database", "patroni", "k3s", "balancer", "etcd", "witness", "registry", "operators"],
    ports_are_distinct,
)];

/// A TCP port that something on this node listens on.
struct Listener {
    port: u16,
    /// On these addresses only; none: on all. Both at once can't be: who listens on all of them
    /// listens on each.
    addresses: Vec<IpAddr>,
    owner: String,
    key: String,
}

impl Listener {
    fn clashes_with(&self, other: &Self) -> bool {
        let shared = || self.addresses.iter().any(|address| other.addresses.contains(address));
        let on_all = self.addresses.is_empty() || other.addresses.is_empty();
        self.port == other.port && (on_all || shared())
    }
}

fn ports_are_distinct(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let mut seen: Vec<Listener> = Vec::new();
    for listener in listeners(seed) {
        if let Some(earlier) = seen.iter().find(|earlier| earlier.clashes_with(&listener)) {
            findings.at(
                &listener.key,
                format!("two services of this node want port {}", listener.port),
                format!("{} and {} both listen there", earlier.owner, listener.owner),
                "choose another port for one of them",
            );
        }
        seen.push(listener);
    }
}

fn listeners(seed: &Seed) -> Vec<Listener> {
    let mut all = Vec::new();
    let mut add = |port: crate::scalar::Port, owner: &str, key: &str| {
        let (owner, key) = (owner.to_owned(), key.to_owned());
        all.push(Listener { port: port.get(), addresses: Vec::new(), owner, key });
    };
    if let Some(database) = &seed.database {
        add(database.port, "the database", "database.port");
        add(database.replication_port, "replication", "database.replication_port");
    }
    if let Some(patroni) = &seed.patroni {
        add(patroni.rest_port, "Patroni", "patroni.rest_port");
    }
    if let Some(k3s) = seed.k3s.as_ref().filter(|_| seed.node.roles.contains(&Role::Server)) {
        add(k3s.port, "the Kubernetes API", "k3s.port");
    }
    if let Some(etcd) = &seed.etcd {
        add(etcd.client_port, "etcd", "etcd.client_port");
        add(etcd.peer_port, "etcd's peers", "etcd.peer_port");
    }
    if let Some(witness) = &seed.witness {
        add(witness.port, "the witness", "witness.port");
    }
    if let Some(registry) = &seed.registry {
        add(registry.port, "the registry", "registry.port");
    }
    if let Some(operators) = &seed.operators {
        add(operators.port, "nodectl", "operators.port");
    }
    for (index, frontend) in seed.balancer.iter().flat_map(|b| &b.frontends).enumerate() {
        let mut addresses = frontend.listen.clone();
        if addresses.iter().any(IpAddr::is_unspecified) {
            addresses.clear();
        }
        let owner = format!("front end \"{}\"", frontend.name);
        let key = format!("balancer.frontends[{index}].port");
        all.push(Listener { port: frontend.port.get(), addresses, owner, key });
    }
    all
}
