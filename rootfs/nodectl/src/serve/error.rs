//! Why the node API can't start.

use std::io;
use std::path::PathBuf;

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration can't be read.
    #[error(
        "{}: {source}; the node renders it from a seed with [operators], for the user nodeapi",
        path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The configuration isn't what it should be.
    #[error("{}: {why}; correct its template and rebuild the image", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        why: String,
    },
    /// Certificates or keys are wrong.
    #[error("{what}: {why}; let `builder cluster new` make the secrets, and write the seed anew")]
    Certificates {
        /// Which.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The signal to end can't be waited for.
    #[error("signals: {0}")]
    Signals(io::Error),
    /// The port can't be had.
    #[error("port {port} can't be had: {source}; give operators.port another value in the seed")]
    Listen {
        /// The port.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
}
