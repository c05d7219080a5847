//! Running a program of the root to its end, for at most so long, and keeping its last words.
//!
//! The agent waits for nothing else meanwhile: what runs here must be done before anything else can
//! be. A button pressed during it is obeyed after it, which is better than a repair cut in two.

use std::collections::VecDeque;
use std::io::{self, PipeReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use thiserror::Error;

/// The end of what a program says is where the reason stands.
const KEPT_LINES: usize = 20;
const KEPT_LINE_BYTES: usize = 200;
/// e2fsck brings the disk to a consistent point when it is asked to end.
const END_LIMIT: Duration = Duration::from_secs(10);
/// A program that closed its output ends within a moment.
const END_POLL: Duration = Duration::from_millis(5);

#[derive(Debug, Error)]
pub(crate) enum ProgramError {
    #[error("{program} can't be started: {source}")]
    Start { program: String, source: io::Error },
    #[error("{program} was not done after {} minutes", limit.as_secs() / 60)]
    TooLong { program: String, limit: Duration },
    #[error("{program} was ended by a signal")]
    Killed { program: String },
}

/// How a program ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) code: i32,
    /// The last lines of what it said, on either output.
    pub(super) said: Vec<String>,
}

pub(super) fn run(command: &mut Command, limit: Duration) -> Result<Ended, ProgramError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source| ProgramError::Start { program: program.clone(), source };
    let (reader, writer) = io::pipe().map_err(failed)?;
    let also = writer.try_clone().map_err(failed)?;
    command.stdin(Stdio::null()).stdout(writer).stderr(also);
    let deadline = Instant::now() + limit;
    let mut child = sys::process::hears_signals(command).spawn().map_err(failed)?;
    // The command keeps its ends of the pipe open; without them the output ends with the program.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let said = listen(reader, deadline);
    let Some(status) = wait(&mut child, deadline).map_err(failed)? else {
        end(&mut child).map_err(failed)?;
        return Err(ProgramError::TooLong { program, limit });
    };
    let code = status.code().ok_or(ProgramError::Killed { program })?;
    Ok(Ended { code, said })
}

/// Reads until the output ends or the time is over, and keeps the last lines.
fn listen(mut reader: PipeReader, deadline: Instant) -> Vec<String> {
    let mut lines = VecDeque::new();
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(left) = Timespec::try_from(left) else { break };
        match poll(&mut [PollFd::new(&reader, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => continue,
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let Ok(count @ 1..) = reader.read(&mut buffer) else { break };
        // Progress is drawn with backspaces and carriage returns.
        for byte in buffer.iter().take(count) {
            match byte {
                b'\n' | b'\r' => keep(&mut lines, &mut line),
                byte if line.len() < KEPT_LINE_BYTES => line.push(*byte),
                _ => {}
            }
        }
    }
    keep(&mut lines, &mut line);
    lines.into()
}

fn keep(lines: &mut VecDeque<String>, line: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(line);
    let text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    line.clear();
    if text.is_empty() {
        return;
    }
    if lines.len() == KEPT_LINES {
        lines.pop_front();
    }
    lines.push_back(text);
}

fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<std::process::ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            return Ok(None);
        }
        sleep(END_POLL);
    }
}

/// Asks it to end, then makes it.
fn end(child: &mut Child) -> io::Result<()> {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        kill_process(pid, Signal::TERM)?;
        if wait(child, Instant::now() + END_LIMIT)?.is_some() {
            return Ok(());
        }
    }
    child.kill()?;
    child.wait().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_code_and_the_last_words_are_kept() {
        let ended = run(&mut shell("seq 100; echo bad >&2; exit 3"), LONG).unwrap();
        assert_eq!(ended.code, 3);
        assert_eq!(ended.said.len(), KEPT_LINES);
        assert!(ended.said.iter().any(|line| line == "100"));
        assert_eq!(ended.said.last().unwrap(), "bad");
        let long = run(&mut shell("head -c 100000 /dev/zero | tr '\\0' x"), LONG).unwrap();
        assert_eq!(long.said[0].len(), KEPT_LINE_BYTES);
    }

    #[test]
    fn one_that_takes_too_long_is_ended() {
        let short = Duration::from_millis(50);
        let error = run(&mut shell("exec sleep 1000"), short).unwrap_err();
        assert!(matches!(error, ProgramError::TooLong { .. }), "{error}");
        let error = run(&mut Command::new("/absent"), short).unwrap_err();
        assert!(matches!(error, ProgramError::Start { .. }), "{error}");
        let error = run(&mut shell("kill -9 $$"), LONG).unwrap_err();
        assert!(matches!(error, ProgramError::Killed { .. }), "{error}");
    }
}
