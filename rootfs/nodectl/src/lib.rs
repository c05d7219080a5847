//! The operator's command: asks a node's PID 1 and its siblings, on the node by unix sockets and from
//! afar by TLS.
//!
//! ```text
//!   desk                              │ node
//!                    TLS 1.3, both    │                        unix socket,
//!   nodectl --node ──certificates─────┼─> nodectl serve ──────root or nodeapi──> PID 1
//!                                     │   (user nodeapi)            ^   or ────> pgkeeper, its backups
//!                                     │   nodectl ──────────────────┘   or ────> vipd
//! ```
//!
//! Each request is for one of them (`doors.rs`), and none is passed on by another.
//!
//! The words are those of the crate `control`. What the node API adds is the judgement who may ask,
//! and bounds on how much a stranger can cost; it never answers anything itself, and PID 1 never
//! reads a byte that came from a network unless it was parsed here first.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod cli;
pub mod client;
mod commands;
mod doors;
mod fingerprint;
mod keepalive;
pub mod serve;
pub mod show;
mod timed;
