//! All processes of a database, also those whose postmaster is gone: each of them works in the
//! data folder, which the kernel knows.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Between two looks at who is left.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The processes that work in this folder.
pub(crate) fn working_in(folder: &Path) -> Vec<Pid> {
    let Ok(folder) = fs::metadata(folder) else { return Vec::new() };
    let here = |pid: &Pid| {
        let works_in = fs::metadata(format!("/proc/{}/cwd", pid.as_raw_nonzero()));
        works_in.is_ok_and(|cwd| (cwd.dev(), cwd.ino()) == (folder.dev(), folder.ino()))
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(Pid::from_raw).filter(here).collect()
}

/// Kills them until there are none; whether that was so in time. A process that waits for a broken
/// disk can't be killed, and whoever asks must know that it may still be there.
pub(super) fn kill_all_in(folder: &Path, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        let left = working_in(folder);
        if left.is_empty() {
            return true;
        }
        for process in left {
            let _gone = kill_process(process, Signal::KILL);
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(LOOK_EVERY);
    }
}
