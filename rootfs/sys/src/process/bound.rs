//! Children that hear signals, and that end with the thread that started them, started by
//! `std::process`.
//!
//! A daemon that reads its signals from a descriptor blocks them, and `std::process` hands the mask
//! on: a child with it never hears that it shall end.
//!
//! A daemon that is killed can't stop what it started. The kernel can: it sends a signal to a child
//! when the thread that made it ends. So whoever uses this starts children from a thread that lives
//! as long as the daemon.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::Signal;

/// The command's process begins with no signal blocked, whatever this one blocks.
pub fn hears_signals(command: &mut Command) -> &mut Command {
    let unblock = || super::child::unblock_signals().map_err(|_| io::Error::last_os_error());
    // SAFETY: between fork and exec the closure makes one system call, on a set of its own; it
    // neither allocates nor locks, and an error without a message has no memory of its own.
    unsafe { command.pre_exec(unblock) }
}

/// The command's process hears signals, and gets this one when the thread that starts it ends. A
/// program that changes its user on the way loses the arrangement.
pub fn ends_with_us(command: &mut Command, signal: Signal) -> &mut Command {
    let parent = rustix::process::getpid();
    let arrange = move || {
        rustix::process::set_parent_process_death_signal(Some(signal))?;
        // Whoever died before the call above sends nothing.
        if rustix::process::getppid() == Some(parent) {
            Ok(())
        } else {
            Err(io::Error::from(io::ErrorKind::BrokenPipe))
        }
    };
    // SAFETY: between fork and exec the closure makes two system calls, on numbers that it owns; it
    // neither allocates nor locks, and an error without a message has no memory of its own.
    unsafe { hears_signals(command).pre_exec(arrange) }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;
    use std::thread;

    use super::*;

    /// On a thread of its own: a mask is a thread's.
    #[test]
    fn a_child_hears_what_we_block() {
        let blocked = thread::spawn(|| {
            let _reads_them = crate::signals::SignalFd::new(&[Signal::TERM]).expect("blocked");
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "kill -TERM $$; sleep 600"]);
            hears_signals(&mut command).status().expect("a child")
        });
        let status = blocked.join().expect("the thread");
        assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
    }

    #[test]
    fn a_child_ends_with_its_thread() {
        let child = thread::spawn(|| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "echo up; exec sleep 600"]).stdout(Stdio::piped());
            let mut child = ends_with_us(&mut command, Signal::KILL).spawn().expect("started");
            let mut line = String::new();
            let output = child.stdout.take().expect("piped");
            BufReader::new(output).read_line(&mut line).expect("a line");
            assert_eq!(line, "up\n");
            child
        });
        let mut child = child.join().expect("the thread");
        assert!(!child.wait().expect("a child").success());
    }
}
