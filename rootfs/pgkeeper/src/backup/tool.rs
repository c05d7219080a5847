//! Runs pgBackRest and PostgreSQL's programs to their end, in a way that the service can end.

use std::io::Read;
use std::process::{Command, Stdio};

use rustix::process::Pid;

use super::config::Config;
use super::error::BackupError;
use super::say;
use super::shared::Shared;

/// What is kept of a program's words: the end of it says why it failed.
const KEPT_BYTES: usize = 4096;
/// The longest list of backups that is read; a hundred have some 100 KiB.
const OUTPUT_MAX: u64 = 8 * 1024 * 1024;

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
    mut command: Command,
    what: &'static str,
    shared: &Shared,
) -> Result<String, BackupError> {
    let program = command.get_program().to_owned();
    let failed = |why: String| BackupError::Failed { what, why };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().map_err(|source| BackupError::Start { program: program.into(), source })?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if !shared.set_child(pid) {
        let _gone = child.kill();
    }
    let errors = child.stderr.take();
    // Both pipes are read at once: a program that fills the other one would wait for ever.
    let reader = std::thread::spawn(move || last_words(errors));
    let mut output = String::new();
    if let Some(out) = child.stdout.take() {
        let read = out.take(OUTPUT_MAX).read_to_string(&mut output);
        read.map_err(|error| failed(error.to_string()))?;
    }
    let words = reader.join().unwrap_or_default();
    let status = child.wait();
    // Only once it is reaped is its number somebody else's; before that a signal harms nobody.
    let go_on = shared.set_child(None);
    match status {
        Ok(status) if status.success() => Ok(output),
        _ if !go_on => Err(BackupError::Ending(what)),
        Ok(status) => {
            let words = if words.trim().is_empty() { last_lines(&output) } else { words };
            let words = words.trim();
            Err(failed(if words.is_empty() { status.to_string() } else { words.to_owned() }))
        }
        Err(error) => Err(failed(error.to_string())),
    }
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
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

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
}
