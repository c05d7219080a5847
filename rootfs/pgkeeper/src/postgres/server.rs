//! The running PostgreSQL: a child that ends when the daemon ends.

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::error::DriverError;
use super::log::{Repeats, says_parted};
use super::processes;
use super::settings::Settings;
use super::{Say, program};

/// A line is cut here: a client's query may be quoted in it.
const MAX_LINE_BYTES: u64 = 4096;
/// A reader of lines needs little.
const STACK_BYTES: usize = 128 * 1024;

/// A postmaster and, behind it, its processes.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    pid: Pid,
    pidfd: OwnedFd,
    data: PathBuf,
    /// Its log says that it can't follow the peer.
    parted: Arc<AtomicBool>,
    /// Reads the log until the last process has ended.
    log: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts it; whether it can work, its log and its socket will tell.
    pub(super) fn start(settings: &Settings, say: &Say) -> Result<Self, DriverError> {
        let data = settings.data();
        let path = settings.program("postgres");
        let fail = |source| DriverError::Start { path: path.clone(), source };
        let mut command = program::command(&path);
        command.arg("-D").arg(&data);
        command.arg("-c").arg(format!("config_file={}", settings.configuration().display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // An immediate shutdown: it takes its own children with it.
        let mut child =
            sys::process::ends_with_us(&mut command, Signal::QUIT).spawn().map_err(fail)?;
        let parted = Arc::new(AtomicBool::new(false));
        match accompany(&mut child, say, &parted) {
            Ok((pid, pidfd, log)) => Ok(Self { child, pid, pidfd, data, parted, log }),
            Err(source) => {
                // A server that nobody can watch must not run.
                let _gone = child.kill();
                let _ended = child.wait();
                Err(fail(source))
            }
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Readable once it has ended.
    pub(super) fn end(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(super) fn signal(&self, signal: Signal) {
        // The child isn't reaped while we hold it, so its number is its own.
        let _ended = kill_process(self.pid, signal);
    }

    /// How it ended, if it did.
    pub(super) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Whether its log said, since the last question, that it can't follow the peer.
    pub(super) fn says_parted(&self) -> bool {
        self.parted.swap(false, Ordering::Relaxed)
    }

    /// Whether all that it said has been read; so only after its end.
    pub(super) fn log_is_read(&self) -> bool {
        self.log.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends it at once, the polite way for a moment, then by force. Returns when it is certain that
    /// no process of it is left, or after the limit with `false`.
    pub(super) fn end_now(mut self, polite: Duration, limit: Duration) -> bool {
        self.signal(Signal::QUIT);
        let end = Instant::now() + polite;
        while self.has_ended().is_none() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let _looked = super::flag::wait([self.pidfd.as_fd()], left);
        }
        self.sweep(limit)
    }

    /// Kills what is left of it.
    pub(super) fn sweep(mut self, limit: Duration) -> bool {
        let swept = processes::kill_all_in(&self.data, limit);
        let end = Instant::now() + limit;
        while self.has_ended().is_none() && Instant::now() < end {
            // Started, but not in its folder yet.
            self.signal(Signal::KILL);
            let _looked = super::flag::wait([self.pidfd.as_fd()], Duration::from_millis(10));
        }
        swept && self.has_ended().is_some()
    }
}

/// What it takes to watch a server that was started.
fn accompany(
    child: &mut Child,
    say: &Say,
    parted: &Arc<AtomicBool>,
) -> io::Result<(Pid, OwnedFd, Option<JoinHandle<()>>)> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let read = |log: ChildStderr| {
        let (say, parted) = (say.clone(), parted.clone());
        let reader = thread::Builder::new().name("postgres-log".to_owned());
        reader.stack_size(STACK_BYTES).spawn(move || hand_on(log, &say, &parted))
    };
    let log = child.stderr.take().map(read).transpose()?;
    Ok((pid, pidfd, log))
}

/// Reads until the last process of it has ended.
fn hand_on(log: ChildStderr, say: &Say, parted: &AtomicBool) {
    let started = Instant::now();
    let (mut log, mut repeats) = (BufReader::new(log), Repeats::default());
    let mut line = Vec::new();
    loop {
        line.clear();
        match log.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if says_parted(text) {
            parted.store(true, Ordering::Relaxed);
        }
        if !text.is_empty() && repeats.is_news(text, started.elapsed()) {
            say(&format!("postgres: {text}"));
        }
    }
}
