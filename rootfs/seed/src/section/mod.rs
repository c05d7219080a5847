//! The tables of a seed, one file per subject.
//!
//! Each file defines structs with `section!`; the doc comment of a key is also its row in the
//! reference page, so it is written for the person who writes a seed.

mod balancer;
mod check;
mod cluster;
mod database;
mod etcd;
mod failover;
mod format;
mod k3s;
mod link;
mod node;
mod patroni;
mod secrets;
mod services;
mod vip;

use std::collections::BTreeMap;

use crate::reader::section;
use crate::scalar::Secret;

pub use balancer::{Algorithm, Balancer, BalancerKind, Frontend, Server, ServerCheck};
pub use check::{Check, CheckKind};
pub use cluster::{Cluster, ClusterNode};
pub use database::{Backup, BackupTarget, Database, DatabaseUser, Setting};
pub use etcd::Etcd;
pub use failover::{Channel, Failover, Heartbeat, Policy, WitnessAddress};
pub use format::{FORMAT, Format};
pub use k3s::{Datastore, ExternalDatastore, FlannelBackend, K3s, Mirror, Packaged};
pub use link::{BondMode, Dns, HostEntry, Link, LinkKind, LinkMatch, Route, Time};
pub use node::{ConsoleLevel, Debug, Node, Role};
pub use patroni::Patroni;
pub use secrets::{NeededSecret, Secrets};
pub use services::{Operators, Pool, Registry, Services, Witness};
pub use vip::{Authentication, Checksum, Permit, Vip, VrrpVersion};

/// A map of secrets by the name of what they belong to.
pub(crate) type SecretMap = BTreeMap<String, Secret>;

section! {
    /// A seed is one TOML file. These are its top-level keys and tables; `format` comes first.
    Seed {
        /// The version of this schema that the seed is written for.
        format: Format = required;
        /// Who this node is.
        node: Node = required;
        /// The site: all nodes, this one included.
        cluster: Cluster = required;
        /// The node's network links.
        links: Vec<Link> = default("[]");
        /// Routes beyond the networks of the links.
        routes: Vec<Route> = default("[]");
        /// Name resolution.
        dns: Dns = default("{}");
        /// The clock.
        time: Time = default("{}");
        /// Virtual IP addresses that move between nodes.
        vips: Vec<Vip> = default("[]");
        /// How the database pair decides who is primary.
        failover: Failover = optional;
        /// PostgreSQL 17.
        database: Database = optional;
        /// PostgreSQL with three or more members, managed by Patroni on etcd.
        patroni: Patroni = optional;
        /// Kubernetes.
        k3s: K3s = optional;
        /// Load balancer in front of other nodes.
        balancer: Balancer = optional;
        /// etcd run by the image itself (not the one inside of K3s).
        etcd: Etcd = optional;
        /// This node as the witness of database pairs.
        witness: Witness = optional;
        /// This node as a private image registry.
        registry: Registry = optional;
        /// What Kubernetes services may use from outside.
        services: Services = optional;
        /// Who may control the node from afar.
        operators: Operators = optional;
        /// Help for finding faults.
        debug: Debug = default("{}");
        /// Keys, tokens and passwords. Never in a committed seed: the builder adds this table when
        /// it seals the seed onto a node's SEED partition.
        secrets: Secrets = optional;
    }
}
