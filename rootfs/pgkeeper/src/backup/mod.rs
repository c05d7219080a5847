//! Base backups and restores: pgBackRest, told when.
//!
//! ```text
//!  nodectl ──> backup.sock ──> loop ──order──> worker ──> pgbackrest backup | info | restore
//!                               │ <──status──    │
//!                                                └──"who leads?"──> pgkeeper
//! ```
//!
//! A service of its own. The keeper's loop must not wait for anything, and a backup reads the whole
//! disk; what this does wrong must not cost the pair its leader. It runs on both nodes and works on
//! the one that leads: it asks the keeper, which knows, every few seconds, so after a change of
//! leaders the other one goes on with the schedule by itself. WAL is archived by PostgreSQL
//! (`archive_command`), not from here.
//!
//! pgBackRest holds a lock of its own, so two backups of one node never run at once.

mod ask;
pub mod config;
mod error;
pub mod info;
mod restore;
mod room;
mod schedule;
mod serve;
mod shared;
mod tool;
mod worker;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::thread;

pub use config::Config;
pub use error::BackupError;
use shared::Shared;

/// Where the service says what happens.
fn say(line: &str) {
    let _unheard = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// The service, until a signal ends it.
pub fn run(path: &Path) -> Result<(), BackupError> {
    let signals = serve::signals()?;
    let config = Config::load(path)?;
    let shared = Arc::new(Shared::new(&config));
    let control = serve::Control::open(&config)?;
    let (working, told) = (shared.clone(), config.clone());
    let notifier = sys::notify::Notifier::from_environment();
    notifier.ready();
    let worker = thread::Builder::new()
        .name("worker".to_owned())
        .spawn(move || worker::run(&told, &working, &notifier))
        .map_err(BackupError::Thread)?;
    control.run(&signals, &shared)?;
    shared.stop();
    let _ended = worker.join();
    Ok(())
}
