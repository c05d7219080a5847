//! What can go wrong with PostgreSQL.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::controldata::ControlError;

/// What can go wrong.
#[derive(Debug, Error)]
pub enum DriverError {
    /// A file or folder.
    #[error("can't {step} {}: {source}", path.display())]
    File {
        /// What was tried.
        step: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A rendered file.
    #[error(transparent)]
    Write(#[from] sys::durable::DurableError),
    /// A program can't be started.
    #[error("{} can't be started: {source}; the image lacks it, or memory", path.display())]
    Start {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} failed ({status}): {said}")]
    Failed {
        /// Which.
        program: String,
        /// How it ended.
        status: String,
        /// Its last lines.
        said: String,
    },
    /// Something took too long.
    #[error("{what} took more than {} s; it was ended", limit.as_secs())]
    Late {
        /// What.
        what: String,
        /// How long it may take.
        limit: Duration,
    },
    /// PostgreSQL ended while it was needed.
    #[error("PostgreSQL ended ({status}): its log says why")]
    Ended {
        /// How it ended.
        status: String,
    },
    /// PostgreSQL answers with an error.
    #[error("PostgreSQL refuses \"{query}\": {code} {message}")]
    Refused {
        /// What was asked.
        query: String,
        /// SQLSTATE.
        code: String,
        /// Its words.
        message: String,
    },
    /// The connection to PostgreSQL.
    #[error("no connection to PostgreSQL by {}: {source}", path.display())]
    Connection {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// An answer that can't be.
    #[error("PostgreSQL's answer to \"{query}\" isn't understood")]
    Strange {
        /// What was asked.
        query: String,
    },
    /// The control file.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A command that doesn't fit to what PostgreSQL is.
    #[error("{command} makes no sense while PostgreSQL is {role}")]
    Senseless {
        /// What was asked.
        command: String,
        /// What it is.
        role: String,
    },
    /// Rewinding would trust a timeline's number alone.
    #[error(
        "both nodes are on timeline {timeline}, and this one led on it or lacks log that the peer has \
         no more; pg_rewind can't help; a copy of the peer's data can replace this node's"
    )]
    SameTimeline {
        /// The number.
        timeline: u32,
    },
    /// The thread or its descriptors.
    #[error("the driver of PostgreSQL can't be started: {0}; the node has too little memory")]
    Resources(io::Error),
    /// A stop has overtaken what was under way.
    #[error("overtaken by a stop")]
    Overtaken,
}

impl DriverError {
    /// Whether PostgreSQL refused by ending the session: it stops, starts or was told to.
    pub(super) fn ends_session(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code.starts_with("57P"))
    }
}

/// Names the file that an error is about.
pub(super) fn about(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DriverError {
    let path = path.to_owned();
    move |source| DriverError::File { step, path, source }
}
