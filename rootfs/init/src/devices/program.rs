//! The program that loads drivers: the agent's own binary in another role.
//!
//! PID 1 starts it with the devices that wait, or with none to have it walk over all. It says on the
//! console what it loaded. PID 1 knows of its end by a process descriptor and leaves its status to
//! whoever reaps, so that no number of a process is ever waited for twice.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::devices::cold::{self, Walked};
use crate::devices::queue::Batch;
use crate::modules::{Loader, Modules};
use crate::say;

/// The agent's binary, and the name that makes it this program.
const BINARY: &str = "/usr/lib/edgepair/init";
pub(crate) const ROLE: &str = "load-drivers";
/// How long a boot waits for drivers. Slow hardware is done in ten seconds, and a node that lacks
/// one driver is worth more than one that waits for it.
const COLD_LIMIT: Duration = Duration::from_secs(20);
/// A program that takes longer hangs in a driver; the next batch doesn't wait for it.
const HANGS_AFTER: Duration = Duration::from_secs(30);
/// So many hanging ones, and the machine gets no more drivers until it restarts.
const RUNNING_MAX: usize = 4;
/// Watchdogs that no device asks for, in the order of preference: the board's own controller, and
/// the kernel's timer. The latter catches an agent that hangs but no kernel that does; it stands
/// in where hardware has nothing better.
const WATCHDOGS: [&str; 2] = ["ipmi_watchdog", "softdog"];
const WATCHDOG: &str = "/dev/watchdog0";
const IPMI: &str = "/sys/class/ipmi";

/// The programs that are running.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    running: Vec<(OwnedFd, Instant)>,
}

impl Programs {
    /// Whether another one may start.
    pub(crate) fn has_room(&mut self, now: Instant) -> bool {
        self.running.retain(|(process, _)| !has_ended(process, Duration::ZERO));
        self.running.len() < RUNNING_MAX
            && self
                .running
                .iter()
                .all(|(_, since)| now.saturating_duration_since(*since) >= HANGS_AFTER)
    }

    pub(crate) fn start(&mut self, batch: &Batch, now: Instant) {
        let mut command = Command::new(BINARY);
        command.env_clear().arg(ROLE).stdin(Stdio::null());
        if let Batch::These(aliases) = batch {
            command.args(aliases);
        }
        let child = match sys::process::hears_signals(&mut command).spawn() {
            Ok(child) => child,
            Err(error) => {
                say!("drivers can't be loaded: {BINARY}: {error}");
                return;
            }
        };
        // A process that has ended and was reaped meanwhile is nothing to wait for.
        let number = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let process = number.and_then(|number| pidfd_open(number, PidfdFlags::empty()).ok());
        self.running.extend(process.map(|process| (process, now)));
    }

    /// For the boot, which goes on when the drivers are there or the time is over.
    pub(crate) fn start_and_wait(&mut self, batch: &Batch) {
        self.start(batch, Instant::now());
        if let Some((process, _)) = self.running.last()
            && !has_ended(process, COLD_LIMIT)
        {
            say!("drivers take longer than {} s: going on without", COLD_LIMIT.as_secs());
        }
    }
}

/// Whether a process has ended, or does within the limit.
fn has_ended(process: &OwnedFd, limit: Duration) -> bool {
    let mut inputs = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
    let limit = Timespec::try_from(limit).ok();
    // A wait that is cut short by a signal counts as over: the boot goes on a little early.
    poll(&mut inputs, limit.as_ref()).is_ok_and(|ready| ready > 0)
}

/// The program itself: drivers for the devices that are named, or for all.
pub(crate) fn run(aliases: impl Iterator<Item = String>) -> ExitCode {
    let started = Instant::now();
    let modules = match Modules::of_running_kernel() {
        Ok(modules) => modules,
        Err(error) => {
            say!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let loader = modules.loader();
    let mut walked = Walked::default();
    let aliases: Vec<String> = aliases.collect();
    if aliases.is_empty() {
        walked = cold::plug(&loader, &mut || false);
        load_watchdog(&loader, &mut walked);
        say!(
            "drivers: {} modules for {} devices in {} ms",
            walked.loaded.len(),
            walked.devices,
            started.elapsed().as_millis()
        );
    } else {
        for alias in &aliases {
            cold::load_for(&loader, alias, &mut walked);
        }
        if !walked.loaded.is_empty() {
            say!("new devices: loaded {}", walked.loaded.join(", "));
        }
    }
    walked.troubles.iter().for_each(|trouble| say!("{trouble}"));
    if walked.troubles.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A machine whose hardware has no watchdog that its devices name gets one of these.
fn load_watchdog(loader: &Loader<'_>, walked: &mut Walked) {
    let there = |path: &str| std::fs::exists(path).unwrap_or(false);
    for name in WATCHDOGS {
        if there(WATCHDOG) {
            return;
        }
        if loader.has(name) && (name != "ipmi_watchdog" || there(IPMI)) {
            cold::load_for(loader, name, walked);
        }
    }
}
