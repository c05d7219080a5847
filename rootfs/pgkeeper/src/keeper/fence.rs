//! The fence: a command of the site's that cuts the peer's power and confirms it.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use failover::Ticket;
use rustix::process::{Pid, Signal, kill_process_group};

use super::inbox::Outlet;
use super::news::{News, start};

/// A power controller that hasn't answered by then won't.
const LIMIT: Duration = Duration::from_secs(20);
/// Between two looks whether the command has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Runs the command in a thread of its own; the news are whether the peer is off.
pub(crate) fn fence(command: &[String], ticket: Ticket, news: Outlet<News>) -> io::Result<()> {
    let command = command.to_vec();
    start("fence", move || {
        let _told = news.put(News::Fenced(ticket, run(&command, LIMIT)));
    })
}

/// Only an end with exit code 0 confirms.
fn run(command: &[String], limit: Duration) -> Result<(), String> {
    let [program, arguments @ ..] = command else {
        return Err("there is no fence command".to_owned());
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{program}: {error}; correct failover.fence"))?;
    match wait(&mut child, limit) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(format!("{program}: {status}")),
        Ok(None) => Err(format!("{program}: no answer in {} s", limit.as_secs())),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// Waits; after the limit whatever the command started is killed with it.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(LOOK);
    }
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        kill_process_group(group, Signal::KILL)?;
    }
    child.wait()?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(script: &str, limit: Duration) -> Result<(), String> {
        run(&["/bin/sh", "-c", script].map(str::to_owned), limit)
    }

    #[test]
    fn only_exit_code_zero_confirms() {
        assert_eq!(outcome("true", LIMIT), Ok(()));
        assert!(outcome("exit 3", LIMIT).is_err_and(|why| why.contains("exit status: 3")));
        assert!(outcome("kill -9 $$", LIMIT).is_err_and(|why| why.contains("signal: 9")));
        let absent = run(&["/nonexistent/fence".to_owned()], LIMIT);
        assert!(absent.is_err_and(|why| why.contains("/nonexistent/fence")));
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_its_children() {
        let begin = Instant::now();
        let hangs = outcome("sleep 600 & sleep 600", Duration::from_millis(100));
        assert!(hangs.is_err_and(|why| why.contains("no answer")));
        assert!(begin.elapsed() < Duration::from_mins(1));
    }
}
