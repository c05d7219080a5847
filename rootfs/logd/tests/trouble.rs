//! The writer over a disk that fails whenever it likes.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use logd::{Disk, Entry, Outcome, Writer};
use logs::LogLimits;
use proptest::prelude::*;
use rustix::io::Errno;

const BOOT: &str = "6f1d02ab";
const LIMITS: LogLimits = LogLimits { file_bytes: 400, files: 3, total_bytes: 2000 };

/// Files in memory, some room, and the calls that are about to fail.
#[derive(Debug, Default)]
struct FailingDisk {
    files: BTreeMap<String, Vec<u8>>,
    room: Option<usize>,
    /// One per call; none after the last.
    failures: Vec<bool>,
}

impl FailingDisk {
    fn call(&mut self) -> io::Result<()> {
        if self.failures.pop().unwrap_or(false) { Err(Errno::IO.into()) } else { Ok(()) }
    }

    fn used(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }
}

/// The disk is the test's, and the writer borrows it.
impl Disk for &mut FailingDisk {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        self.call()?;
        Ok(self.files.iter().map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect())
    }

    fn tail(&mut self, name: &str, bytes: u64) -> io::Result<Vec<u8>> {
        self.call()?;
        let file = self.files.get(name).ok_or(Errno::NOENT)?;
        let start = file.len().saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
        Ok(file[start..].to_vec())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.call()?;
        if self.room.is_some_and(|room| self.used() + bytes.len() > room) {
            return Err(Errno::NOSPC.into());
        }
        self.files.entry(name.to_owned()).or_default().extend(bytes);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.call()?;
        let file = self.files.remove(from).ok_or(Errno::NOENT)?;
        assert!(self.files.insert(to.to_owned(), file).is_none(), "nothing is overwritten");
        Ok(())
    }

    fn delete(&mut self, name: &str) -> io::Result<()> {
        self.call()?;
        self.files.remove(name).map(drop).ok_or(Errno::NOENT.into())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.call()
    }
}

fn entry(seq: u64, source: &str) -> Entry {
    let time = Duration::from_secs(seq);
    let text = format!("line {seq} of {source}");
    Entry { seq, source: source.to_owned(), wall: time, boot: time, text }
}

#[test]
fn the_place_to_go_on_is_found_in_the_files() {
    let mut disk = FailingDisk::default();
    let mut writer = Writer::new(&mut disk, LIMITS, BOOT.to_owned());
    assert_eq!(writer.last_seq(), 0);
    for seq in 1..=25 {
        let source = if seq % 2 == 0 { "even" } else { "odd" };
        assert_eq!(writer.write(&entry(seq, source), Duration::ZERO), Outcome::Written);
    }
    assert_eq!(writer.last_seq(), 25);
    drop(writer);
    assert!(disk.files.len() > 2, "files were rotated");
    assert_eq!(Writer::new(&mut disk, LIMITS, BOOT.to_owned()).last_seq(), 25);
    assert_eq!(Writer::new(&mut disk, LIMITS, "0".repeat(8)).last_seq(), 0, "another boot");
}

#[test]
fn a_name_that_leads_elsewhere_is_refused() {
    let mut disk = FailingDisk::default();
    let mut writer = Writer::new(&mut disk, LIMITS, BOOT.to_owned());
    assert_eq!(writer.write(&entry(1, "../etc"), Duration::ZERO), Outcome::Refused);
    drop(writer);
    assert!(disk.files.is_empty());
}

#[test]
fn trouble_is_told_once_and_its_end_too() {
    let mut disk = FailingDisk { room: Some(0), ..FailingDisk::default() };
    let mut writer = Writer::new(&mut disk, LIMITS, BOOT.to_owned());
    assert_eq!(writer.write(&entry(1, "a"), Duration::ZERO), Outcome::Dropped);
    assert!(writer.take_trouble().is_some_and(|text| text.contains("can't write logs: No space")));
    assert_eq!(writer.write(&entry(2, "a"), Duration::ZERO), Outcome::Dropped);
    assert_eq!(writer.take_trouble(), None);
    assert_eq!(writer.dropped(), 2);
}

proptest! {
    #[test]
    fn each_line_is_whole_or_counted(
        sources in prop::collection::vec(0..3_usize, 1..150),
        failures in prop::collection::vec(prop::bool::weighted(0.1), 0..300),
        room in prop::option::of(0..3000_usize),
    ) {
        let mut disk = FailingDisk { room, failures, ..FailingDisk::default() };
        let mut writer = Writer::new(&mut disk, LIMITS, BOOT.to_owned());
        let (mut written, mut told) = (0, 0);
        let sent = sources.len() as u64;
        for (seq, source) in (1..).zip(sources) {
            let now = Duration::from_secs(seq * 3);
            match writer.write(&entry(seq, ["a", "b", "c"][source]), now) {
                Outcome::Written => written += 1,
                Outcome::WrittenAfter(dropped) => {
                    written += 1;
                    told += dropped;
                }
                Outcome::Dropped => {}
                Outcome::Refused => prop_assert!(false, "good names"),
            }
            writer.sync(now);
        }
        prop_assert_eq!(written + told + writer.dropped(), sent);
        drop(writer);
        prop_assert!(disk.used() <= 2000);
        for (name, bytes) in &disk.files {
            prop_assert!(bytes.len() <= 400 && bytes.ends_with(b"\n"), "{name}");
        }
    }
}
