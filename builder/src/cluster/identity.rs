//! Under which names a node is known, and who else gets a certificate because of its seed.
//!
//! Pure: a seed in, subjects of certificates out.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use seed::Seed;
use seed::section::{Datastore, Role};

use super::pki::{Purpose, Subject, hex};

/// The common name with which a standby replicates, known to the database's access rules.
pub(super) const REPLICATION: &str = "replication";
/// The common name of the desk's certificate for `nodectl`.
pub(super) const OPERATOR: &str = "operator";
/// The database role that K3s logs in as, unless the seed has another.
const K3S: &str = "k3s";

/// What the node's certificate for servers and clients says.
pub(super) fn node(seed: &Seed) -> Subject {
    let name = seed.node.name.as_str();
    let cluster = seed.cluster.name.as_str();
    let mut addresses =
        BTreeSet::from([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
    let links = seed.links.iter().flat_map(|link| &link.addresses);
    addresses.extend(links.map(|cidr| cidr.address()));
    let vips = seed.vips.iter().flat_map(|vip| &vip.addresses);
    addresses.extend(vips.map(|cidr| cidr.address()));
    if let Some(own) = seed.cluster.node(&seed.node.name) {
        addresses.extend(&own.addresses);
    }
    let mut hosts = BTreeSet::from([
        "localhost".to_owned(),
        name.to_owned(),
        format!("{name}.{cluster}"),
        cluster.to_owned(),
    ]);
    // Names that the seed gives to one of these addresses are names of this node.
    for entry in &seed.dns.hosts {
        if addresses.contains(&entry.address) {
            hosts.extend(entry.names.iter().map(ToString::to_string));
        }
    }
    hosts.retain(|host| host.parse::<IpAddr>().is_err());
    Subject { common_name: name.to_owned(), hosts, addresses, purpose: Purpose::Node }
}

/// The common name with which this node's K3s reaches its datastore, if that wants a certificate.
pub(super) fn k3s_client(seed: &Seed) -> Option<String> {
    let k3s = seed.k3s.as_ref()?;
    if !seed.node.roles.contains(&Role::Server) {
        return None;
    }
    match k3s.datastore? {
        Datastore::Etcd => None,
        Datastore::ExternalEtcd => Some(K3S.to_owned()),
        Datastore::External => {
            let external = k3s.external.as_ref();
            Some(external.map_or(K3S.to_owned(), |external| external.user.to_string()))
        }
        Datastore::Database => Some(database_client(seed).unwrap_or(K3S.to_owned())),
    }
}

/// The client of the user called `k3s`, or else of the first one that owns the database.
fn database_client(seed: &Seed) -> Option<String> {
    let users = &seed.database.as_ref()?.users;
    let user = users
        .iter()
        .find(|user| user.name.as_str() == K3S)
        .or_else(|| users.iter().find(|user| user.owner))?;
    user.clients.first().map(ToString::to_string)
}

/// The common names of programs other than K3s that log in to this node's database.
pub(super) fn database_clients(seed: &Seed) -> BTreeSet<String> {
    let serves = [Role::Database, Role::Patroni];
    let Some(database) = &seed.database else {
        return BTreeSet::new();
    };
    if !seed.node.roles.iter().any(|role| serves.contains(role)) {
        return BTreeSet::new();
    }
    let clients = database.users.iter().flat_map(|user| &user.clients);
    clients.map(ToString::to_string).collect()
}

/// A node whose name is also that of a client would be taken for it: the database and `nodectl`
/// know clients by their common name only.
pub(super) fn mistakable(seed: &Seed) -> Option<&str> {
    let mut taken = database_clients(seed);
    taken.extend(k3s_client(seed));
    taken.extend([REPLICATION.to_owned(), OPERATOR.to_owned()]);
    let mut names = seed.cluster.nodes.iter().map(|node| node.name.as_str());
    names.find(|name| taken.contains(*name))
}

/// The name of a file for a common name, which may contain anything.
pub(super) fn file_name(common_name: &str) -> String {
    let mut name = String::new();
    for (index, byte) in common_name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if plain || (byte == b'.' && index > 0) {
            name.push(char::from(byte));
        } else {
            name.push('%');
            name.push_str(&hex(&[byte]));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Two clients never share a file, and no name leaves the folder or hides in it.
        #[test]
        fn file_names_are_plain_and_differ(one in "\\PC{1,20}", two in "\\PC{1,20}") {
            let (first, second) = (file_name(&one), file_name(&two));
            prop_assert_eq!(one == two, first == second);
            prop_assert!(!first.contains('/') && !first.starts_with('.'));
            prop_assert!(first.is_ascii());
        }
    }
}
