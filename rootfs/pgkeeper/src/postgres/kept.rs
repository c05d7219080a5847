//! The folder of what repairs dropped doesn't grow without limit: nobody comes to empty it.
//!
//! Before something is added, those that were never finished go: nothing was dropped for them yet.
//! Then some go until there are few enough and they take no more than their share of the disk:
//! first those that hold a report and nothing else, since no commit was lost there, then the others,
//! in each the oldest. The newest always stays: it is what people are told of.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::discarded::{REPORT, is_unfinished};
use super::settings::Settings;

/// So many are kept. Most are a report of some hundred bytes.
const MOST: usize = 32;
/// Of the disk they may take one part in so many, besides the newest.
const SHARE: u64 = 8;

/// One folder of what was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    path: PathBuf,
    made: SystemTime,
    bytes: u64,
    /// There is more than the report: commits that were lost can be looked for.
    has_log: bool,
}

/// Deletes what is too old or too much, and says so.
pub(super) fn bound(settings: &Settings, say: &dyn Fn(&str)) {
    let folder = settings.discarded();
    let deleted = delete_unfinished(&folder, say).and_then(|()| look(&folder)).and_then(|kept| {
        let disk = rustix::fs::statvfs(&folder)?;
        let share = disk.f_blocks.saturating_mul(disk.f_frsize) / SHARE;
        for old in too_much(kept, MOST, share) {
            fs::remove_dir_all(&old.path)?;
            let Kept { path, bytes, .. } = old;
            say(&format!("{} ({bytes} bytes) is deleted: others are kept", path.display()));
        }
        Ok(())
    });
    match deleted {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            say(&format!("what is kept in {} can't be bounded: {error}", folder.display()));
        }
        _ => {}
    }
}

/// Whatever the limits: an interrupted archive may be the newest, and may have taken all the room.
fn delete_unfinished(folder: &Path, say: &dyn Fn(&str)) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && is_unfinished(&entry.path())? {
            fs::remove_dir_all(entry.path())?;
            say(&format!("{} was never finished, and is deleted", entry.path().display()));
        }
    }
    Ok(())
}

/// What has to go: the least wanted beyond a number, and those beyond a sum, but never the newest.
fn too_much(mut kept: Vec<Kept>, most: usize, share: u64) -> Vec<Kept> {
    kept.sort_by(|one, other| (other.made, &other.path).cmp(&(one.made, &one.path)));
    if let Some((_newest, others)) = kept.split_first_mut() {
        others.sort_by_key(|folder| !folder.has_log);
    }
    let mut sum: u64 = 0;
    let stay = kept.iter().take(most).take_while(|folder| {
        sum = sum.saturating_add(folder.bytes);
        sum <= share
    });
    let stay = stay.count().max(1).min(kept.len());
    kept.split_off(stay)
}

fn look(folder: &Path) -> io::Result<Vec<Kept>> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            let path = entry.path();
            let (made, bytes, has_log) = (metadata.modified()?, size(&path)?, has_log(&path)?);
            kept.push(Kept { path, made, bytes, has_log });
        }
    }
    Ok(kept)
}

fn has_log(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        if entry?.file_name() != REPORT {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the files below a folder hold.
pub(super) fn size(folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use super::*;

    fn aged(sizes: &[u64]) -> Vec<Kept> {
        let made = |age| SystemTime::UNIX_EPOCH + Duration::from_secs(age);
        let with = |(age, bytes): (u64, &u64)| Kept {
            path: PathBuf::from(age.to_string()),
            made: made(age),
            bytes: *bytes,
            has_log: *bytes > 1,
        };
        (0..).zip(sizes).map(with).collect()
    }

    fn gone(sizes: &[u64], most: usize, share: u64) -> Vec<String> {
        let gone = too_much(aged(sizes), most, share);
        gone.iter().map(|folder| folder.path.display().to_string()).collect()
    }

    #[test]
    fn the_oldest_go_first_and_the_newest_never() {
        assert_eq!(gone(&[5, 5, 5], 3, 15), [""; 0]);
        assert_eq!(gone(&[5, 5, 5], 2, 15), ["0"]);
        assert_eq!(gone(&[5, 5, 5], 3, 12), ["0"]);
        assert_eq!(gone(&[5, 5, 50], 3, 12), ["1", "0"]);
        assert_eq!(gone(&[50], 3, 12), [""; 0]);
        assert_eq!(gone(&[], 3, 12), [""; 0]);
    }

    #[test]
    fn a_report_alone_goes_before_any_log() {
        assert_eq!(gone(&[5, 1, 5, 1, 5], 4, 99), ["1"]);
        assert_eq!(gone(&[5, 1, 5, 1, 5], 3, 99), ["3", "1"]);
        assert_eq!(gone(&[5, 5, 1], 2, 99), ["0"], "the newest stays");
    }

    #[test]
    fn folders_beyond_the_number_are_deleted_and_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = Settings::example(folder.path());
        let made: Vec<PathBuf> =
            (0..MOST + 2).map(|number| settings.discarded().join(number.to_string())).collect();
        for (age, path) in (1..).zip(&made) {
            fs::create_dir_all(path.join("pg_wal")).expect("a folder");
            fs::write(path.join("pg_wal/segment"), "dropped").expect("a file");
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(age);
            fs::File::open(path).and_then(|file| file.set_modified(at)).expect("dated");
        }
        let said = RefCell::new(Vec::new());
        bound(&settings, &|line| said.borrow_mut().push(line.to_owned()));
        let left: Vec<bool> = made.iter().map(|path| path.exists()).collect();
        assert_eq!(left.iter().position(|there| *there), Some(2), "{left:?}");
        assert_eq!(left.iter().filter(|there| **there).count(), MOST);
        let said = said.borrow();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said.iter().all(|line| line.contains("(7 bytes) is deleted")), "{said:?}");
    }

    #[test]
    fn an_interrupted_archive_goes_although_it_is_the_newest() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = Settings::example(folder.path());
        let segment = "000000010000000000000003";
        let make = |name: &str, file: &str| {
            let path = settings.discarded().join(name).join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(&path, "dropped").expect("a file");
        };
        make("whole", REPORT);
        make("whole", segment);
        make("replaced", &format!("pg_wal/{segment}"));
        make("somebody's", "note");
        make("interrupted", segment);
        make("interrupted", ".report.txt.new");
        let said = RefCell::new(Vec::new());
        bound(&settings, &|line| said.borrow_mut().push(line.to_owned()));
        let is_left = |name: &str| settings.discarded().join(name).exists();
        assert!(!is_left("interrupted"));
        assert!(["whole", "replaced", "somebody's"].into_iter().all(is_left));
        assert!(said.borrow()[0].contains("interrupted was never finished"), "{said:?}");
        assert_eq!(said.borrow().len(), 1, "{said:?}");
    }

    #[test]
    fn without_the_folder_there_is_nothing_to_say() {
        let folder = tempfile::tempdir().expect("a folder");
        bound(&Settings::example(folder.path()), &|line| panic!("{line}"));
    }
}
