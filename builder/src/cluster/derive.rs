//! What follows from the nodes, so that nobody has to write it (or get it wrong) in each seed.
//!
//! Addresses of nodes, peers of VIPs, the witness and further channels of a pair, what servers and
//! agents of Kubernetes join, and under which names the API is known. What the cluster file does
//! say always wins.

use std::net::IpAddr;

use seed::section::Role;
use toml_edit::{Item, Table, value};

use super::site::{Site, SiteNode, SiteVip};
use super::tables::{list, listed, merge, set, tables_of, text, texts};

/// Keys of `[k3s]` that only servers have.
const SERVER_KEYS: &[&str] = &[
    "datastore",
    "external",
    "tls_san",
    "cluster_cidr",
    "service_cidr",
    "cluster_dns",
    "disable",
    "flannel_backend",
    "secrets_encryption",
    "embedded_registry",
    "apiserver_args",
    "controller_manager_args",
    "scheduler_args",
];

/// Ports that the seed has as defaults and that are needed here before it is read.
const API_PORT: i64 = 6443;

/// The addresses in a list of addresses with prefix length; what is none is left to the seed.
fn parsed(addresses: Vec<String>) -> Vec<IpAddr> {
    let bare = |text: String| text.split('/').next().unwrap_or_default().parse().ok();
    addresses.into_iter().filter_map(bare).collect()
}

/// The addresses of a node on one of its links.
fn on_link(node: &SiteNode, link: &str) -> Vec<IpAddr> {
    let found = node.links.iter().find(|(table, _)| text(table, "name") == Some(link));
    found.map_or(Vec::new(), |(table, _)| parsed(texts(table, "addresses")))
}

/// Under which addresses the others reach a node: as written, or those of its first link that has
/// any. Second, the path of that link in the cluster file.
pub(super) fn addresses(node: &SiteNode) -> (Item, Option<String>) {
    if let Some(written) = node.table.get("addresses") {
        return (written.clone(), None);
    }
    let first = node
        .links
        .iter()
        .map(|(table, places)| (parsed(texts(table, "addresses")), places))
        .find(|(addresses, _)| !addresses.is_empty());
    match first {
        Some((addresses, places)) => (list(addresses), places.first().cloned()),
        None => (list(Vec::<IpAddr>::new()), None),
    }
}

/// The first address under which the others reach a node.
fn first_address(node: &SiteNode) -> Option<IpAddr> {
    let (item, _) = addresses(node);
    let first = item.as_array()?.get(0)?.as_str()?;
    first.parse().ok()
}

/// All nodes, as each seed lists them.
pub(super) fn cluster_nodes(site: &Site) -> Item {
    listed(site.nodes.iter().map(|node| {
        let mut table = Table::new();
        for key in ["name", "roles"] {
            if let Some(item) = node.table.get(key) {
                set(&mut table, key, item.clone());
            }
        }
        set(&mut table, "addresses", addresses(node).0);
        table
    }))
}

/// A VIP as one of its holders has it.
pub(super) fn vip(site: &Site, node: &SiteNode, vip: &SiteVip) -> Table {
    let mut table = own_vip(node, vip);
    if vip.unicast {
        let families: Vec<bool> = parsed(texts(&table, "addresses"))
            .into_iter()
            .map(|address| address.is_ipv4())
            .collect();
        let mut peers: Vec<IpAddr> = Vec::new();
        let others = site.with_role(&vip.holders).filter(|other| other.name != node.name);
        for other in others {
            let theirs = own_vip(other, vip);
            let reachable = on_link(other, text(&theirs, "link").unwrap_or_default());
            for ipv4 in [true, false] {
                let wanted = families.contains(&ipv4);
                let peer = reachable.iter().find(|address| address.is_ipv4() == ipv4);
                peers.extend(peer.filter(|_| wanted));
            }
        }
        set(&mut table, "peers", list(peers));
    }
    table
}

fn own_vip(node: &SiteNode, vip: &SiteVip) -> Table {
    let mut table = vip.table.clone();
    let own = node.table.get("vips").and_then(|vips| vips.get(&vip.name));
    if let Some(own) = own.and_then(Item::as_table_like) {
        merge(&mut table, own);
    }
    table
}

/// `[failover]`: the witness, if the site has one, and the peer's addresses on further channels.
pub(super) fn failover(site: &Site, node: &SiteNode, table: &mut Table) {
    let witness = site.with_role(&[Role::Witness]).next();
    if let Some(address) = witness.and_then(first_address) {
        let port = site.item("witness").and_then(|witness| witness.get("port"));
        let mut derived = Table::new();
        set(&mut derived, "address", value(address.to_string()));
        if let Some(port) = port {
            set(&mut derived, "port", port.clone());
        }
        if !table.contains_key("witness") {
            let inline = derived.into_inline_table();
            set(table, "witness", value(inline));
        }
    }
    let mut pair = site.with_role(&[Role::Database]);
    let peer = pair.find(|other| other.name != node.name);
    let channels = table.get("channels").and_then(tables_of);
    if let (Some(peer), Some(mut channels)) = (peer, channels) {
        for channel in &mut channels {
            let link = text(channel, "link").unwrap_or_default();
            let address = on_link(peer, link).first().copied();
            if let Some(address) = address.filter(|_| !channel.contains_key("peer")) {
                set(channel, "peer", value(address.to_string()));
            }
        }
        table.insert("channels", listed(channels));
    }
}

/// `[k3s]` of a server or of an agent.
pub(super) fn k3s(site: &Site, node: &SiteNode, table: &mut Table) {
    if !node.has(Role::Server) {
        for key in SERVER_KEYS {
            table.remove(key);
        }
        return;
    }
    // What agents join is often a balancer; a server joins the first server, and only with etcd.
    table.remove("server");
    let first = site.with_role(&[Role::Server]).next();
    let first = first.filter(|first| first.name != node.name);
    match text(table, "datastore") {
        Some("etcd") => {
            let port = table.get("port").and_then(Item::as_integer);
            if let Some(address) = first.and_then(first_address) {
                let url = https(address, port.unwrap_or(API_PORT));
                set(table, "server", value(url));
            }
        }
        Some("database") if !node.has(Role::Database) => outside_the_pair(site, table),
        _ => {}
    }
    let names = api_names(site);
    let mut known = texts(table, "tls_san");
    let missing = names.iter().map(ToString::to_string);
    let missing: Vec<String> = missing.filter(|name| !known.contains(name)).collect();
    if !missing.is_empty() {
        known.extend(missing);
        set(table, "tls_san", list(known));
    }
}

/// A server beside the pair reaches the pair's database on its VIP.
fn outside_the_pair(site: &Site, table: &mut Table) {
    let follows = |vip: &&SiteVip| text(&vip.table, "permit") == Some("database");
    let Some(vip) = site.vips.iter().find(follows) else {
        return;
    };
    let Some(address) = parsed(texts(&vip.table, "addresses")).first().copied() else {
        return;
    };
    let mut external = Table::new();
    set(&mut external, "host", value(address.to_string()));
    let database = site.item("database").and_then(Item::as_table_like);
    if let Some(database) = database {
        for (key, name) in [("port", "port"), ("database", "name")] {
            if let Some(item) = database.get(name) {
                set(&mut external, key, item.clone());
            }
        }
        let users = database.get("users").and_then(tables_of).unwrap_or_default();
        let own = |user: &&Table| {
            let name = text(*user, "name").unwrap_or_default();
            texts(*user, "clients").iter().any(|client| client == name)
        };
        if let Some(name) = users.iter().find(own).and_then(|user| text(user, "name")) {
            set(&mut external, "user", value(name));
        }
    }
    set(table, "datastore", value("external"));
    if !table.contains_key("external") {
        external.decor_mut().set_prefix("\n# The pair of this site, on its virtual address.\n");
        table.insert("external", Item::Table(external));
    }
}

/// Where clients may look for the API beyond the servers themselves: VIPs and balancers.
fn api_names(site: &Site) -> Vec<IpAddr> {
    let vips = site.vips.iter();
    let mut names: Vec<IpAddr> =
        vips.flat_map(|vip| parsed(texts(&vip.table, "addresses"))).collect();
    let balancers = site.with_role(&[Role::Balancer]).filter(|node| !node.has(Role::Server));
    names.extend(balancers.filter_map(first_address));
    let mut seen = Vec::new();
    names.retain(|name| {
        let new = !seen.contains(name);
        seen.push(*name);
        new
    });
    names
}

fn https(address: IpAddr, port: i64) -> String {
    match address {
        IpAddr::V4(_) => format!("https://{address}:{port}"),
        IpAddr::V6(_) => format!("https://[{address}]:{port}"),
    }
}
