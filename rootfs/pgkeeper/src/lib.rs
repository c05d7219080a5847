//! The PostgreSQL keeper: its loop, the gate for clients, and the witness.
//!
//! [`keeper`] drives the protocol of `failover` on a node of a pair. [`gate`] is the only door through
//! which clients reach the database; it opens with authority and closes at once. [`witness`] keeps one
//! register per database pair on disk, for the day on which the two nodes of a pair lose sight of each
//! other. [`postgres`] drives the database itself. Who has authority is decided in `failover`.

pub mod backup;
pub mod cli;
pub mod control;
pub mod gate;
pub mod keeper;
mod listen;
mod name;
pub mod postgres;
mod timed;
mod tls;
pub mod witness;

pub use failover::Epoch;
pub use tls::{CertificateError, Identity};
