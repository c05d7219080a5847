//! The keeper: the loop that drives `failover`, and everything that it reaches the world by.
//!
//! ```text
//!    UDP channels ─┐                                  ┌─> gate, permit for vipd
//!    cables        ├─> role loop ──step──> failover ──┼─> PostgreSQL's driver
//!    gateways      │      ^                           ├─> heartbeats
//!    orders       ─┘      │ inbox                     └─> threads: record, witness, fence, disk
//!                         └──────────── their answers, PostgreSQL's reports ───┘
//! ```
//!
//! The loop owns the role: it alone steps the protocol, opens and closes the gate, and gives signs of
//! life. It never waits for a disk, a name, a program or a peer; what may take time is a thread's,
//! and a thread that hangs leaves the loop able to hear, to close and to withdraw.

mod asked;
mod asker;
mod carrier;
mod channels;
pub mod config;
mod disk;
mod error;
mod fence;
pub mod gateways;
mod inbox;
mod isolation;
mod log;
mod memory;
mod news;
mod open;
pub mod packet;
mod permit;
mod role;
mod stop;
mod words;

use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

pub use config::Config;
pub use error::KeeperError;

/// Where threads beside the loop say things. Like the loop, they never wait for whoever reads it.
fn say(line: &str) {
    static LOG: OnceLock<Mutex<log::Log>> = OnceLock::new();
    let log = LOG.get_or_init(|| Mutex::new(log::Log::new()));
    log.lock().unwrap_or_else(PoisonError::into_inner).line(line);
}

/// Keeps this node's half of the pair until a signal says to stop.
pub fn run(path: &Path) -> Result<(), KeeperError> {
    let config = Config::load(path)?;
    role::Keeper::open(config)?.run();
    Ok(())
}
