//! Why backups can't be made.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::control::ControlError;

/// What went wrong.
#[derive(Debug, Error)]
pub enum BackupError {
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
        /// What is wrong.
        why: String,
    },
    /// Nobody can ask.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Signals can't be received.
    #[error("signals can't be received: {0}; nothing of the service is run")]
    Signals(#[source] io::Error),
    /// There is no thread.
    #[error("no thread can be started: {0}; give the service more processes")]
    Thread(#[source] io::Error),
    /// A program can't be started.
    #[error("{} can't be started: {source}; check that the image has it", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A program said that it failed.
    #[error("{what} failed: {why}")]
    Failed {
        /// Which act.
        what: &'static str,
        /// Its last words.
        why: String,
    },
    /// What pgBackRest tells about its backups can't be read.
    #[error("what pgbackrest tells of its backups can't be read: {0}; another version?")]
    Info(String),
    /// Files can't be moved.
    #[error("{}: {source}; the old data is in {}", path.display(), kept.display())]
    Move {
        /// What should have been moved or made.
        path: PathBuf,
        /// Where the old data is.
        kept: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The service was told to end.
    #[error("{0} was broken off, since the service ends")]
    Ending(&'static str),
}
