//! Taking note of the deaths of children: those that we started, and every orphan of the node,
//! since orphans become children of PID 1.
//!
//! Nothing here allocates: when memory is short, processes die, and just then they must be reaped.

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, wait};
use supervise::Exit;

/// Deaths that are noted in one turn. A storm of orphans is worked off in pieces, between which the
/// watchdog is fed and services are heard.
pub const REAPED_PER_TURN: usize = 512;

/// Notes the deaths that there are; whether there may be more.
pub fn reap(mut died: impl FnMut(Pid, Exit)) -> bool {
    for _ in 0..REAPED_PER_TURN {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                if let Some(code) = status.exit_status() {
                    died(pid, Exit::Code(code));
                } else if let Some(signal) = status.terminating_signal() {
                    died(pid, Exit::Signal(signal));
                }
            }
            Err(Errno::INTR) => {}
            // No child has died, or there is no child at all.
            Ok(None) | Err(_) => return false,
        }
    }
    true
}
