//! The last step of reading: defaults that follow from other sections.

use crate::reader;
use crate::scalar::Endpoint;
use crate::section::{Balancer, Cluster, Failover, Policy, Role, Seed, Server};

/// etcd's usual port, for nodes that use etcd without running it.
const ETCD_CLIENT_PORT: u16 = 2379;

/// Fills in what other sections decide, so that nobody after this has to know the rules.
pub(crate) fn freeze(mut seed: Seed) -> Seed {
    if seed.node.roles.contains(&Role::Database) && seed.failover.is_none() {
        seed.failover = empty_failover();
    }
    if let Some(failover) = &mut seed.failover {
        // With a witness nothing is traded; a bare pair rather stays available (DESIGN §8).
        let default =
            if failover.witness.is_some() { Policy::Consistency } else { Policy::Availability };
        failover.policy.get_or_insert(default);
    }
    if let Some(balancer) = &mut seed.balancer {
        name_servers_of_roles(balancer, &seed.cluster);
    }
    let (port, tls) = seed
        .etcd
        .as_ref()
        .map_or((ETCD_CLIENT_PORT, true), |etcd| (etcd.client_port.get(), etcd.tls));
    if let Some(patroni) = seed.patroni.as_mut().filter(|patroni| patroni.etcd.is_empty()) {
        let scheme = if tls { "https" } else { "http" };
        patroni.etcd = addresses(&seed.cluster, Role::Etcd)
            .filter_map(|(_, host)| Endpoint::new(&host, port)?.url(scheme))
            .collect();
    }
    seed
}

/// Name and preferred address of each node of a role.
fn addresses(cluster: &Cluster, role: Role) -> impl Iterator<Item = (String, String)> {
    cluster
        .with_role(role)
        .filter_map(|node| Some((node.name.to_string(), node.addresses.first()?.to_string())))
}

/// Front ends that balance over a role get its nodes as servers, and all servers get their port.
fn name_servers_of_roles(balancer: &mut Balancer, cluster: &Cluster) {
    for frontend in &mut balancer.frontends {
        if let Some(role) = frontend.server_role {
            frontend.servers = addresses(cluster, role)
                .filter_map(|(name, host)| Server::plain(&name, &host))
                .collect();
        }
        let port = frontend.server_port.unwrap_or(frontend.port);
        frontend.server_port = Some(port);
        for server in &mut frontend.servers {
            server.port.get_or_insert(port);
        }
    }
}

/// What an empty `[failover]` reads as.
fn empty_failover() -> Option<Failover> {
    let mut reader = reader::Reader::new("", "");
    reader::read_document(&mut reader)
}
