//! Entries become lines in files: carries out what the rotation decides.

use std::io;
use std::time::Duration;

use logs::{Decision, LogFile, LogLimits, Rotation, Step, Trouble};
use rustix::io::Errno;

use crate::disk::Disk;
use crate::entry::Entry;

/// More steps for one line than there are files; beyond it, disk and plan don't agree.
const STEPS_MAX: usize = 8192;

/// How much of a file's end is read for the last number; more than the longest line.
const TAIL_BYTES: u64 = 32 * 1024;

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Written,
    /// It is the first after so many that were dropped.
    WrittenAfter(u64),
    /// It is counted.
    Dropped,
    /// Its source's name can't be a file's.
    Refused,
}

/// Writes entries, whatever the disk does.
#[derive(Debug)]
pub struct Writer<D> {
    disk: D,
    rotation: Rotation,
    boot_id: String,
    /// The files must be listed before the next write: nothing is known, or the disk was in trouble.
    unknown: bool,
    /// What went wrong last, until it is asked for.
    trouble: Option<String>,
}

impl<D: Disk> Writer<D> {
    pub fn new(disk: D, limits: LogLimits, boot_id: String) -> Self {
        Self { disk, rotation: Rotation::new(limits), boot_id, unknown: true, trouble: None }
    }

    /// The greatest number of this boot in the files; zero if there is none, or no readable file.
    pub fn last_seq(&mut self) -> u64 {
        let names = self.disk.list().unwrap_or_default();
        let files = names.iter().filter_map(|(name, _)| LogFile::parse(name));
        // The last line of a source may have been rotated away just before.
        let recent: Vec<LogFile> = files.filter(|file| file.number <= 1).collect();
        let mut last = 0;
        for file in recent {
            let tail = self.disk.tail(&file.to_string(), TAIL_BYTES).unwrap_or_default();
            let lines = tail.split(|byte| *byte == b'\n');
            let seqs = lines.filter_map(|line| Entry::seq_of(line, &self.boot_id));
            last = seqs.fold(last, u64::max);
        }
        last
    }

    /// Writes an entry, or drops and counts it. It returns after a bounded number of calls.
    pub fn write(&mut self, entry: &Entry, now: Duration) -> Outcome {
        if !entry.has_good_name() {
            return Outcome::Refused;
        }
        let line = entry.to_file_line(&self.boot_id);
        let bytes = line.len() as u64;
        for _ in 0..STEPS_MAX {
            self.learn(now);
            match self.rotation.next(&entry.source, bytes, now) {
                Decision::Drop => return Outcome::Dropped,
                Decision::First(step) => match self.carry_out(&step) {
                    Ok(()) => self.rotation.did(&step),
                    Err(error) => self.failed("rotate", &error, now),
                },
                Decision::Write => {
                    let name = LogFile::current(&entry.source).to_string();
                    match self.disk.append(&name, line.as_bytes()) {
                        Ok(()) => {
                            let dropped = self.rotation.wrote(&entry.source, bytes);
                            return dropped.map_or(Outcome::Written, Outcome::WrittenAfter);
                        }
                        Err(error) => self.failed("write", &error, now),
                    }
                }
            }
        }
        self.failed("write", &io::Error::other("the files change by themselves"), now);
        // Paused now, so this only counts the line.
        self.rotation.next(&entry.source, bytes, now);
        Outcome::Dropped
    }

    /// Brings to the disk what was written.
    pub fn sync(&mut self, now: Duration) {
        if let Err(error) = self.disk.sync() {
            self.failed("sync", &error, now);
        }
    }

    /// What went wrong since the last call, for people.
    pub fn take_trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    /// Lines that were dropped since the last one that was written.
    pub fn dropped(&self) -> u64 {
        self.rotation.dropped()
    }

    /// Lists the files if that is due.
    fn learn(&mut self, now: Duration) {
        if !self.unknown || self.rotation.is_paused(now) {
            return;
        }
        match self.disk.list() {
            Ok(names) => {
                self.unknown = false;
                let ours = |(name, bytes): (String, u64)| Some((LogFile::parse(&name)?, bytes));
                self.rotation.found(names.into_iter().filter_map(ours));
            }
            Err(error) => self.failed("list", &error, now),
        }
    }

    fn carry_out(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::Delete(file) => self.disk.delete(&file.to_string()),
            Step::Age(file) => {
                let number = file.number.saturating_add(1);
                let older = LogFile { source: file.source.clone(), number };
                self.disk.rename(&file.to_string(), &older.to_string())
            }
        }
    }

    fn failed(&mut self, deed: &str, error: &io::Error, now: Duration) {
        let full = [Errno::NOSPC, Errno::DQUOT];
        let is_full = Errno::from_io_error(error).is_some_and(|errno| full.contains(&errno));
        self.rotation.failed(if is_full { Trouble::Full } else { Trouble::Broken }, now);
        // A full disk that gets room from our own old files is no trouble yet.
        if self.rotation.is_paused(now) {
            // Somebody may mend it meanwhile, also by deleting files that we still hold open.
            self.unknown = true;
            self.trouble = Some(format!("can't {deed} logs: {error}"));
        }
    }
}
