//! Why backups can't be made.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::control::ControlError;
use crate::postgres::DriverError;

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
    /// The restored data can't take the place of the old.
    #[error("{source}; the old data is in {}", kept.display())]
    Swap {
        /// Where the old data is.
        kept: PathBuf,
        /// Which step failed, and why.
        source: DriverError,
    },
    /// A base backup isn't begun: the database lives on the same disk.
    #[error(
        "{} has {free_mib} MiB free, and a base backup is begun with {needed_mib}: set a lower \
         `keep`, or use a larger disk or an S3 store",
        repository.display()
    )]
    NoRoom {
        /// Where it would go.
        repository: PathBuf,
        /// What there is.
        free_mib: u64,
        /// What it takes, and what must stay.
        needed_mib: u64,
    },
    /// A base backup is broken off, before the database's disk is full.
    #[error(
        "the base backup was broken off with {free_mib} MiB free in {}, where {least_mib} must \
         stay: set a lower `keep`, or use a larger disk or an S3 store",
        repository.display()
    )]
    Filling {
        /// Where it went.
        repository: PathBuf,
        /// What was left.
        free_mib: u64,
        /// What must stay.
        least_mib: u64,
    },
    /// There is no new base backup in a directory.
    #[error("{why}; until a base backup is made, the archived log in {} only grows",
            repository.display())]
    ArchiveGrows {
        /// Why there is none.
        why: Box<BackupError>,
        /// Where the archive is.
        repository: PathBuf,
    },
    /// The service was told to end.
    #[error("{0} was broken off, since the service ends")]
    Ending(&'static str),
}
