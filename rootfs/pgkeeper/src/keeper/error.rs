//! Why the keeper can't start, or go on.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::config::ConfigError;
use crate::CertificateError;
use crate::gate::GateError;
use crate::postgres::DriverError;
use crate::witness::client::ClientError;

/// Why the keeper can't start, or go on.
#[derive(Debug, Error)]
pub enum KeeperError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A certificate or key can't be read.
    #[error("{}: {source}; the overlay renders it from the seed's secrets", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Certificates or a key are wrong.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// The state folder isn't there, or another keeper has it.
    #[error("the state folder {} can't be had: {source}; {}", path.display(), mend(source))]
    State {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The gate.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// PostgreSQL's driver.
    #[error(transparent)]
    Postgres(#[from] DriverError),
    /// The witness's client.
    #[error(transparent)]
    Witness(#[from] ClientError),
    /// The machine refuses something that everybody gets.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

fn mend(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::WouldBlock => "another pgkeeper runs with it: stop that one first",
        io::ErrorKind::NotFound => "make it, or correct `state`",
        _ => "it must belong to the keeper's user, on a disk that works",
    }
}
