//! Runs pgBackRest and PostgreSQL's programs to their end, in a way that the service can end.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use sys::process::hears_signals;

use super::config::Config;
use super::error::BackupError;
use super::say;
use super::shared::Shared;

/// What is kept of a program's words: the end of it says why it failed.
const KEPT_BYTES: usize = 4096;
/// The longest list of backups that is read; a hundred have some 100 KiB.
const OUTPUT_MAX: u64 = 8 * 1024 * 1024;
/// Between two looks whether a program may go on. A fast disk takes some 100 MiB in it.
const LOOK: Duration = Duration::from_millis(250);
/// How long a program that was told to end may take. It writes meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// A run of pgBackRest with the node's settings. Times are in UTC wherever it shows them.
pub(super) fn pgbackrest(config: &Config) -> Command {
    let mut command = Command::new(&config.pgbackrest);
    command.env_clear().env("TZ", "UTC").env("PATH", "/usr/bin:/bin");
    command.arg(format!("--config={}", config.settings.display()));
    command.arg(format!("--stanza={}", config.stanza));
    command
}

/// Runs it to its end; gives what it wrote to standard output.
pub(super) fn run(
    command: Command,
    what: &'static str,
    shared: &Shared,
) -> Result<String, BackupError> {
    run_unless(command, what, shared, || None)
}

/// The same, but breaks it off as soon as there is a reason, which is the error then.
pub(super) fn run_unless(
    mut command: Command,
    what: &'static str,
    shared: &Shared,
    reason: impl Fn() -> Option<BackupError> + Send,
) -> Result<String, BackupError> {
    let program = command.get_program().to_owned();
    let failed = |why: String| BackupError::Failed { what, why };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // pgBackRest copies by processes of its own, which would finish their file without it.
    command.process_group(0);
    let mut child = hears_signals(&mut command)
        .spawn()
        .map_err(|source| BackupError::Start { program: program.into(), source })?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if !shared.set_child(group) {
        shared.signal(Signal::KILL);
    }
    let (errors, out) = (child.stderr.take(), child.stdout.take());
    let (over, is_over) = mpsc::channel();
    let (output, words, broken_off) = thread::scope(|scope| {
        // Both pipes are read at once: a program that fills the other one would wait for ever.
        let reader = scope.spawn(move || last_words(errors));
        let watcher = scope.spawn(move || watch(&is_over, shared, reason));
        let output = all_words(out);
        let words = reader.join().unwrap_or_default();
        await_end(group);
        drop(over);
        (output, words, watcher.join().unwrap_or_default())
    });
    // What it started and left ends as well. It isn't reaped yet, so its number is still its own.
    shared.signal(Signal::KILL);
    let go_on = shared.set_child(None);
    let status = child.wait();
    let output = output.map_err(|error| failed(error.to_string()))?;
    match (status, broken_off) {
        (Ok(status), _) if status.success() => Ok(output),
        (_, Some(reason)) => Err(reason),
        _ if !go_on => Err(BackupError::Ending(what)),
        (Ok(status), None) => {
            let words = if words.trim().is_empty() { last_lines(&output) } else { words };
            let words = words.trim();
            Err(failed(if words.is_empty() { status.to_string() } else { words.to_owned() }))
        }
        (Err(error), None) => Err(failed(error.to_string())),
    }
}

/// Ends the program that runs if there is a reason, which it gives, or if the service ends; by
/// force if it doesn't listen.
fn watch(
    is_over: &Receiver<()>,
    shared: &Shared,
    reason: impl Fn() -> Option<BackupError>,
) -> Option<BackupError> {
    let mut broken_off = None;
    let mut told = None;
    while is_over.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        if told.is_none() {
            broken_off = reason();
            if broken_off.is_some() {
                shared.signal(Signal::TERM);
            }
            if broken_off.is_some() || shared.is_ending() {
                told = Some(Instant::now());
            }
        }
        if told.is_some_and(|at: Instant| at.elapsed() >= PATIENCE) {
            shared.signal(Signal::KILL);
        }
    }
    broken_off
}

/// Waits until a process has ended, and leaves it to be reaped.
fn await_end(process: Option<Pid>) {
    if let Some(process) = process {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let _ended = retry_on_intr(|| waitid(WaitId::Pid(process), options));
    }
}

fn all_words(out: Option<impl Read>) -> io::Result<String> {
    let mut output = String::new();
    if let Some(out) = out {
        out.take(OUTPUT_MAX).read_to_string(&mut output)?;
    }
    Ok(output)
}

/// Hands a program's standard error on, line by line, and keeps the end of it.
fn last_words(errors: Option<impl Read>) -> String {
    let mut kept: Vec<u8> = Vec::new();
    let Some(mut errors) = errors else { return String::new() };
    let mut piece = [0; 1024];
    while let Ok(count @ 1..) = errors.read(&mut piece) {
        kept.extend_from_slice(piece.get(..count).unwrap_or_default());
        let spare = kept.len().saturating_sub(KEPT_BYTES);
        kept.drain(..spare);
    }
    let text = String::from_utf8_lossy(&kept).into_owned();
    text.lines().for_each(say);
    last_lines(&text)
}

/// The last lines, which tell why, in one.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let errors: Vec<&str> = lines.iter().copied().filter(|line| line.contains("ERROR")).collect();
    let chosen = if errors.is_empty() { &lines } else { &errors };
    chosen.get(chosen.len().saturating_sub(2)..).unwrap_or_default().join("; ")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failure_says_why() {
        let shared = Shared::default();
        let run = |script| run(shell(script), "a backup", &shared);
        assert_eq!(run("echo out").unwrap(), "out\n");
        let why = run("echo P00 ERROR: [056]: no primary >&2; exit 56").unwrap_err().to_string();
        assert_eq!(why, "a backup failed: P00 ERROR: [056]: no primary");
        // Programs that complain on standard output.
        let why = run("echo first; echo last; exit 1").unwrap_err().to_string();
        assert!(why.ends_with("first; last"), "{why}");
        assert!(run("yes x | head -c 300000 >&2; yes y | head -c 300000").is_ok());
        let missing = super::run(Command::new("/nonexistent/p"), "x", &shared).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/p"), "{missing}");
    }

    #[test]
    fn an_ending_service_leaves_no_program_behind() {
        let shared = Arc::new(Shared::default());
        let running = shared.clone();
        let worker = thread::spawn(move || run(shell("exec sleep 600"), "a backup", &running));
        while !shared.has_child() {
            thread::sleep(Duration::from_millis(5));
        }
        shared.stop();
        let ended = worker.join().unwrap().unwrap_err();
        assert!(matches!(ended, BackupError::Ending("a backup")), "{ended}");
        // And none is begun later.
        let late = run(shell("exec sleep 600"), "a backup", &shared).unwrap_err();
        assert!(matches!(late, BackupError::Ending(_)), "{late}");
    }

    #[test]
    fn a_program_that_must_not_go_on_ends_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let numbers = folder.path().join("numbers");
        // Like pgBackRest's, what it started has pipes of its own and goes on when it is gone.
        let script = format!(
            "(trap '' TERM; exec sleep 600) >/dev/null 2>&1 & echo $! >{0}.new; mv {0}.new {0}; \
             wait",
            numbers.display()
        );
        let shared = Shared::default();
        let reason = || numbers.exists().then(|| BackupError::Info("a reason".to_owned()));
        let why = run_unless(shell(&script), "a backup", &shared, reason).unwrap_err();
        assert!(matches!(&why, BackupError::Info(reason) if reason == "a reason"), "{why}");
        let number = fs::read_to_string(&numbers).unwrap();
        let process = PathBuf::from("/proc").join(number.trim()).join("cmdline");
        let is_left = || fs::read(&process).is_ok_and(|line| !line.is_empty());
        let end = Instant::now() + Duration::from_secs(10);
        while is_left() && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(!is_left(), "{number}");
        // The reason is gone, and nothing of the last run is left to be ended.
        assert_eq!(run(shell("echo fine"), "a backup", &shared).unwrap(), "fine\n");
    }

    #[test]
    fn an_ending_service_does_not_wait_for_a_program_that_ignores_it() {
        let shared = Arc::new(Shared::default());
        let running = shared.clone();
        let deaf = "trap '' TERM; while :; do sleep 0.05; done";
        let worker = thread::spawn(move || run(shell(deaf), "a backup", &running));
        while !shared.has_child() {
            thread::sleep(Duration::from_millis(5));
        }
        shared.stop();
        let ended = worker.join().unwrap().unwrap_err();
        assert!(matches!(ended, BackupError::Ending("a backup")), "{ended}");
    }
}
