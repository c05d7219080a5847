//! How PostgreSQL is, for `nodectl status`.

use std::path::PathBuf;

use serde::Serialize;

/// What kind of repair it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RepairKind {
    /// The data was wound back.
    Rewind,
    /// The data was replaced by a copy of the peer's.
    Reclone,
}

/// The last repair of this node's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// What was done.
    pub kind: RepairKind,
    /// When it was finished, in seconds since 1970, by the node's clock.
    pub at: u64,
    /// How long it took.
    pub milliseconds: u64,
    /// How much WAL was dropped, if that is known.
    pub bytes_discarded: Option<u64>,
    /// How many transactions were in it, if that is known.
    pub transactions_discarded: Option<u64>,
    /// Where the dropped WAL and a report about it are.
    pub archive: Option<PathBuf>,
}

/// How PostgreSQL is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// What `postgres -V` says.
    pub version: String,
    /// In words: "primary", "standby", "stopped", or what it is busy with.
    pub role: String,
    /// The postmaster's process.
    pub pid: Option<u32>,
    /// The timeline.
    pub timeline: u32,
    /// The end of its flushed WAL, as PostgreSQL writes positions.
    pub lsn: String,
    /// On a primary: the end of the peer's flushed WAL, if the peer streams.
    pub peer_lsn: Option<String>,
    /// On a primary, how many bytes the peer has yet to flush; on a standby, how many of its own it
    /// has yet to replay.
    pub lag_bytes: Option<u64>,
    /// On a standby: whether it streams from the peer.
    pub streams: bool,
    /// This node's data is a copy of pages whose checksums were wrong.
    pub has_damaged_copy: bool,
    /// The last repair since the daemon's start.
    pub last_repair: Option<Repair>,
}
