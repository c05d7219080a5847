//! Programs that run to their end: `initdb`, `pg_rewind`, `pg_basebackup` and their kin. They end
//! with the daemon, with a stop, and with their limit.

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal};

use super::error::DriverError;
use super::flag::{Flag, wait};

/// What a failure quotes.
const QUOTED_BYTES: usize = 2000;
/// What is kept of a program's output; more is dropped from its beginning.
const KEPT_BYTES: usize = 256 * 1024;

/// A command with nothing inherited from whoever started the daemon: variables such as
/// `PGSSLMODE` would change what libpq does.
pub(super) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    command.env_clear().env("PATH", path).env("LC_ALL", "C").env("TZ", "UTC");
    command.current_dir("/");
    command
}

/// Runs a program to its end and gives what it printed on both outputs.
pub(super) fn run(
    command: &mut Command,
    input: &str,
    limit: Duration,
    halt: &Flag,
) -> Result<String, DriverError> {
    let mut kept = Vec::new();
    run_with(command, input, limit, halt, |bytes| {
        kept.extend_from_slice(bytes);
        let excess = kept.len().saturating_sub(KEPT_BYTES);
        kept.drain(..excess);
        ControlFlow::Continue(())
    })?;
    Ok(String::from_utf8_lossy(&kept).into_owned())
}

/// Runs a program until it has printed a line with this in it, and ends it then; gives what it printed.
pub(super) fn run_until(
    command: &mut Command,
    mark: &str,
    limit: Duration,
    halt: &Flag,
) -> Result<String, DriverError> {
    let mut said = Vec::new();
    run_with(command, "", limit, halt, |bytes| {
        said.extend_from_slice(bytes);
        let text = String::from_utf8_lossy(&said);
        let whole = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        if whole.contains(mark) || said.len() > KEPT_BYTES {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// Runs a program to its end, and hands on what it prints as it comes; whoever takes it may have it
/// ended before.
pub(super) fn run_with(
    command: &mut Command,
    input: &str,
    limit: Duration,
    halt: &Flag,
    mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(), DriverError> {
    let path = Path::new(command.get_program()).to_owned();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let fail = |source| DriverError::Start { path: path.clone(), source };
    let (output, of_child) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| fail(e.into()))?;
    let stdin = inputs(input).map_err(fail)?;
    let of_child_too = of_child.try_clone().map_err(fail)?;
    command.stdin(stdin).stdout(of_child).stderr(of_child_too);
    // Its own children are ended with it.
    command.process_group(0);
    let child = sys::process::ends_with_us(command, Signal::KILL).spawn().map_err(fail)?;
    // The parent's ends of the pipe, without which the output has no end.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut program = Running { child, over: false };
    let mut tail = Vec::new();
    let end = Instant::now() + limit;
    let mut output = File::from(output);
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(DriverError::Late { what: name, limit });
        }
        match wait([halt.as_fd(), output.as_fd()], left).map_err(fail)? {
            [true, _] => return Err(DriverError::Overtaken),
            [_, false] => continue,
            _ => {}
        }
        let count = output.read(&mut chunk).map_err(fail)?;
        let Some(bytes @ [_, ..]) = chunk.get(..count) else { break };
        if take(bytes).is_break() {
            return Ok(());
        }
        tail.extend_from_slice(bytes);
        let excess = tail.len().saturating_sub(QUOTED_BYTES);
        tail.drain(..excess);
    }
    // It has closed its output, so it is at its end.
    let status = program.child.wait().map_err(fail)?;
    program.over = true;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&tail).trim().to_owned();
    Err(DriverError::Failed { program: name, status: status.to_string(), said })
}

/// A pipe that already holds all of the input, which is far smaller than a pipe.
fn inputs(input: &str) -> io::Result<Stdio> {
    if input.is_empty() {
        return Ok(Stdio::null());
    }
    let (read, write): (OwnedFd, OwnedFd) = pipe_with(PipeFlags::CLOEXEC)?;
    File::from(write).write_all(input.as_bytes())?;
    Ok(read.into())
}

struct Running {
    child: Child,
    over: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _gone = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let _ended = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    fn shell(script: &str) -> Command {
        let mut command = command(Path::new("/bin/sh"));
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_is_ended_when_it_has_said_enough() {
        let halt = Flag::new().expect("a flag");
        let begin = Instant::now();
        let mut talker = shell("echo one; echo two of three; exec sleep 100");
        let said = run_until(&mut talker, "two of", LIMIT, &halt).expect("it is ended");
        assert_eq!(said, "one\ntwo of three\n");
        assert!(begin.elapsed() < LIMIT);
        let said = run_until(&mut shell("echo one"), "two of", LIMIT, &halt).expect("it ends");
        assert_eq!(said, "one\n");
        let failed = run_until(&mut shell("echo why; exit 3"), "two of", LIMIT, &halt);
        let failed = failed.expect_err("it fails").to_string();
        assert!(failed.contains("why") && failed.contains('3'), "{failed}");
    }
}
