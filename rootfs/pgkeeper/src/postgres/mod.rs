//! PostgreSQL, driven: what `failover` asks of it, carried out on a real server.
//!
//! ```text
//!  keeper's loop ── command, fence_revision ──> orders ──> worker ── signals, SQL, files ──> postgres
//!                <──────── next_report ─────── reports <────┘  │                                ▲
//!                                                              └─ pg_rewind, pg_basebackup … ───┘
//! ```
//!
//! One thread, the worker, does one thing at a time, as the core asks for it. It starts PostgreSQL,
//! so PostgreSQL ends when it ends. All its waits can be ended by a stop; what a stop overtakes
//! isn't answered. A command that fails leaves nothing running, and only then is that said.
//!
//! # What is certain, and how
//!
//! - **Commits wait** (`names.rs`): a commit of the keeper's own was seen waiting.
//! - **Nothing is acknowledged any more** (`follow.rs`): the WAL receiver's way to the peer is taken
//!   away first, and then no such process is left.
//! - **PostgreSQL is gone** (`server.rs`): no process works in the data folder any more.
//! - **A copy is complete** (`reclone.rs`): it takes the place of the data in one rename, after
//!   everything in it is on the disk.
//! - **What a damaged copy replaced** (`damage.rs`) stays while the disk has room.
//! - **What a rewind drops** (`rewind.rs`) is on the disk elsewhere before the rewind begins.

pub(crate) mod boot;
mod config;
pub mod controldata;
mod create;
pub(crate) mod damage;
mod detail;
mod discarded;
mod driver;
mod error;
mod flag;
mod follow;
mod kept;
mod log;
mod names;
pub(crate) mod processes;
mod program;
mod promote;
mod reclone;
mod revision;
mod rewind;
mod server;
mod session;
mod settings;
mod start;
mod status;
mod stop;
mod wire;
mod worker;

use std::sync::Arc;

pub use detail::{Detail, Repair, RepairKind};
pub use driver::{Driver, Report};
pub use error::DriverError;
pub use settings::{Certificates, PEER_CERTIFICATE_NAME, Settings, User};

/// Where the driver and PostgreSQL say what happens, from several threads.
type Say = Arc<dyn Fn(&str) + Send + Sync>;
