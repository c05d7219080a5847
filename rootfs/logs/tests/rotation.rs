//! Rotation, judged by a disk in memory: whatever is written and whatever fails.

use std::collections::BTreeMap;
use std::time::Duration;

use logs::{Decision, LogFile, LogLimits, RETRY_FIRST, RETRY_LONGEST, Rotation, Step, Trouble};
use proptest::prelude::*;

const LIMITS: LogLimits = LogLimits { file_bytes: 100, files: 3, total_bytes: 1000 };

/// A disk with so much room, and the plan that writes to it.
struct Disk {
    files: BTreeMap<LogFile, u64>,
    room: u64,
    broken: bool,
    plan: Rotation,
    now: Duration,
}

impl Disk {
    fn new(limits: LogLimits, room: u64) -> Self {
        let plan = Rotation::new(limits);
        Self { files: BTreeMap::new(), room, broken: false, plan, now: Duration::ZERO }
    }

    fn total(&self) -> u64 {
        self.files.values().sum()
    }

    fn carry_out(&mut self, step: &Step) -> Result<(), Trouble> {
        if self.broken {
            return Err(Trouble::Broken);
        }
        match step {
            Step::Delete(file) => {
                self.files.remove(file).expect("only what is there is deleted");
            }
            Step::Age(file) => {
                let bytes = self.files.remove(file).expect("only what is there is renamed");
                let older = LogFile { number: file.number + 1, ..file.clone() };
                assert_eq!(self.files.insert(older, bytes), None, "nothing is overwritten");
            }
        }
        Ok(())
    }

    fn append(&mut self, source: &str, bytes: u64) -> Result<(), Trouble> {
        if self.broken {
            return Err(Trouble::Broken);
        }
        if self.total() + bytes > self.room {
            return Err(Trouble::Full);
        }
        *self.files.entry(LogFile::current(source)).or_default() += bytes;
        Ok(())
    }

    /// Writes a line; says whether it went through, and how many were dropped before it.
    fn write(&mut self, source: &str, bytes: u64) -> (bool, Option<u64>) {
        for _ in 0..200 {
            match self.plan.next(source, bytes, self.now) {
                Decision::Drop => return (false, None),
                Decision::First(step) => match self.carry_out(&step) {
                    Ok(()) => self.plan.did(&step),
                    Err(trouble) => self.plan.failed(trouble, self.now),
                },
                Decision::Write => match self.append(source, bytes) {
                    Ok(()) => return (true, self.plan.wrote(source, bytes)),
                    Err(trouble) => self.plan.failed(trouble, self.now),
                },
            }
        }
        panic!("no end of steps for one line");
    }

    fn names(&self) -> Vec<String> {
        self.files.keys().map(LogFile::to_string).collect()
    }
}

#[test]
fn files_grow_old_and_go() {
    let mut disk = Disk::new(LIMITS, u64::MAX);
    for _ in 0..8 {
        assert_eq!(disk.write("a", 60), (true, None));
    }
    assert_eq!(disk.names(), ["a.log", "a.log.1", "a.log.2"]);
    assert!(disk.files.values().all(|bytes| *bytes == 60));
}

#[test]
fn whoever_takes_most_space_pays() {
    let limits = LogLimits { total_bytes: 400, ..LIMITS };
    let mut disk = Disk::new(limits, u64::MAX);
    (0..3).for_each(|_| assert!(disk.write("quiet", 40).0));
    (0..9).for_each(|_| assert!(disk.write("chatty", 100).0));
    assert_eq!(disk.names(), ["chatty.log", "chatty.log.1", "quiet.log", "quiet.log.1"]);
    assert!(disk.total() <= 400);
}

#[test]
fn files_of_services_that_are_gone_count_and_go_first_if_they_are_the_largest() {
    let gone = LogFile { source: "gone".to_owned(), number: 7 };
    let mut disk = Disk::new(LIMITS, u64::MAX);
    disk.plan.found([(gone.clone(), 950)]);
    disk.files.insert(gone, 950);
    assert!(disk.write("a", 90).0);
    assert_eq!(disk.names(), ["a.log"]);
}

#[test]
fn files_from_when_more_were_allowed_go_with_the_next_rotation() {
    let mut disk = Disk::new(LIMITS, u64::MAX);
    disk.files = [0, 7].map(|number| (LogFile { source: "a".to_owned(), number }, 90)).into();
    disk.plan.found(disk.files.clone());
    assert!(disk.write("a", 90).0);
    assert_eq!(disk.names(), ["a.log", "a.log.1"]);
}

#[test]
fn a_full_disk_costs_our_oldest_files_first_and_then_lines() {
    let mut disk = Disk::new(LIMITS, u64::MAX);
    (0..4).for_each(|_| assert!(disk.write("a", 90).0));
    // Somebody else takes everything.
    disk.room = disk.total();
    assert_eq!(disk.write("b", 90), (true, None));
    assert_eq!(disk.names(), ["a.log", "a.log.1", "b.log"]);
    disk.room = 0;
    disk.files.retain(|file, _| file.number == 0);
    disk.plan.found(disk.files.clone());
    assert_eq!(disk.write("b", 5), (false, None));
    assert_eq!(disk.plan.paused_until(), Some(RETRY_FIRST));
    assert_eq!(disk.write("b", 5), (false, None));
    assert_eq!(disk.plan.dropped(), 2);
    // Room again: the count comes with the first line.
    disk.room = u64::MAX;
    disk.now = RETRY_FIRST;
    assert_eq!(disk.write("b", 5), (true, Some(2)));
    assert_eq!(disk.write("b", 5), (true, None));
}

#[test]
fn a_broken_disk_is_tried_less_and_less_often() {
    let mut disk = Disk::new(LIMITS, u64::MAX);
    disk.broken = true;
    let mut pauses = Vec::new();
    for _ in 0..9 {
        assert_eq!(disk.write("a", 10), (false, None));
        let until = disk.plan.paused_until().expect("a pause");
        pauses.push(until.as_secs() - disk.now.as_secs());
        disk.now = until;
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    assert_eq!(RETRY_LONGEST.as_secs(), 300);
    disk.broken = false;
    assert_eq!(disk.write("a", 10), (true, Some(9)));
}

#[test]
fn names_are_read_as_they_are_written() {
    for name in ["a.log", "a.log.1", "k3s-agent.log.12", "a.log.log", "a.log.1.log.2"] {
        assert_eq!(LogFile::parse(name).expect(name).to_string(), name);
    }
    for name in ["", ".log", ".log.1", "a", "a.log.", "a.log.01", "a.log.+1", "a.log.0", "a.logs"] {
        assert_eq!(LogFile::parse(name), None, "{name}");
    }
}

#[derive(Clone, Debug)]
enum Deed {
    Write(usize, u64),
    Room(u64),
    Break(bool),
    Wait(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        12 => (0..4_usize, 1..150_u64).prop_map(|(source, bytes)| Deed::Write(source, bytes)),
        1 => prop_oneof![0..600_u64, Just(u64::MAX)].prop_map(Deed::Room),
        1 => any::<bool>().prop_map(Deed::Break),
        1 => (0..400_u64).prop_map(Deed::Wait),
    ]
}

proptest! {
    #[test]
    fn bounds_hold_whatever_happens(
        deeds in prop::collection::vec(deed(), 0..200),
        file_bytes in 1..300_u64, files in 0..5_u32, total_bytes in 400..1000_u64,
    ) {
        let limits = LogLimits { file_bytes, files, total_bytes };
        let mut disk = Disk::new(limits, u64::MAX);
        let (mut sent, mut written, mut told) = (0, 0, 0);
        for deed in deeds {
            match deed {
                Deed::Write(source, bytes) => {
                    let (went, dropped) = disk.write(["a", "b", "c", "d"][source], bytes);
                    sent += 1;
                    written += u64::from(went);
                    told += dropped.unwrap_or(0);
                }
                Deed::Room(room) => disk.room = room,
                Deed::Break(broken) => disk.broken = broken,
                Deed::Wait(seconds) => disk.now += Duration::from_secs(seconds),
            }
            prop_assert_eq!(disk.plan.total(), disk.total(), "plan and disk agree");
            // One line may be larger than a whole file.
            prop_assert!(disk.total() <= total_bytes.max(150));
            let numbers = disk.files.keys().map(|file| file.number).max().unwrap_or(0);
            prop_assert!(numbers < files.max(1));
        }
        prop_assert_eq!(written + told + disk.plan.dropped(), sent, "each line is accounted for");
    }

    #[test]
    fn no_name_panics(name in "[a.log0-9+]{0,12}|.{0,20}") {
        if let Some(file) = LogFile::parse(&name) {
            prop_assert_eq!(file.to_string(), name);
        }
    }
}
