//! Processes of the guest: found by name, signalled, made.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use thiserror::Error;

use crate::place;

/// The kernel keeps so much of a process's name.
const NAME_BYTES: usize = 15;

#[derive(Debug, Error)]
pub enum ProcessError {
    #[error("no process is called {name:?}; there are {known}")]
    None { name: String, known: String },
    #[error("can't signal {name} ({pid}): {source}")]
    Signal { name: String, pid: i32, source: io::Error },
    #[error("can't start a process: {0}")]
    Start(io::Error),
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub name: String,
    pub zombie: bool,
}

/// All processes but kernel threads.
pub fn all() -> Vec<Process> {
    let entries = fs::read_dir(place::path("proc")).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| stat(pid, &place::read(&format!("proc/{pid}/stat")).ok()?)).collect()
}

/// Reads `/proc/PID/stat`; none for a kernel thread, whose parent is `kthreadd`.
fn stat(pid: i32, text: &str) -> Option<Process> {
    // A name may hold blanks and parentheses, so the last one ends it.
    let (_, rest) = text.split_once('(')?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    let parent: i32 = fields.next()?.parse().ok()?;
    let kernel = pid == 2 || parent == 2;
    (!kernel).then(|| Process { pid, name: name.to_owned(), zombie: state == "Z" })
}

/// How many processes have each name.
pub fn names(processes: &[Process]) -> BTreeMap<String, u32> {
    let mut names = BTreeMap::new();
    for process in processes.iter().filter(|process| !process.zombie) {
        *names.entry(process.name.clone()).or_insert(0) += 1;
    }
    names
}

/// Sends a signal to every process of a name; says to how many.
pub fn signal(name: &str, signal: Signal) -> Result<u32, ProcessError> {
    let wanted: String = name.chars().take(NAME_BYTES).collect();
    let processes = all();
    let mut count = 0;
    for process in processes.iter().filter(|process| !process.zombie && process.name == wanted) {
        let Some(pid) = Pid::from_raw(process.pid) else { continue };
        kill_process(pid, signal).map_err(|errno| ProcessError::Signal {
            name: name.to_owned(),
            pid: process.pid,
            source: errno.into(),
        })?;
        count += 1;
    }
    if count == 0 {
        let known: Vec<String> = names(&processes).into_keys().collect();
        return Err(ProcessError::None { name: name.to_owned(), known: known.join(", ") });
    }
    Ok(count)
}

/// This program in another role.
pub fn role(arguments: &[&str]) -> Result<Command, ProcessError> {
    let mut command = Command::new("/probe");
    let input = place::no_input().map_err(ProcessError::Start)?;
    command.args(arguments).stdin(input);
    Ok(command)
}

/// Starts it, on its own.
pub fn start_role(arguments: &[&str]) -> Result<std::process::Child, ProcessError> {
    role(arguments)?.spawn().map_err(ProcessError::Start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything_and_kernel_threads_are_left_out() {
        let odd = stat(9, "9 (a) (b) Z 1 9 9").expect("a process");
        assert_eq!((odd.name.as_str(), odd.zombie), ("a) (b", true));
        assert_eq!(stat(12, "12 (kworker/0:1) I 2 0 0"), None);
        assert_eq!(stat(2, "2 (kthreadd) S 0 0 0"), None);
        assert!(stat(1, "1 (init) S 0 1 1").is_some());
    }
}
