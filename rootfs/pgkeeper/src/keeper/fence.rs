//! The fence: a command of the site's that cuts the peer's power and confirms it.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use failover::Ticket;
use rustix::process::{Pid, Signal, kill_process_group};

use super::inbox::Outlet;
use super::news::{News, start};

/// A power controller that hasn't answered by then won't.
const LIMIT: Duration = Duration::from_secs(20);
/// Between two looks whether the command has ended.
const LOOK: Duration = Duration::from_millis(20);

/// A fence command that was begun.
#[derive(Debug)]
pub(crate) struct Fence {
    ticket: Ticket,
    called_off: Arc<AtomicBool>,
}

impl Fence {
    /// Runs the command in a thread of its own; the news are whether the peer is off.
    pub(crate) fn begin(
        command: &[String],
        ticket: Ticket,
        news: Outlet<News>,
    ) -> io::Result<Self> {
        let command = command.to_vec();
        let called_off = Arc::new(AtomicBool::new(false));
        let fence = Self { ticket, called_off: called_off.clone() };
        start("fence", move || {
            let _told = news.put(News::Fenced(ticket, run(&command, LIMIT, &called_off)));
        })?;
        Ok(fence)
    }

    /// Ends the command of this ticket if it still runs. What it has done already stays done.
    pub(crate) fn call_off(&self, ticket: Ticket) {
        if self.ticket == ticket {
            self.called_off.store(true, Ordering::Relaxed);
        }
    }
}

/// Only an end with exit code 0 confirms.
fn run(command: &[String], limit: Duration, called_off: &AtomicBool) -> Result<(), String> {
    let [program, arguments @ ..] = command else {
        return Err("there is no fence command".to_owned());
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).process_group(0);
    let mut child = sys::process::hears_signals(&mut command)
        .spawn()
        .map_err(|error| format!("{program}: {error}; correct failover.fence"))?;
    match wait(&mut child, limit, called_off) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(format!("{program}: {status}")),
        Ok(None) if called_off.load(Ordering::Relaxed) => Err(format!("{program}: called off")),
        Ok(None) => Err(format!("{program}: no answer in {} s", limit.as_secs())),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// Waits; after the limit, or when it isn't wanted any more, whatever the command started is killed
/// with it.
fn wait(
    child: &mut Child,
    limit: Duration,
    called_off: &AtomicBool,
) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    while Instant::now() < end && !called_off.load(Ordering::Relaxed) {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(LOOK);
    }
    // It may have ended between the last look and the decision.
    if let Some(status) = child.try_wait()? {
        return Ok(Some(status));
    }
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        kill_process_group(group, Signal::KILL)?;
    }
    child.wait()?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn outcome(script: &str, limit: Duration) -> Result<(), String> {
        run(&["/bin/sh", "-c", script].map(str::to_owned), limit, &AtomicBool::new(false))
    }

    #[test]
    fn only_exit_code_zero_confirms() {
        assert_eq!(outcome("true", LIMIT), Ok(()));
        assert!(outcome("exit 3", LIMIT).is_err_and(|why| why.contains("exit status: 3")));
        assert!(outcome("kill -9 $$", LIMIT).is_err_and(|why| why.contains("signal: 9")));
        let absent = run(&["/nonexistent/fence".to_owned()], LIMIT, &AtomicBool::new(false));
        assert!(absent.is_err_and(|why| why.contains("/nonexistent/fence")));
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_its_children() {
        let begin = Instant::now();
        let hangs = outcome("sleep 600 & sleep 600", Duration::from_millis(100));
        assert!(hangs.is_err_and(|why| why.contains("no answer")));
        assert!(begin.elapsed() < Duration::from_mins(1));
    }

    fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            assert!(Instant::now() < end, "{what} within a minute");
            std::thread::sleep(LOOK);
        }
    }

    #[test]
    fn a_command_that_is_called_off_is_killed_with_its_children() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", file.display());
        let command = ["/bin/sh", "-c", &script].map(str::to_owned);
        let called_off = Arc::new(AtomicBool::new(false));
        let fence = Fence { ticket: Ticket(3), called_off: called_off.clone() };
        let ends = std::thread::spawn(move || run(&command, Duration::from_mins(10), &called_off));
        let child = until("the command says who its child is", || {
            let told = fs::read_to_string(&file).ok()?;
            told.strip_suffix('\n')?.parse::<u32>().ok()
        });
        fence.call_off(Ticket(2));
        assert!(!fence.called_off.load(Ordering::Relaxed), "another fence is meant");
        fence.call_off(Ticket(3));
        let ended = ends.join().expect("no panic");
        assert!(ended.is_err_and(|why| why.contains("called off")));
        until("the child is gone", || {
            // Its new parent may take a moment to collect it.
            let status = fs::read_to_string(format!("/proc/{child}/stat"));
            status.map_or(true, |status| status.contains(") Z ")).then_some(())
        });
    }
}
