//! The database pair in words: what `pgkeeper` and its backups are asked, and what they tell.
//!
//! `pgkeeper` listens on [`KEEPER_SOCKET_PATH`] and `pgkeeper backup` on [`BACKUP_SOCKET_PATH`]; both
//! speak as PID 1 does, one request and one answer per connection. No order passes PID 1: it
//! must not wait for a sibling, and these say themselves what is safe.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::restore::Restore;

/// Where `pgkeeper` listens: in a folder of its own, since it isn't root.
pub const KEEPER_SOCKET_PATH: &str = "/run/edgepair/pgkeeper/control.sock";

/// Where the service that makes backups listens.
pub const BACKUP_SOCKET_PATH: &str = "/run/edgepair/pgkeeper/backup.sock";

/// What the database pair can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum PgRequest {
    /// Role, epoch, replication, witness.
    Status,
    /// The same in Prometheus' text format.
    Metrics,
    /// The leader shall hand over to its peer.
    Switchover,
    /// No automatic failover from now on, or again.
    Maintenance {
        /// Whether it begins or ends.
        on: bool,
    },
    /// This node shall lead, although acknowledged commits may be missing here.
    ForcePrimary {
        /// The operator said so in so many words.
        accept_data_loss: bool,
    },
    /// This node's data shall be replaced by a copy of the leader's.
    Reinit,
    /// A base backup shall be made, and now.
    BackupNow,
    /// Which backups there are.
    Backups,
    /// This node's data shall be replaced by what is in the backups, while `pgkeeper` is stopped.
    Restore(Restore),
}

impl PgRequest {
    /// The word for it in messages and in the node API's log.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Status => "pg status",
            Self::Metrics => "pg metrics",
            Self::Switchover => "pg switchover",
            Self::Maintenance { on: true } => "pg maintenance on",
            Self::Maintenance { on: false } => "pg maintenance off",
            Self::ForcePrimary { .. } => "pg force-primary",
            Self::Reinit => "pg reinit",
            Self::BackupNow => "pg backup now",
            Self::Backups => "pg backup list",
            Self::Restore(_) => "pg restore",
        }
    }

    /// Whether it changes something.
    pub fn changes(&self) -> bool {
        !matches!(self, Self::Status | Self::Metrics | Self::Backups)
    }

    /// Whether it is for the service that makes backups, and not for `pgkeeper` itself.
    pub fn is_for_backups(&self) -> bool {
        matches!(self, Self::BackupNow | Self::Backups | Self::Restore(_))
    }
}

/// The database pair, as `pgkeeper` on one of its nodes sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseStatus {
    /// This node's name.
    #[serde(default)]
    pub node: String,
    /// What this node is to the pair, in a word: `primary`, `solo`, `blocked`, `standby`,
    /// `catching-up`, `stale`, `candidate`, `promoting`, `handing-over`, `fenced`, `rewinding`,
    /// `cloning`, `looking-for-peer`, `booting`.
    pub role: String,
    /// For how long.
    #[serde(default)]
    pub for_ms: u64,
    /// The authority's epoch.
    pub epoch: u64,
    /// The node that leads in this epoch, as far as this node knows.
    #[serde(default)]
    pub primary: Option<String>,
    /// Whether every acknowledged write is on both nodes; none if this node can't know.
    #[serde(default)]
    pub in_sync: Option<bool>,
    /// How far the standby is behind.
    #[serde(default)]
    pub lag_bytes: Option<u64>,
    /// Whether the gate lets clients in.
    pub gate_open: bool,
    /// Clients' sessions through the gate.
    #[serde(default)]
    pub sessions: Option<u64>,
    /// Whether an operator, on either node, has switched automatic failover off.
    #[serde(default)]
    pub maintenance: bool,
    /// The end of this node's write-ahead log, as PostgreSQL writes it.
    #[serde(default)]
    pub lsn: String,
    /// The peer.
    #[serde(default)]
    pub peer: Option<PeerStatus>,
    /// Who decides when the nodes lose sight of each other: `witness`, `fence`, or the policy's word.
    #[serde(default)]
    pub arbiter: String,
    /// The witness, if the pair has one.
    #[serde(default)]
    pub witness: Option<WitnessStatus>,
    /// What the gate has counted since `pgkeeper` started, by name, such as `swallowed_cancels`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gate_counters: BTreeMap<String, u64>,
    /// What else is worth telling.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The other node of the pair, as it was last heard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its name.
    pub node: String,
    /// What it said that it is, in the words of [`DatabaseStatus::role`]; none if it was never heard.
    #[serde(default)]
    pub role: Option<String>,
    /// How long ago it was certainly there; none if never since `pgkeeper` started.
    #[serde(default)]
    pub contact_ms: Option<u64>,
    /// The ways between the two.
    #[serde(default)]
    pub channels: Vec<ChannelStatus>,
}

/// One way between the nodes of a pair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// Its name.
    pub name: String,
    /// Whether the peer was heard on it a moment ago.
    pub heard: bool,
}

/// The witness, as a node of the pair sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessStatus {
    /// Where it is.
    pub address: String,
    /// How long ago it answered; none if never since `pgkeeper` started. It is asked seldom while the
    /// pair is in sync.
    #[serde(default)]
    pub answered_ms: Option<u64>,
    /// Why it doesn't.
    #[serde(default)]
    pub because: Option<String>,
}

/// What there is of backups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupStatus {
    /// Where they go.
    pub target: String,
    /// What the service does now: `idle`, `making a backup`, `this node doesn't lead`.
    pub state: String,
    /// When the next one is due, in milliseconds since 1970; none on a node that doesn't lead.
    #[serde(default)]
    pub next_unix_ms: Option<u64>,
    /// Why the last attempt failed, if it did.
    #[serde(default)]
    pub failure: Option<String>,
    /// The oldest and newest segment of the archived write-ahead log.
    #[serde(default)]
    pub archive: Option<[String; 2]>,
    /// Base backups, oldest first.
    #[serde(default)]
    pub backups: Vec<Backup>,
}

/// One base backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Its label; `nodectl pg backup list` shows it and a restore takes it.
    pub label: String,
    /// When it began and ended, in seconds since 1970.
    pub from_unix: u64,
    /// See there.
    pub until_unix: u64,
    /// Size of the database.
    pub database_bytes: u64,
    /// Size in the repository.
    pub stored_bytes: u64,
    /// Whether pgBackRest found a mistake in it.
    #[serde(default)]
    pub damaged: bool,
}
