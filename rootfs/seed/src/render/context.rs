//! The context: the seed as templates see it, with what they would otherwise have to compute.
//!
//! Beside all tables of the seed (absent ones are null) there are:
//!
//! * `roles`: every role with true or false, as in `roles.database`.
//! * `self`: this node: `name`, `addresses`, `ipv4`, `ipv6`, `peers`, `database_peer`,
//!   `first_server`.
//! * `nodes`: for every role the nodes that have it: `name`, `addresses`, `address` (the first),
//!   `ipv4`, `ipv6`.
//! * `vip`: VIPs by name, each with `ipv4` and `ipv6` (plain addresses) beside its keys.
//! * `database_vip`: the VIP that follows the primary.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::section::{ClusterNode, Permit, Role, Secrets, Seed, Vip};

/// Keys of the context that are no tables of the seed.
const DERIVED: &[&str] = &["roles", "self", "nodes", "vip", "database_vip"];

/// The context of a node. It contains the secrets in the open: show it to nobody.
pub fn context(seed: &Seed) -> Value {
    let mut context = match serde_json::to_value(seed) {
        Ok(Value::Object(tables)) => tables,
        _ => Map::new(),
    };
    if let Some(secrets) = &seed.secrets {
        context.insert("secrets".to_owned(), secrets.expose());
    }
    let roles = Role::ALL
        .iter()
        .map(|role| (role.word().to_owned(), Value::Bool(seed.node.roles.contains(role))));
    context.insert("roles".to_owned(), Value::Object(roles.collect()));
    context.insert("self".to_owned(), this_node(seed));
    let nodes = Role::ALL
        .iter()
        .map(|role| (role.word().to_owned(), seed.cluster.with_role(*role).map(node).collect()));
    context.insert("nodes".to_owned(), Value::Object(nodes.collect()));
    let vips = seed.vips.iter().map(|vip| (vip.name.to_string(), with_addresses(vip)));
    context.insert("vip".to_owned(), Value::Object(vips.collect()));
    let database = seed.vips.iter().find(|vip| vip.permit == Permit::Database);
    context.insert("database_vip".to_owned(), database.map_or(Value::Null, with_addresses));
    Value::Object(context)
}

/// The same context with a placeholder for every secret: for `builder render`, whose output people
/// read and paste.
pub fn display_context(seed: &Seed) -> Value {
    let mut shown = context(&seed.redacted());
    shown["secrets"] = Secrets::placeholders(seed);
    shown
}

/// Whether a dotted key is something that the context can have on some node.
pub fn knows_input(key: &str) -> bool {
    let first = key.split('.').next().unwrap_or_default();
    DERIVED.contains(&first) || crate::knows_key(key)
}

fn this_node(seed: &Seed) -> Value {
    let others = || seed.cluster.nodes.iter().filter(|other| other.name != seed.node.name);
    let member = seed.node.roles.contains(&Role::Database);
    let peer = others().find(|other| member && other.roles.contains(&Role::Database));
    let first_server = seed.cluster.with_role(Role::Server).next();
    let mut this = seed.cluster.node(&seed.node.name).map_or_else(|| json!({}), node);
    this["peers"] = others().map(node).collect();
    this["database_peer"] = peer.map_or(Value::Null, node);
    this["first_server"] = first_server.is_some_and(|first| first.name == seed.node.name).into();
    this
}

fn node(node: &ClusterNode) -> Value {
    json!({
        "name": node.name,
        "roles": node.roles,
        "addresses": node.addresses,
        "address": node.addresses.first(),
        "ipv4": first_of(node.addresses.iter().copied(), true),
        "ipv6": first_of(node.addresses.iter().copied(), false),
    })
}

fn with_addresses(vip: &Vip) -> Value {
    let mut value = serde_json::to_value(vip).unwrap_or_default();
    let addresses = || vip.addresses.iter().map(|cidr| cidr.address());
    value["address"] = json!(addresses().next());
    value["ipv4"] = json!(first_of(addresses(), true));
    value["ipv6"] = json!(first_of(addresses(), false));
    value
}

fn first_of(mut addresses: impl Iterator<Item = IpAddr>, ipv4: bool) -> Option<IpAddr> {
    addresses.find(|address| address.is_ipv4() == ipv4)
}
