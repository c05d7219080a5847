//! What to do with log files before and after a line is written. All of it is decided here; whoever
//! has the disk carries out one step at a time and says how it went:
//!
//! ```text
//!             ┌────────── did(step) ◄── Delete | Rename ◄─┐
//!             ▼                                           │
//!  line ──> next ──────────────────────────────────────────┴──> Write ──> wrote
//!             │ ▲                                                │
//!             │ └── failed(Full) with something left to delete ◄─┤
//!             └──> Drop: counted, until the pause is over ◄──────┘ failed, nothing left to do
//! ```
//!
//! A source has one current file (number 0) and archives (1 is the newest). When space runs short,
//! the oldest archive goes of whoever takes most space, so a chatty source pays for itself.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The pause after the first failed write. A full disk may have room soon: others delete too.
pub const RETRY_FIRST: Duration = Duration::from_secs(5);

/// The longest pause; it doubles up to here. A disk that is broken for good costs one attempt per
/// five minutes.
pub const RETRY_LONGEST: Duration = Duration::from_mins(5);

/// How large log files may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Of one file, before the next is begun.
    pub file_bytes: u64,
    /// Files of one source, the current one among them; at least one.
    pub files: u32,
    /// All files of all sources together.
    pub total_bytes: u64,
}

/// The name of a log file: `postgres.log`, then `postgres.log.1` and older.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogFile {
    pub source: String,
    /// 0 is the current file; the greater, the older.
    pub number: u32,
}

impl LogFile {
    pub fn current(source: &str) -> Self {
        Self { source: source.to_owned(), number: 0 }
    }

    /// Reads a file's name; what isn't ours gives nothing and is left alone.
    pub fn parse(name: &str) -> Option<Self> {
        let archive = name.rsplit_once(".log.").and_then(|(source, number)| {
            Some(Self { source: source.to_owned(), number: number.parse().ok()? })
        });
        let current = || name.strip_suffix(".log").map(Self::current);
        let found = archive.or_else(current)?;
        // A number such as +1 or 01 would be read, but not be found again under that name.
        (!found.source.is_empty() && found.to_string() == name).then_some(found)
    }
}

impl fmt::Display for LogFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            0 => write!(out, "{}.log", self.source),
            number => write!(out, "{}.log.{number}", self.source),
        }
    }
}

/// One deed for whoever has the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Delete(LogFile),
    /// The file gets the next greater number; nothing has that name.
    Age(LogFile),
}

/// What comes next for a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Append it to the source's current file; then say how it went.
    Write,
    /// Do this first, say how it went, and ask again.
    First(Step),
    /// Forget the line; it was counted.
    Drop,
}

/// Why a step or a write failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No space, or no quota.
    Full,
    /// Anything else: the disk is broken or read-only.
    Broken,
}

/// The log files as they are, and what comes next.
#[derive(Clone, Debug)]
pub struct Rotation {
    limits: LogLimits,
    /// Sizes by source and number.
    files: BTreeMap<String, BTreeMap<u32, u64>>,
    /// A file must go before anything is written: the disk is full.
    must_delete: bool,
    /// The pause's end and length, since a failure that nothing could be done about.
    pause: Option<(Duration, Duration)>,
    dropped: u64,
}

impl Rotation {
    /// A plan for files that aren't known yet. A source alone must have room for two files, so the
    /// size of a file is at most half of everything.
    pub fn new(limits: LogLimits) -> Self {
        let limits = LogLimits {
            file_bytes: limits.file_bytes.min(limits.total_bytes / 2),
            files: limits.files.max(1),
            ..limits
        };
        Self { limits, files: BTreeMap::new(), must_delete: false, pause: None, dropped: 0 }
    }

    /// These files are there, with their sizes, and no others.
    pub fn found(&mut self, found: impl IntoIterator<Item = (LogFile, u64)>) {
        self.files.clear();
        for (file, bytes) in found {
            self.files.entry(file.source).or_default().insert(file.number, bytes);
        }
    }

    /// What to do for a line of a source. Ask again after each step; every step is reported with
    /// [`Rotation::did`] or [`Rotation::failed`], and the steps for one line are bounded by the
    /// number of files.
    pub fn next(&mut self, source: &str, bytes: u64, now: Duration) -> Decision {
        if self.is_paused(now) {
            self.dropped = self.dropped.saturating_add(1);
            return Decision::Drop;
        }
        match self.step(source, bytes) {
            Some(step) => Decision::First(step),
            None => Decision::Write,
        }
    }

    fn step(&self, source: &str, bytes: u64) -> Option<Step> {
        if self.must_delete {
            return self.sacrifice(None).map(Step::Delete);
        }
        let files = self.files.get(source);
        let size = files.and_then(|files| files.get(&0)).copied().unwrap_or(0);
        if size > 0 && size.saturating_add(bytes) > self.limits.file_bytes {
            return Some(self.shift(source));
        }
        let full = self.total().saturating_add(bytes) > self.limits.total_bytes;
        if full { self.sacrifice(Some(source)).map(Step::Delete) } else { None }
    }

    /// The first step of giving each file of a source the next number.
    fn shift(&self, source: &str) -> Step {
        let file = |number| LogFile { source: source.to_owned(), number };
        let files = self.files.get(source);
        let oldest = files.and_then(|files| files.keys().next_back()).copied().unwrap_or(0);
        if oldest >= self.limits.files {
            // Left from when more were allowed.
            return Step::Delete(file(oldest));
        }
        // The greatest number before which none is missing: all greater ones have moved already.
        let numbers = files.into_iter().flat_map(BTreeMap::keys).copied();
        let last = numbers.zip(0..).take_while(|(number, place)| number == place).last();
        let last = last.map_or(0, |(number, _)| number);
        if last.saturating_add(1) >= self.limits.files {
            return Step::Delete(file(last));
        }
        Step::Age(file(last))
    }

    /// The file to delete when space is short: the oldest archive of whoever takes most space. With
    /// no archive left, the largest current file but the writer's own.
    fn sacrifice(&self, writer: Option<&str>) -> Option<LogFile> {
        let size = |files: &BTreeMap<u32, u64>| files.values().sum::<u64>();
        let archived = self.files.iter().filter(|(_, files)| files.keys().any(|n| *n > 0));
        if let Some((source, files)) = archived.max_by_key(|(_, files)| size(files)) {
            let number = files.keys().next_back().copied()?;
            return Some(LogFile { source: source.clone(), number });
        }
        let writer = writer?;
        let others =
            self.files.iter().filter(|(source, files)| *source != writer && size(files) > 0);
        others.max_by_key(|(_, files)| size(files)).map(|(source, _)| LogFile::current(source))
    }

    /// A step was carried out.
    pub fn did(&mut self, step: &Step) {
        let (Step::Delete(file) | Step::Age(file)) = step;
        let Some(files) = self.files.get_mut(&file.source) else { return };
        let bytes = files.remove(&file.number);
        match step {
            Step::Delete(_) => {
                self.must_delete = false;
                if files.is_empty() {
                    self.files.remove(&file.source);
                }
            }
            Step::Age(_) => {
                files.insert(file.number.saturating_add(1), bytes.unwrap_or(0));
            }
        }
    }

    /// So many bytes of the line were appended. Gives how many lines were dropped before, if this
    /// is the first that went through since.
    pub fn wrote(&mut self, source: &str, bytes: u64) -> Option<u64> {
        if !self.files.contains_key(source) {
            self.files.insert(source.to_owned(), BTreeMap::new());
        }
        if let Some(files) = self.files.get_mut(source) {
            let size = files.entry(0).or_default();
            *size = size.saturating_add(bytes);
        }
        self.pause = None;
        let dropped = std::mem::take(&mut self.dropped);
        (dropped > 0).then_some(dropped)
    }

    /// A step or a write failed. On a full disk one of our own files goes first, if there is one;
    /// otherwise nothing is written for a while. Ask [`Rotation::next`] again for the same line.
    pub fn failed(&mut self, trouble: Trouble, now: Duration) {
        self.must_delete = trouble == Trouble::Full && !self.must_delete;
        if self.must_delete && self.sacrifice(None).is_some() {
            return;
        }
        self.must_delete = false;
        let length = match self.pause {
            Some((_, length)) => length.saturating_mul(2).min(RETRY_LONGEST),
            None => RETRY_FIRST,
        };
        self.pause = Some((now.saturating_add(length), length));
    }

    /// Whether nothing is written now.
    pub fn is_paused(&self, now: Duration) -> bool {
        self.pause.is_some_and(|(until, _)| now < until)
    }

    /// Until when nothing is written, if the disk is in trouble.
    pub fn paused_until(&self) -> Option<Duration> {
        self.pause.map(|(until, _)| until)
    }

    /// Lines that were dropped since the last one that was written.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The bytes of all files.
    pub fn total(&self) -> u64 {
        self.files.values().flat_map(BTreeMap::values).sum()
    }
}
