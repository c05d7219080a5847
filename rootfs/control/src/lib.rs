//! PURE: the words that nodectl, the node API, logd, pgkeeper and PID 1 exchange.
//!
//! PID 1 serves the unix socket [`SOCKET_PATH`]. A client connects, writes **one** request as one
//! line of JSON, and reads the answer: one line, or for `logs` a stream of lines that `"end"` ends.
//! Then either side closes. From afar the same lines go through TLS to the node API
//! (`nodectl serve`), which hands them on.
//!
//! ```text
//!   {"version":1,"request":"status"}                        ──>
//!                              <──  {"status":{"node":"node1", …}}
//!   {"version":1,"request":{"logs":{"service":"haproxy","lines":2,"follow":false}}}  ──>
//!                              <──  {"log":{"seq":41,"unix_ms":…,"service":"haproxy","text":"…"}}
//!                              <──  {"log":{"seq":42,…}}
//!                              <──  "end"
//!   {"version":1,"request":{"restart":{"service":"nginx"}}}  ──>
//!                              <──  {"refused":{"reason":"unknown-service","message":"…"}}
//! ```
//!
//! `pgkeeper` has a socket of its own, [`KEEPER_SOCKET_PATH`], and speaks alike; what is for it is
//! `{"version":1,"request":{"pg":"switchover"}}`. Whoever asks chooses the socket.
//!
//! Requests are parsed strictly: PID 1 reads them, so an unknown key, a second request, or one byte
//! beyond [`MAX_REQUEST_BYTES`] is refused. Answers are read leniently: a desk's `nodectl` may be
//! older than the node, and what it doesn't know it leaves out. A change that an older peer would
//! misunderstand raises [`VERSION`].
//!
//! This crate never does IO, reads no clock, and allocates no more than its bounds say.

mod answer;
mod database;
mod error;
mod fact;
mod inbox;
mod metrics;
mod name;
mod request;
mod restore;
mod routes;
mod status;
mod usage;

pub use answer::{Answer, LogLine, Reason, Refusal};
pub use database::{
    BACKUP_SOCKET_PATH, Backup, BackupStatus, ChannelStatus, DatabaseStatus, KEEPER_SOCKET_PATH,
    PeerStatus, PgRequest, WitnessStatus,
};
pub use error::ProtocolError;
pub use fact::{Fact, FactText, UnknownFact};
pub use inbox::Inbox;
pub use metrics::{backup_metrics, database_metrics, metrics};
pub use name::{BadName, ServiceName};
pub use request::{Logs, Request, VipRequest};
pub use restore::{BackupLabel, BadLabel, Restore, RestoreTo};
pub use status::{
    Clock, Exit, Image, K3sStatus, LinkStatus, MissingPart, Readiness, ServiceState, ServiceStatus,
    Status, Storage, VipStatus, Watchdog,
};
pub use usage::{Top, Usage};

/// The version of these words.
pub const VERSION: u16 = 1;

/// Where PID 1 listens.
pub const SOCKET_PATH: &str = "/run/edgepair/control.sock";

/// The user (and group) of the node API; beside root nobody else may connect.
pub const API_USER: &str = "nodeapi";

/// Longest request line, without its end. The longest sensible one has some 200 bytes.
pub const MAX_REQUEST_BYTES: usize = 1024;

/// Longest answer line, without its end. A status of sixty services has some 20 KiB; a fact in which
/// every byte needs an escape has twice [`MAX_FACT_BYTES`].
pub const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// Longest text of a fact; the rest is cut off. The manifest of a full image has some 40 KiB.
pub const MAX_FACT_BYTES: usize = 64 * 1024;

/// Longest text of a log line; the rest is cut off. The journal keeps 2 KiB, in which every byte may
/// need an escape of four.
pub const MAX_LOG_TEXT_BYTES: usize = 8 * 1024;

/// Most lines of a log that one request may ask for.
pub const MAX_LOG_LINES: u32 = 100_000;
