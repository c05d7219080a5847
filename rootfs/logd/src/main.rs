//! The service `logd`: waits for lines, for time, and for the signal to end.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use control::{Answer, SOCKET_PATH};
use logd::{BOOT_ID_CHARS, Entry, FOLDER, Feed, FeedError, FolderDisk, LIMITS, NODE_SOURCE};
use logd::{Outcome, Reconnect, SyncPlan, Writer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;
use sys::clock;
use sys::notify::Notifier;
use sys::signals::SignalFd;
use thiserror::Error;

const BOOT_ID_PATH: &str = "/proc/sys/kernel/random/boot_id";

/// How long the last reading may take. The agent answers within milliseconds; without an answer
/// nothing more comes, and what the files have must still be synced within the time to stop.
const LAST_LIMIT: Duration = Duration::from_secs(3);

#[derive(Debug, Error)]
enum LogdError {
    #[error("usage: logd [--socket PATH] [--folder PATH], not {0:?}")]
    Usage(String),
    #[error("signals: {0}")]
    Signals(io::Error),
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

struct Arguments {
    socket: PathBuf,
    folder: PathBuf,
}

fn arguments() -> Result<Arguments, LogdError> {
    let mut found = Arguments { socket: SOCKET_PATH.into(), folder: FOLDER.into() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let place = match word.as_str() {
            "--socket" => &mut found.socket,
            "--folder" => &mut found.folder,
            _ => return Err(LogdError::Usage(word)),
        };
        *place = words.next().map(PathBuf::from).ok_or(LogdError::Usage(word))?;
    }
    Ok(found)
}

/// Everything between the agent and the files.
struct Logd {
    socket: PathBuf,
    writer: Writer<FolderDisk>,
    sync: SyncPlan,
    notifier: Notifier,
    feed: Option<Feed>,
    reconnect: Reconnect,
    reconnect_at: Duration,
    /// The number of the last line that was handled.
    last_seq: u64,
    /// What was said last; it isn't said again.
    said: String,
}

fn run() -> Result<(), LogdError> {
    let Arguments { socket, folder } = arguments()?;
    let signals = SignalFd::new(&[Signal::TERM, Signal::INT]).map_err(LogdError::Signals)?;
    // Without a boot id the numbers of this boot look like none, and lines may be written twice.
    let boot_id = fs::read_to_string(BOOT_ID_PATH).unwrap_or_default();
    let boot_id: String = boot_id.chars().filter(|c| *c != '-').take(BOOT_ID_CHARS).collect();
    let mut writer = Writer::new(FolderDisk::new(folder), LIMITS, boot_id);
    let last_seq = writer.last_seq();
    let mut logd = Logd {
        socket,
        writer,
        sync: SyncPlan::default(),
        notifier: Notifier::from_environment(),
        feed: None,
        reconnect: Reconnect::default(),
        reconnect_at: Duration::ZERO,
        last_seq,
        said: String::new(),
    };
    loop {
        logd.turn();
        wait(&signals, logd.feed.as_ref(), logd.deadline())?;
        if let Ok(Some(_)) = signals.next() {
            logd.end();
            return Ok(());
        }
    }
}

fn wait(
    signals: &SignalFd,
    feed: Option<&Feed>,
    deadline: Option<Duration>,
) -> Result<(), LogdError> {
    let mut inputs = vec![PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
    inputs.extend(feed.map(|feed| PollFd::from_borrowed_fd(feed.as_fd(), PollFlags::IN)));
    let limit = deadline.map(|deadline| deadline.saturating_sub(clock::boot()));
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    match poll(&mut inputs, limit.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(LogdError::Signals(errno.into())),
    }
}

impl Logd {
    fn deadline(&self) -> Option<Duration> {
        let connect = self.feed.is_none().then_some(self.reconnect_at);
        connect.into_iter().chain(self.sync.deadline()).min()
    }

    /// Does what is due, and handles what has come.
    fn turn(&mut self) {
        if self.feed.is_none() && clock::boot() >= self.reconnect_at {
            match Feed::connect(&self.socket, self.last_seq.saturating_add(1)) {
                Ok(feed) => self.feed = Some(feed),
                Err(error) => self.lose_feed(&error),
            }
        }
        self.receive();
        if self.sync.deadline().is_some_and(|when| when <= clock::boot()) {
            self.sync_now();
        }
        if let Some(trouble) = self.writer.take_trouble() {
            self.say(&trouble);
        }
    }

    /// One turn of reading.
    fn receive(&mut self) {
        let Some(mut feed) = self.feed.take() else { return };
        match feed.read(|answer| self.take(answer)) {
            Ok(()) => self.feed = Some(feed),
            Err(error) => self.lose_feed(&error),
        }
    }

    fn take(&mut self, answer: Answer) {
        self.reconnect.worked();
        let now = (clock::wall(), clock::boot());
        match answer {
            // After a reconnection, or an agent that was told another number, lines may repeat.
            Answer::Log(line) if line.seq > self.last_seq => {
                self.last_seq = line.seq;
                self.write(&Entry::from_line(line, now));
            }
            Answer::Missed { lines } => self.remark(&format!("{lines} lines came too fast")),
            _ => {}
        }
    }

    fn write(&mut self, entry: &Entry) {
        let now = clock::boot();
        let outcome = self.writer.write(entry, now);
        if outcome == Outcome::Written {
            self.sync.wrote(now, entry.warns());
        } else if let Outcome::WrittenAfter(lines) = outcome {
            self.sync.wrote(now, true);
            self.remark(&format!("{lines} lines are missing here: the disk was full or broken"));
            self.said.clear();
            self.notifier.status("writing");
        }
    }

    /// Writes a line of our own beside those of the node, under the last line's number.
    fn remark(&mut self, text: &str) {
        let (wall, boot) = (clock::wall(), clock::boot());
        let source = NODE_SOURCE.to_owned();
        let text = format!("logd: {text}");
        let entry = Entry { seq: self.last_seq, source, wall, boot, text };
        if self.writer.write(&entry, boot) != Outcome::Dropped {
            self.sync.wrote(boot, true);
        }
    }

    fn sync_now(&mut self) {
        let now = clock::boot();
        self.writer.sync(now);
        self.sync.synced(now);
    }

    fn lose_feed(&mut self, error: &FeedError) {
        self.reconnect_at = clock::boot().saturating_add(self.reconnect.failed());
        self.say(&error.to_string());
    }

    /// Says something once: it comes back to us as a line, so a repetition would never end.
    fn say(&mut self, text: &str) {
        self.notifier.status(text);
        if self.said != text {
            eprintln!("{text}");
            text.clone_into(&mut self.said);
        }
    }

    /// Writes what was said until now. `logd` is stopped after all others, so what they said last
    /// is in the agent's memory, but perhaps not sent yet: the signal may be faster than the lines.
    /// So it is asked for once more, to its end.
    fn end(&mut self) {
        self.feed = None;
        let until = clock::boot().saturating_add(LAST_LIMIT);
        match Feed::connect_until_now(&self.socket, self.last_seq.saturating_add(1)) {
            Ok(mut feed) => while self.receive_last(&mut feed, until) {},
            Err(error) => self.say(&error.to_string()),
        }
        self.sync_now();
    }

    /// One turn of the last reading; says whether there may be more.
    fn receive_last(&mut self, feed: &mut Feed, until: Duration) -> bool {
        let left = until.saturating_sub(clock::boot());
        let Ok(limit) = Timespec::try_from(left) else { return false };
        let mut inputs = [PollFd::new(feed, PollFlags::IN)];
        match poll(&mut inputs, Some(&limit)) {
            Ok(0) => false,
            Ok(_) => feed.read(|answer| self.take(answer)).is_ok(),
            Err(errno) => errno == Errno::INTR,
        }
    }
}
