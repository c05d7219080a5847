//! The small programs that are the agent's binary in another role.
//!
//! PID 1 never blocks on hardware or on a program. What must block is started as one of these:
//! they share the agent's code and, since it is the same file, its pages in memory.

use std::path::Path;
use std::process::ExitCode;

use crate::devices;
use crate::modules::modprobe;
use crate::slot;

/// Takes the role that the arguments name, the program's own name among them.
pub fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let mut arguments = arguments;
    let program = arguments.next().unwrap_or_default();
    if Path::new(&program).file_name().is_some_and(|name| name == "modprobe") {
        return modprobe::run(arguments);
    }
    match arguments.next().as_deref() {
        Some("modprobe") => modprobe::run(arguments),
        Some(devices::ROLE) => devices::run_program(arguments),
        Some(slot::LOOK_ROLE) => slot::run_look(),
        Some(slot::MARK_GOOD_ROLE) => slot::run_mark_good(),
        Some(slot::LEAVE_DAMAGED_ROLE) => slot::run_leave_damaged(),
        _ => {
            eprintln!("init is PID 1 of a node; started by hand it has nothing to do");
            ExitCode::from(2)
        }
    }
}
