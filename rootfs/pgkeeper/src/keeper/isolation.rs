//! The loop's place on the machine: memory locked, before all normal programs.

use std::io;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::thread::{CapabilitySet, clear_ambient_capability_set};
use sys::scheduler;

/// Does what it may, and says what it could not: a keeper without priority is worth more than none.
/// To be called before there are threads, which then have their stacks only as far as they use them.
pub(crate) fn isolate(priority: u8) -> Vec<String> {
    let mut failed = Vec::new();
    let mut note = |what: &str, done: io::Result<()>| {
        if let Err(error) = done {
            failed.push(format!("{what}: {error}"));
        }
    };
    note("memory is not locked, a heartbeat may wait for the disk", lock_memory());
    if priority > 0 && !scheduler::runs_in_real_time() {
        let raised = scheduler::run_in_real_time(priority);
        note("no real-time priority, heartbeats may be late", raised);
    }
    // PostgreSQL inherits nothing of what the keeper may.
    note("capabilities are inherited", clear_ambient_capability_set().map_err(Into::into));
    failed
}

/// What is there is locked whole; what comes later, such as the stacks of sessions, page by page as
/// it is used. Without the right to lock without limit only what is there is locked: under a limit
/// an allocation could fail.
fn lock_memory() -> io::Result<()> {
    mlockall(MlockAllFlags::CURRENT)?;
    let rights = rustix::thread::capabilities(None)?;
    if rights.effective.contains(CapabilitySet::IPC_LOCK) {
        mlockall(MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)?;
    }
    Ok(())
}
