//! Rights given up, memory locked, priority raised: once, after everything was opened.

use std::io;

use rustix::io::Errno;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use sys::{scheduler, seccomp};

/// Raw and packet sockets for interfaces that come back, and addresses on links.
const KEPT: CapabilitySet = CapabilitySet::NET_RAW.union(CapabilitySet::NET_ADMIN);

/// Does what it may, and says what it could not: a daemon without real-time priority is worth more
/// than none. What protects others from us must not fail silently, so each line is logged.
pub(super) fn isolate(realtime_priority: Option<u8>, starts_programs: bool) -> Vec<String> {
    let mut failed = Vec::new();
    let mut note = |what: &str, done: io::Result<()>| {
        if let Err(error) = done {
            failed.push(format!("{what}: {error}"));
        }
    };
    note("memory is not locked, a timer may wait for the disk", lock_memory());
    if let Some(priority) = realtime_priority.filter(|_| !scheduler::runs_in_real_time()) {
        note("no real-time priority, timers may be late", scheduler::run_in_real_time(priority));
    }
    note("some capabilities are kept, for programs of checks too", drop_capabilities());
    note("no new privileges", set_no_new_privs(true).map_err(io::Error::from));
    note("no system calls are denied", seccomp::deny_what_is_never_needed(starts_programs));
    failed
}

/// Locked memory counts against a limit as soon as its capability is gone; so that goes first. Where
/// the limit can't be raised, only what there is now is locked: an allocation must never fail.
fn lock_memory() -> io::Result<()> {
    let unlimited = Rlimit { current: None, maximum: None };
    let flags = match setrlimit(Resource::Memlock, unlimited) {
        Ok(()) => MlockAllFlags::CURRENT | MlockAllFlags::FUTURE,
        Err(_) => MlockAllFlags::CURRENT,
    };
    Ok(mlockall(flags)?)
}

fn drop_capabilities() -> io::Result<()> {
    clear_ambient_capability_set()?;
    // What is not in the bounding set no child gets, not even the two that stay with us.
    let mut refused = None;
    for capability in CapabilitySet::all().iter() {
        match remove_capability_from_bounding_set(capability) {
            // One that this kernel does not know can't be given up.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => refused = Some(error),
        }
    }
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: none };
    set_capabilities(None, sets)?;
    // Without CAP_SETPCAP checks that run as root have what this process has.
    refused.map_or(Ok(()), |error| Err(error.into()))
}
