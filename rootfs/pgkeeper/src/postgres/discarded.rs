//! What a repair drops is kept: WAL segments from the fork on, and a report that people can read.
//!
//! ```text
//!  discarded/timeline-1-from-0-3000148/report.txt
//!                                      000000010000000000000003 …
//! ```
//!
//! The name says where histories parted. A rewind that was cut off has written over the log that an
//! archive is made of, so one that is whole is left as it is when the rewind is begun again. If there
//! was no transaction, only the report is written. What is old or too much goes (kept.rs).

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use failover::{Lsn, Timeline};

use super::boot;
use super::controldata::ControlData;
use super::error::{DriverError, about};
use super::flag::Flag;
use super::program;
use super::rewind::Fork;
use super::settings::{Settings, standby_signal};
use super::status::written;

/// What `initdb` makes.
const SEGMENT_BYTES: u64 = 16 << 20;
const SEGMENTS_PER_NAME: u64 = (1 << 32) / SEGMENT_BYTES;
const COUNT_LIMIT: Duration = Duration::from_mins(10);
/// A line of `pg_waldump` that is longer tells nothing more.
const MAX_LINE_BYTES: usize = 4096;
/// So many commits are listed in the report; all are counted.
const LISTED: usize = 1000;

/// What tells people of a folder's contents.
pub(super) const REPORT: &str = "report.txt";
/// How the line of a report with their number begins.
const TRANSACTIONS: &str = "transactions";
/// The whole log of data that a copy replaced, moved here with its folder.
const REPLACED_LOG: &str = "pg_wal";

/// What was dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Discarded {
    pub(super) bytes: Option<u64>,
    pub(super) transactions: Option<u64>,
    pub(super) archive: Option<PathBuf>,
}

impl fmt::Display for Discarded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |count: Option<u64>| count.map_or("unknown".to_owned(), |it| it.to_string());
        let (bytes, transactions) = (number(self.bytes), number(self.transactions));
        write!(out, "{bytes} bytes of WAL with {transactions} transactions")?;
        match &self.archive {
            Some(archive) => write!(out, ", kept in {}", archive.display()),
            None => Ok(()),
        }
    }
}

/// Transactions that were committed behind the fork.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Commits {
    count: u64,
    listed: Vec<String>,
}

impl Commits {
    /// Looks at a line of `pg_waldump`.
    fn take(&mut self, line: &str) {
        let Some((before, what)) = line.split_once("desc: ") else { return };
        if !what.starts_with("COMMIT") {
            return;
        }
        self.count += 1;
        if self.listed.len() < LISTED {
            let field = |name: &str| {
                let (_, rest) = before.split_once(name)?;
                rest.trim_start().split([',', ' ']).next()
            };
            let (tx, lsn) = (field("tx:").unwrap_or("?"), field(", lsn:").unwrap_or("?"));
            self.listed.push(format!("{lsn}  transaction {tx}  {what}"));
        }
    }
}

/// Counts what was committed behind the fork.
pub(super) fn count(
    pg_waldump: &Path,
    data: &Path,
    end: (Timeline, Lsn),
    fork: Fork,
    halt: &Flag,
) -> Result<Commits, DriverError> {
    let mut commits = Commits::default();
    let (timeline, end) = end;
    if end <= fork.at {
        return Ok(commits);
    }
    let mut command = program::command(pg_waldump);
    command.arg("--rmgr=Transaction").arg("--path").arg(data.join("pg_wal"));
    command.arg(format!("--timeline={}", timeline.0));
    command.arg(format!("--start={}", written(fork.at)));
    // Behind the end there may be remains of older WAL.
    command.arg(format!("--end={}", written(end)));
    let mut line = Vec::new();
    program::run_with(&mut command, "", COUNT_LIMIT, halt, |bytes| {
        for byte in bytes {
            if *byte == b'\n' {
                commits.take(&String::from_utf8_lossy(&line));
                line.clear();
            } else if line.len() < MAX_LINE_BYTES {
                line.push(*byte);
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(commits)
}

/// Writes the archive; everything is on the disk when this returns.
pub(super) fn archive(
    settings: &Settings,
    end: (Timeline, Lsn),
    fork: Fork,
    commits: Option<&Commits>,
) -> Result<Discarded, DriverError> {
    let name = format!("timeline-{}-from-{}", fork.timeline, written(fork.at).replace('/', "-"));
    let (folder, report) = place_of(&settings.discarded(), &name, end);
    if let Some(report) = report {
        let bytes = Some(end.1.0.saturating_sub(fork.at.0));
        let transactions = transactions_in(&report);
        return Ok(Discarded { bytes, transactions, archive: Some(folder) });
    }
    let archived = write_archive(settings, &folder, end, fork, commits);
    // What the next repair needs is room, and everything is still in the data.
    if archived.is_err() && is_unfinished(&folder).unwrap_or(false) {
        let _none = fs::remove_dir_all(&folder);
    }
    archived
}

/// Where the archive of a drop is, and its report if it is whole. After a restore to an earlier moment
/// histories may part in the same place once more: that is another drop, with another folder.
fn place_of(discarded: &Path, name: &str, end: (Timeline, Lsn)) -> (PathBuf, Option<String>) {
    let report_in = |folder: &Path| fs::read_to_string(folder.join(REPORT)).ok();
    let is_others = |report: String| !report.contains(&dropped_up_to(end));
    let folder = first_folder(discarded, name, |folder| !report_in(folder).is_some_and(is_others));
    let report = report_in(&folder);
    (folder, report)
}

/// The first of `name`, `name-2`, `name-3` … that will do.
fn first_folder(discarded: &Path, name: &str, will_do: impl Fn(&Path) -> bool) -> PathBuf {
    let numbered = (2_u32..).map(|number| discarded.join(format!("{name}-{number}")));
    let mut folders = std::iter::once(discarded.join(name)).chain(numbered);
    folders.find(|folder| will_do(folder)).unwrap_or_else(|| discarded.join(name))
}

/// Whether an archive was begun and not finished: its report comes last. What a copy replaced is
/// whole from the moment it is there, also before its report.
pub(super) fn is_unfinished(folder: &Path) -> io::Result<bool> {
    let mut is_loose = false;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name == REPORT || name == REPLACED_LOG {
            return Ok(false);
        }
        is_loose |= name.to_str().and_then(segment).is_some();
    }
    Ok(is_loose)
}

fn write_archive(
    settings: &Settings,
    folder: &Path,
    end: (Timeline, Lsn),
    fork: Fork,
    commits: Option<&Commits>,
) -> Result<Discarded, DriverError> {
    make_folder(folder)?;
    let bytes = end.1.0.saturating_sub(fork.at.0);
    let transactions = commits.map(|commits| commits.count);
    let mut segments = Vec::new();
    if transactions != Some(0) {
        segments = segments_from(&settings.data().join("pg_wal"), end, fork)?;
        for name in &segments {
            copy(&settings.data().join("pg_wal").join(name), &folder.join(name))?;
        }
    }
    let report = report(settings, end, fork, commits, &segments);
    sys::durable::write(&folder.join(REPORT), report.as_bytes(), 0o600)?;
    boot::sync_folder(&settings.discarded())?;
    boot::sync_folder(&settings.folder)?;
    Ok(Discarded { bytes: Some(bytes), transactions, archive: Some(folder.to_owned()) })
}

pub(super) fn make_folder(folder: &Path) -> Result<(), DriverError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(about("make", folder))
}

/// The names of segments and histories behind the fork.
fn segments_from(
    folder: &Path,
    end: (Timeline, Lsn),
    fork: Fork,
) -> Result<Vec<String>, DriverError> {
    let range = fork.at.0 / SEGMENT_BYTES..=end.1.0 / SEGMENT_BYTES;
    let entries = fs::read_dir(folder).map_err(about("read", folder))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| {
            segment(name).is_some_and(|(timeline, number)| {
                timeline >= fork.timeline && range.contains(&number)
            })
        })
        .collect();
    names.sort();
    Ok(names)
}

/// Timeline and number of a segment by its name.
fn segment(name: &str) -> Option<(u32, u64)> {
    if name.len() != 24 {
        return None;
    }
    let part = |range| u32::from_str_radix(name.get(range)?, 16).ok();
    let (timeline, high, low) = (part(0..8)?, part(8..16)?, part(16..24)?);
    Some((timeline, u64::from(high) * SEGMENTS_PER_NAME + u64::from(low)))
}

fn copy(from: &Path, to: &Path) -> Result<(), DriverError> {
    fs::copy(from, to).map_err(about("copy what a repair drops to", to))?;
    File::open(to).and_then(|file| file.sync_all()).map_err(about("sync", to))
}

/// The line of a report that tells one drop from another.
fn dropped_up_to((timeline, end): (Timeline, Lsn)) -> String {
    format!("dropped up to        {} on timeline {}\n", written(end), timeline.0)
}

/// How many transactions a report counts, if it does.
fn transactions_in(report: &str) -> Option<u64> {
    report.lines().find_map(|line| line.strip_prefix(TRANSACTIONS)?.trim().parse().ok())
}

fn report(
    settings: &Settings,
    end: (Timeline, Lsn),
    fork: Fork,
    commits: Option<&Commits>,
    segments: &[String],
) -> String {
    let (timeline, end) = end;
    let (name, peer) = (&settings.name, &settings.peer_name);
    let mut text = format!(
        "What {name} dropped when it was wound back to the history of {peer}\n\n\
         histories parted at  {} on timeline {}\n\
         {}\
         bytes of WAL         {}\n",
        written(fork.at),
        fork.timeline,
        dropped_up_to((timeline, end)),
        end.0.saturating_sub(fork.at.0),
    );
    match commits {
        None => {
            text += &format!("{TRANSACTIONS}         unknown: pg_waldump couldn't read it\n");
        }
        Some(commits) => {
            text += &format!("{TRANSACTIONS}         {}\n", commits.count);
            let shown = commits.listed.len();
            if shown > 0 {
                text += &format!("\nThe first {shown} of them:\n\n");
            }
            text.extend(commits.listed.iter().map(|line| format!("{line}\n")));
        }
    }
    if !segments.is_empty() {
        text += "\nTheir contents: pg_waldump --path . ";
        text += &format!(
            "--timeline={} --start={} --end={}\n\n",
            timeline.0,
            written(fork.at),
            written(end)
        );
        text.extend(segments.iter().map(|name| format!("{name}\n")));
    }
    text
}

/// Keeps the whole WAL of data that a copy has replaced, if it was a primary's or nobody knows:
/// where it parted, nobody knows either. On the disk when this returns, so that the rest can go.
///
/// `control` may be unknown: a control file that can't be read is no reason to lose anything.
pub(super) fn keep_replaced(
    settings: &Settings,
    replaced: &Path,
    control: Option<&ControlData>,
) -> Result<Option<Discarded>, DriverError> {
    let wal = replaced.join("pg_wal");
    let Some(newest) = newest_segment(&wal)?.filter(|_| !is_copy(replaced)) else {
        return Ok(None);
    };
    let name = match control {
        Some(control) => {
            let at = written(control.checkpoint).replace('/', "-");
            format!("timeline-{}-replaced-at-{at}", control.timeline.0)
        }
        None => format!("replaced-with-{newest}"),
    };
    // What is kept is never written over.
    let is_free = |folder: &Path| !folder.join(REPLACED_LOG).exists();
    let folder = first_folder(&settings.discarded(), &name, is_free);
    make_folder(&folder)?;
    let kept = folder.join(REPLACED_LOG);
    fs::rename(&wal, &kept).map_err(about("keep replaced WAL in", &kept))?;
    for changed in [&folder, &settings.discarded(), &settings.folder] {
        boot::sync_folder(changed)?;
    }
    boot::sync_folder(replaced)?;
    let end = match control {
        Some(control) => format!(
            "Its last checkpoint was at {} on timeline {}.",
            written(control.checkpoint),
            control.timeline.0
        ),
        None => "Its control file wasn't read; pg_waldump shows what is in it.".to_owned(),
    };
    let text = format!(
        "The whole WAL of {}, which a copy of {}'s data replaced.\n\n{end}\n",
        settings.name, settings.peer_name,
    );
    sys::durable::write(&folder.join(REPORT), text.as_bytes(), 0o600)?;
    Ok(Some(Discarded { archive: Some(folder), ..Discarded::default() }))
}

/// Data of a standby, or a copy that was never started: what it holds, the peer has.
fn is_copy(data: &Path) -> bool {
    standby_signal(data).exists() || data.join("backup_label").exists()
}

/// The name of the newest segment; none if there is no WAL at all.
fn newest_segment(wal: &Path) -> Result<Option<String>, DriverError> {
    let entries = match fs::read_dir(wal) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(about("read", wal))?,
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| segment(name).is_some()).max())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_numbered() {
        assert_eq!(segment("00000002000000010000000A"), Some((2, 256 + 10)));
        assert_eq!(segment("00000002.history"), None);
        assert_eq!(segment("00000002000000010000000A.partial"), None);
        assert_eq!(SEGMENTS_PER_NAME, 256);
    }

    #[test]
    fn commits_are_counted_and_listed() {
        let mut commits = Commits::default();
        for line in [
            "rmgr: Transaction len (rec/tot):     34/    34, tx:        735, lsn: 0/01530BE8, prev \
             0/01530BA8, desc: COMMIT 2026-11-27 20:00:00.123456 UTC",
            "rmgr: Transaction len (rec/tot):     34/    34, tx:        736, lsn: 0/01530C18, prev \
             0/01530BE8, desc: ABORT 2026-11-27 20:00:01.123456 UTC",
        ] {
            commits.take(line);
        }
        assert_eq!(commits.count, 1);
        assert_eq!(
            commits.listed,
            ["0/01530BE8  transaction 735  COMMIT 2026-11-27 20:00:00.123456 UTC"]
        );
    }

    #[test]
    fn what_was_dropped_is_said_in_words() {
        let archive = Some(PathBuf::from("/state/postgres/discarded/x"));
        let some = Discarded { bytes: Some(96), transactions: Some(2), archive };
        let text = some.to_string();
        let told = "96 bytes of WAL with 2 transactions, kept in /state/postgres/discarded/x";
        assert_eq!(text, told);
        assert_eq!(written(Lsn(0x1_0300_0148)), "1/3000148");
    }

    const SEGMENT: &str = "000000010000000000000003";

    /// A node with a log, and where that is.
    fn node(folder: &Path) -> (Settings, PathBuf) {
        let settings = Settings::example(folder);
        let log = settings.data().join("pg_wal");
        fs::create_dir_all(&log).expect("a folder");
        (settings, log)
    }

    #[test]
    fn an_archive_that_finds_no_room_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let (settings, log) = node(folder.path());
        let names = [SEGMENT, "000000010000000000000004"];
        fs::write(log.join(names[0]), "dropped").expect("a segment");
        // A folder can't be copied, and the second segment is as far as this one gets.
        fs::create_dir(log.join(names[1])).expect("a folder");
        let fork = Fork { timeline: 1, at: Lsn(3 * SEGMENT_BYTES) };
        let end = (Timeline(1), Lsn(4 * SEGMENT_BYTES));
        assert!(archive(&settings, end, fork, None).is_err());
        let archived = settings.discarded().join("timeline-1-from-0-3000000");
        assert!(settings.discarded().exists() && !archived.exists());

        fs::remove_dir(log.join(names[1])).expect("gone");
        archive(&settings, end, fork, None).expect("archived");
        assert!(!is_unfinished(&archived).expect("read"));
        // One that is whole stays, whatever comes of another drop from the same place.
        fs::create_dir(log.join(names[1])).expect("a folder");
        let later = (Timeline(1), Lsn(5 * SEGMENT_BYTES));
        assert!(archive(&settings, later, fork, None).is_err());
        assert!(archived.join(REPORT).exists() && archived.join(SEGMENT).exists());
        assert!(!settings.discarded().join("timeline-1-from-0-3000000-2").exists());
    }

    /// A rewind that was cut off has put the leader's log in the place of its own.
    #[test]
    fn a_rewind_that_is_begun_again_writes_nothing_over_the_archive() {
        let folder = tempfile::tempdir().expect("a folder");
        let (settings, log) = node(folder.path());
        let fork = Fork { timeline: 1, at: Lsn(3 * SEGMENT_BYTES) };
        let end = (Timeline(1), Lsn(3 * SEGMENT_BYTES + 96));
        let commits = Commits { count: 2, listed: Vec::new() };
        fs::write(log.join(SEGMENT), "only here").expect("a segment");
        let first = archive(&settings, end, fork, Some(&commits)).expect("archived");
        fs::write(log.join(SEGMENT), "the leader's").expect("a segment");
        assert_eq!(archive(&settings, end, fork, None).expect("archived"), first);
        let kept = |folder: &Option<PathBuf>| {
            fs::read_to_string(folder.as_ref().expect("a folder").join(SEGMENT)).expect("a segment")
        };
        assert_eq!(kept(&first.archive), "only here");

        let later = (Timeline(1), Lsn(3 * SEGMENT_BYTES + 200));
        let other = archive(&settings, later, fork, None).expect("archived");
        assert_ne!(other.archive, first.archive);
        assert_eq!(
            (kept(&other.archive), kept(&first.archive)),
            ("the leader's".to_owned(), "only here".to_owned())
        );
    }

    /// Data in the place where a copy leaves what it replaced.
    fn replaced(settings: &Settings, marks: &[&str]) -> PathBuf {
        let clone = settings.clone_data();
        fs::create_dir_all(clone.join("pg_wal")).expect("a folder");
        fs::write(clone.join("pg_wal").join(SEGMENT), "only here").expect("a segment");
        for mark in marks {
            fs::write(clone.join(mark), "").expect("a file");
        }
        clone
    }

    fn kept(settings: &Settings) -> Vec<String> {
        let folders = fs::read_dir(settings.discarded()).into_iter().flatten().flatten();
        let whole = folders.filter(|folder| {
            let segment = folder.path().join("pg_wal").join(SEGMENT);
            fs::read(segment).is_ok_and(|bytes| bytes == b"only here")
        });
        let mut names: Vec<String> =
            whole.filter_map(|folder| folder.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_replaced_primary_is_kept_by_a_boot_and_never_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = Settings::example(folder.path());
        let first = format!("replaced-with-{SEGMENT}");
        for expected in [vec![first.clone()], vec![first.clone(), format!("{first}-2")]] {
            // A control file that can't be read doesn't make it worthless.
            let clone = replaced(&settings, &["PG_VERSION"]);
            boot::data(&settings, &|_| {});
            assert!(!clone.exists());
            assert_eq!(kept(&settings), expected);
        }
    }

    #[test]
    fn what_the_peer_has_is_not_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = Settings::example(folder.path());
        for mark in ["standby.signal", "backup_label"] {
            let clone = replaced(&settings, &[mark]);
            boot::data(&settings, &|line| panic!("{line}"));
            assert!(!clone.exists());
            assert!(kept(&settings).is_empty());
        }
    }

    #[test]
    fn what_cannot_be_kept_stays_where_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = Settings::example(folder.path());
        let clone = replaced(&settings, &[]);
        fs::write(settings.discarded(), "in the way").expect("a file");
        let said = std::cell::RefCell::new(String::new());
        boot::data(&settings, &|line| said.borrow_mut().push_str(line));
        assert!(clone.join("pg_wal").join(SEGMENT).exists(), "{}", said.borrow());
        assert!(said.borrow().contains("stays"), "{}", said.borrow());
    }
}
