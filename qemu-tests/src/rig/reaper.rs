//! Nothing is left behind, however a run ends.
//!
//! Guards end guests when the drill program returns or panics, and a handler does on Ctrl-C. Neither
//! runs when the program itself is killed. So a second process waits on a pipe whose other end only
//! the drill program has: when that is gone, it ends every process that was started with a path in
//! the run's private folder, which are QEMUs of this run and nothing else, and removes the folder.

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The argument that makes the drill program the reaper.
pub const ROLE: &str = "reap-after-me";
/// A killed process is gone by the second look.
const LOOKS: u32 = 50;
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The reaper of this process.
#[derive(Debug)]
pub struct Reaper {
    child: Child,
}

impl Reaper {
    /// Starts the reaper of a folder: this program again, in a process group that Ctrl-C passes by.
    pub fn start(folder: &Path) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(ROLE).arg(folder).stdin(Stdio::piped()).process_group(0);
        Ok(Self { child: command.spawn()? })
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        // The pipe's end tells it; it finds nothing to do and ends.
        drop(self.child.stdin.take());
        let _reaped = self.child.wait();
    }
}

/// Waits for the end of whoever started this, and clears up.
pub fn run(folder: &Path) {
    let mut nothing = Vec::new();
    // An error is an end as well.
    let _ended = io::stdin().read_to_end(&mut nothing);
    for _ in 0..LOOKS {
        let left = guests_of(folder);
        if left.is_empty() {
            break;
        }
        for pid in left {
            // It may be gone by now.
            let _gone = kill_process(pid, Signal::KILL);
        }
        thread::sleep(LOOK_AGAIN);
    }
    // Usually its guard has removed it already.
    let _gone = fs::remove_dir_all(folder);
}

/// Processes, other than this one, that have a path in the folder among their arguments.
fn guests_of(folder: &Path) -> Vec<Pid> {
    let mark = format!("{}/", folder.display());
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let marked = pids.filter(|pid| *pid != own).filter(|pid| {
        let path = PathBuf::from(format!("/proc/{pid}/cmdline"));
        let line = fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&mark)
    });
    marked.filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect()
}
