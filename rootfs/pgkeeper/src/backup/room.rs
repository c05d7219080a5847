//! Room for base backups in a directory. It is on the database's disk, which must not become full.
//!
//! ```text
//!  before:  free >= what the next one takes + BEGINS_WITH * least     or it isn't begun
//!  during:  free >= LEAVES * least, every LOOK                        or it is broken off
//!  after one that failed, and when the service starts: what is incomplete is deleted
//! ```
//!
//! pgBackRest looks at no room, deletes the oldest backup only when the newest is made, and deletes
//! what an attempt left only in the next one. On a node that doesn't lead there is no next one.
//!
//! `least` is what the keeper wants to see free; with less than that a leader hands over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::config::Config;
use super::error::BackupError;
use super::say;
use crate::keeper::config::Disk;

const MIB: u64 = 1 << 20;
/// The keeper's least is at most this share of the whole, as there.
const SHARE_OF_ALL: u64 = 10;
/// What stays free, in the keeper's least: a backup writes on until it is ended.
const LEAVES: u64 = 2;
/// What stays free if the next backup is as large as the last, which it rarely is.
const BEGINS_WITH: u64 = 3;
/// What a complete backup has; pgBackRest writes it last and deletes it first.
const MANIFEST: &str = "backup.manifest";
/// PostgreSQL's log, which no base backup holds.
const LOG: &str = "pg_wal";

/// The room on a disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    free: u64,
    all: u64,
}

impl Room {
    /// None if it can't be told.
    pub(super) fn look(path: &Path) -> Option<Self> {
        // pgBackRest makes the folders of its repository itself.
        let disk = path.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok())?;
        let size = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Some(Self { free: size(disk.f_bavail), all: size(disk.f_blocks) })
    }

    fn least(self) -> u64 {
        (Disk::default().least_free_mib * MIB).min(self.all / SHARE_OF_ALL)
    }

    /// What a backup of this size is begun with.
    fn to_begin(self, bytes: u64) -> u64 {
        bytes.saturating_add(self.least() * BEGINS_WITH)
    }

    fn to_leave(self) -> u64 {
        self.least() * LEAVES
    }
}

/// A repository on this node.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    repository: PathBuf,
    stanza: String,
    look: fn(&Path) -> Option<Room>,
}

impl Directory {
    /// None if backups go elsewhere.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let repository = config.repository()?;
        Some(Self { repository, stanza: config.stanza.clone(), look: Room::look })
    }

    /// Whether a backup of this size can be begun.
    pub(super) fn begin(&self, bytes: u64) -> Result<(), BackupError> {
        let Some(room) = (self.look)(&self.repository) else { return Ok(()) };
        let needed = room.to_begin(bytes);
        if room.free >= needed {
            return Ok(());
        }
        Err(BackupError::NoRoom {
            repository: self.repository.clone(),
            free_mib: room.free / MIB,
            needed_mib: needed.div_ceil(MIB),
        })
    }

    /// Why a backup must not go on.
    pub(super) fn filling(&self) -> Option<BackupError> {
        let room = (self.look)(&self.repository)?;
        (room.free < room.to_leave()).then(|| BackupError::Filling {
            repository: self.repository.clone(),
            free_mib: room.free / MIB,
            least_mib: room.to_leave().div_ceil(MIB),
        })
    }

    /// Says of a failure what comes of it.
    pub(super) fn unmade(&self, why: BackupError) -> BackupError {
        match why {
            BackupError::Ending(_) => why,
            why => BackupError::ArchiveGrows {
                why: Box::new(why),
                repository: self.repository.clone(),
            },
        }
    }

    /// Deletes backups that aren't complete. There must be none under way.
    pub(super) fn clear(&self) {
        let folder = self.repository.join("backup").join(&self.stanza);
        let cleared = incomplete(&folder).and_then(|backups| {
            for backup in backups {
                fs::remove_dir_all(&backup)?;
                say(&format!("{} wasn't complete, and is deleted", backup.display()));
            }
            Ok(())
        });
        match cleared {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let folder = folder.display();
                say(&format!("incomplete backups in {folder} can't be deleted: {error}"));
            }
            _ => {}
        }
    }
}

/// The folders of backups that can't be used: those without a manifest.
fn incomplete(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_backup = entry.file_name().to_str().is_some_and(is_label);
        // Not what a link leads to: `latest` is one.
        if is_backup && entry.file_type()?.is_dir() && !entry.path().join(MANIFEST).try_exists()? {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// `20261120-115500F`, and behind a `_` the same with `D` or `I` if it builds on that one.
fn is_label(name: &str) -> bool {
    let is_part = |part: &str, kinds: &str| {
        part.len() == 16
            && part.chars().enumerate().all(|(at, c)| match at {
                8 => c == '-',
                15 => kinds.contains(c),
                _ => c.is_ascii_digit(),
            })
    };
    match name.split_once('_') {
        None => is_part(name, "F"),
        Some((full, next)) => is_part(full, "F") && is_part(next, "DI"),
    }
}

/// What a first base backup may take: the size of the data without its log.
pub(super) fn of_data(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if !metadata.is_dir() => metadata.len(),
        Ok(_) if entry.file_name() != LOG => of_data(&entry.path()),
        // A table that was dropped meanwhile.
        _ => 0,
    };
    entries.map(size).fold(0, u64::saturating_add)
}

#[cfg(test)]
impl Directory {
    /// One in this folder, on a disk with this room.
    pub(super) fn example(repository: &Path, look: fn(&Path) -> Option<Room>) -> Self {
        Self { repository: repository.to_owned(), stanza: "plant3".to_owned(), look }
    }
}

#[cfg(test)]
impl Room {
    /// Of a disk that is large enough for the keeper's 128 MiB.
    pub(super) fn example(free_mib: u64) -> Self {
        Self { free: free_mib * MIB, all: 10_000 * MIB }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_begins_and_goes_on_with_room_for_the_database_only() {
        let path = Path::new("/state/backup");
        let with = |look| Directory::example(path, look);
        let much = with(|_| Some(Room::example(484)));
        assert!(much.begin(100 * MIB).is_ok());
        let why = much.begin(100 * MIB + 1).unwrap_err().to_string();
        assert!(why.contains("484 MiB free") && why.contains("with 485:"), "{why}");
        assert!(why.contains("`keep`") && why.contains("S3"), "{why}");
        assert!(with(|_| Some(Room::example(256))).filling().is_none());
        let why = with(|_| Some(Room::example(255))).filling().unwrap().to_string();
        assert!(why.contains("255 MiB free") && why.contains("256 must stay"), "{why}");
        let unknown = with(|_| None);
        assert!(unknown.begin(u64::MAX).is_ok() && unknown.filling().is_none());
    }

    #[test]
    fn a_small_disk_keeps_a_part_of_itself() {
        let room = Room { free: 0, all: 500 * MIB };
        assert_eq!(room.to_leave(), 100 * MIB);
        assert_eq!(room.to_begin(MIB), 151 * MIB);
    }

    #[test]
    fn a_real_disk_has_room_also_where_the_folder_is_not_made_yet() {
        let folder = tempfile::tempdir().unwrap();
        let there = Room::look(folder.path()).unwrap();
        assert!(there.free > 0 && there.all >= there.free);
        assert_eq!(Room::look(&folder.path().join("a/b")).unwrap().all, there.all);
    }

    #[test]
    fn what_is_incomplete_is_deleted_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let backups = folder.path().join("backup/plant3");
        let whole = backups.join("20261120-115500F");
        let half = backups.join("20261121-115500F");
        let half_of_it = backups.join("20261120-115500F_20261121-000000I");
        for path in [&whole, &half, &half_of_it] {
            fs::create_dir_all(path.join("pg_data")).unwrap();
            fs::write(path.join("backup.manifest.copy"), "").unwrap();
        }
        fs::write(whole.join(MANIFEST), "").unwrap();
        let others = ["backup.history", "20261122-115500", "20261122-115500F.old"];
        let others = others.map(|name| backups.join(name));
        for path in &others {
            fs::create_dir(path).unwrap();
        }
        std::os::unix::fs::symlink(&others[0], backups.join("20261123-115500F")).unwrap();
        let directory = Directory::example(folder.path(), |_| None);
        directory.clear();
        assert!(whole.exists() && !half.exists() && !half_of_it.exists());
        assert!(others.iter().all(|path| path.exists()));
        assert!(backups.join("20261123-115500F").exists());
        // No repository yet.
        Directory::example(&folder.path().join("none"), |_| None).clear();
    }

    #[test]
    fn the_first_backup_is_as_large_as_the_data() {
        let data = tempfile::tempdir().unwrap();
        for name in ["base/5", "pg_wal"] {
            fs::create_dir_all(data.path().join(name)).unwrap();
        }
        for name in ["base/5/1", "base/5/2", "PG_VERSION", "pg_wal/1"] {
            fs::write(data.path().join(name), "12345").unwrap();
        }
        assert_eq!(of_data(data.path()), 15);
        assert_eq!(of_data(&data.path().join("none")), 0);
    }
}
