//! What the driver needs to know, and where it keeps what.
//!
//! ```text
//!  /state/postgres/data        the database           /run/postgres/postgresql.conf, pg_hba.conf …
//!                  new         while initdb works                   .s.PGSQL.5433
//!                  clone       while a copy is made                 peer-ca.pem: while it may stream
//!                  discarded/  what rewinds dropped
//!                  replaced/   what a copy of damaged data replaced: damage.rs
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::gate;

/// The common name of both nodes' replication certificates. It says what the owner may do; who it
/// is, the address of the connection says.
pub const PEER_CERTIFICATE_NAME: &str = "replication";

/// A role of the seed and whether it owns the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The role and its clients.
    pub user: gate::User,
    /// Whether it may make tables.
    pub owner: bool,
}

/// Certificates and keys, as PEM files that PostgreSQL itself reads. It insists on private keys
/// that nobody else can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    /// The cluster's CA.
    pub ca: PathBuf,
    /// What the peer is shown when it calls; must name this node's addresses.
    pub certificate: PathBuf,
    /// The key of it.
    pub key: PathBuf,
    /// What the peer is shown when it is called; its name is [`PEER_CERTIFICATE_NAME`].
    pub replication_certificate: PathBuf,
    /// The key of it.
    pub replication_key: PathBuf,
}

/// Everything about this node's PostgreSQL.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of PostgreSQL's programs, such as `/usr/lib/postgresql/17/bin`.
    pub programs: PathBuf,
    /// Where data is, such as `/state/postgres`; PostgreSQL's own and private.
    pub folder: PathBuf,
    /// Where the unix socket and the rendered configuration are, such as `/run/postgres`.
    pub socket_folder: PathBuf,
    /// This node's name.
    pub name: String,
    /// The peer's name.
    pub peer_name: String,
    /// Where the peer is; tried in this order.
    pub peer_addresses: Vec<IpAddr>,
    /// This node's addresses on which the peer may call.
    pub listen: Vec<IpAddr>,
    /// The port for that, here.
    pub replication_port: u16,
    /// The port for that, at the peer.
    pub peer_port: u16,
    /// Certificates and keys.
    pub certificates: Certificates,
    /// The one database.
    pub database: String,
    /// Its roles.
    pub users: Vec<User>,
    /// PostgreSQL's `max_connections`.
    pub max_connections: u32,
    /// PostgreSQL's `shared_buffers`, in bytes.
    pub shared_buffers: u64,
    /// Whether clients' commits wait for the peer's disk unless they say otherwise.
    pub synchronous: bool,
    /// Further settings of the seed, as in `postgresql.conf`, without quotes.
    pub settings: BTreeMap<String, String>,
    /// The `archive_command`, if WAL is archived.
    pub archive_command: Option<String>,
}

impl Settings {
    /// The unix socket that PostgreSQL listens on: the gate's backend.
    pub fn socket(&self) -> PathBuf {
        self.socket_folder.join(format!(".s.PGSQL.{}", self.replication_port))
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A database that initdb is making.
    pub(super) fn new_data(&self) -> PathBuf {
        self.folder.join("new")
    }

    /// A copy of the peer's data that isn't complete; after the swap, what it replaces.
    pub(super) fn clone_data(&self) -> PathBuf {
        self.folder.join("clone")
    }

    /// What repairs dropped.
    pub(super) fn discarded(&self) -> PathBuf {
        self.folder.join("discarded")
    }

    pub(super) fn configuration(&self) -> PathBuf {
        self.socket_folder.join("postgresql.conf")
    }

    pub(super) fn hba(&self) -> PathBuf {
        self.socket_folder.join("pg_hba.conf")
    }

    pub(super) fn ident(&self) -> PathBuf {
        self.socket_folder.join("pg_ident.conf")
    }

    /// The name under which the WAL receiver finds the CA. Without it, it connects to nobody.
    pub(super) fn receiver_ca(&self) -> PathBuf {
        self.socket_folder.join("peer-ca.pem")
    }
}

/// The file whose presence makes data a standby's.
pub(super) fn standby_signal(data: &Path) -> PathBuf {
    data.join("standby.signal")
}

#[cfg(test)]
impl Settings {
    /// A node's settings with all its folders below this one.
    pub(super) fn example(folder: &Path) -> Self {
        let file = |name: &str| folder.join(name);
        Self {
            programs: file("bin"),
            folder: folder.to_owned(),
            socket_folder: folder.to_owned(),
            name: "one".to_owned(),
            peer_name: "two".to_owned(),
            peer_addresses: Vec::new(),
            listen: Vec::new(),
            replication_port: 5433,
            peer_port: 5433,
            certificates: Certificates {
                ca: file("ca.pem"),
                certificate: file("node.pem"),
                key: file("node.key"),
                replication_certificate: file("replication.pem"),
                replication_key: file("replication.key"),
            },
            database: "plant".to_owned(),
            users: Vec::new(),
            max_connections: 100,
            shared_buffers: 32 << 20,
            synchronous: true,
            settings: BTreeMap::new(),
            archive_command: None,
        }
    }
}
