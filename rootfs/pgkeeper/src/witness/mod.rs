//! The witness: one register per database pair, on a third box.
//!
//! ```text
//!  pair of plant3 --TLS, ALPN "edgepair-witness-1/plant3"-->  witness  --> plant3.register
//!  pair of shop17 --TLS, ALPN "edgepair-witness-1/shop17"-->     "     --> shop17.register
//! ```
//!
//! Each cluster has its own CA, its own certificate for the witness, and its own register. The ALPN
//! protocol names the cluster, so the witness knows which CA to ask for before anyone has shown a
//! certificate, and certificates need no made-up host names. Of that CA only the two nodes of the
//! pair may ask, each as its own side.
//!
//! What is written in a register decides `failover::Register`; here it is only kept. An answer
//! leaves after its register is on the disk. A register that can't be read or written is refused,
//! with the reason, until somebody mends it; no register ever begins anew by itself, because a
//! witness that forgot might grant twice. On a node of ours the very first one is made at the first
//! boot, and a mark elsewhere remembers that (`first.rs`).

pub mod client;
pub mod config;
mod first;
pub mod frame;
pub mod register;
mod serve;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

pub use config::Config;
pub use serve::Server;

/// What the ALPN protocol begins with; the cluster's name follows.
const PROTOCOL: &str = "edgepair-witness-1/";

/// Why the witness can't work.
#[derive(Debug, Error)]
pub enum WitnessError {
    /// The configuration can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The configuration isn't what it should be.
    #[error("{}: {why}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The port can't be had.
    #[error("{address} can't be had: {source}; give `listen` another value")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A command names a cluster that the configuration doesn't have.
    #[error("there is no cluster \"{name}\" in the configuration: it has {known}")]
    NoCluster {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A register is in the way or can't be written.
    #[error(transparent)]
    Register(#[from] register::RegisterError),
    /// The system gave no random number.
    #[error("the operating system gives no random numbers: check that /dev/urandom works")]
    Random,
}

/// The number by which heartbeats, records and registers name a cluster: from its name, so that it
/// outlives a new CA. Names that two sites share are told apart by their CAs.
pub fn cluster_number(name: &str) -> u64 {
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    digest.as_ref().first_chunk().map_or(0, |head| u64::from_be_bytes(*head))
}

/// The ALPN protocol of a cluster.
fn protocol_of(cluster: &str) -> Vec<u8> {
    format!("{PROTOCOL}{cluster}").into_bytes()
}

/// The cluster of an ALPN protocol.
fn cluster_of(protocol: &[u8]) -> Option<&str> {
    std::str::from_utf8(protocol).ok()?.strip_prefix(PROTOCOL)
}
