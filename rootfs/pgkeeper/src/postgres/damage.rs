//! Pages whose checksums are wrong, in a database that was copied all the same.
//!
//! ```text
//!  /state/postgres/damaged.txt  from before such a copy takes the data's place
//!                  replaced/    what it replaced, if the disk has room for that and another copy
//! ```
//!
//! What the copy replaced may have the last sound copy of those pages. It stays until this node has
//! copied a sound database, and people are told until then, or until a restore.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use failover::Data;
use rustix::fs::statvfs;

use super::boot;
use super::error::{DriverError, about};
use super::kept;
use super::settings::Settings;

const TOLD: &str = "The leader's database had pages with wrong checksums when it was copied to this \
                    node.\nWhat this node had before is in `replaced`, if there was room for it.\n";
/// What is kept leaves so much of the disk free besides room for another copy: what a slot may keep of
/// the log at most.
const SPARE_PART: u64 = 8;
const SPARE_MOST: u64 = 4 << 30;

fn mark(folder: &Path) -> PathBuf {
    folder.join("damaged.txt")
}

/// What a damaged copy has replaced.
fn replaced(folder: &Path) -> PathBuf {
    folder.join("replaced")
}

/// Remembers that a damaged copy is about to take the data's place. If it then doesn't, the next copy
/// tells anew.
pub(super) fn remember(settings: &Settings) -> Result<(), DriverError> {
    sys::durable::write(&mark(&settings.folder), TOLD.as_bytes(), 0o600)?;
    Ok(())
}

/// Whether this node has a damaged copy.
pub(super) fn is_remembered(settings: &Settings) -> bool {
    mark(&settings.folder).exists()
}

/// This node has copied a sound database.
pub(super) fn forget(folder: &Path) -> io::Result<()> {
    remove_replaced(folder)?;
    no_longer_tell(folder)
}

/// This node's data isn't the damaged copy any more. What that replaced stays: it may be newer than what
/// is there now.
pub(crate) fn no_longer_tell(folder: &Path) -> io::Result<()> {
    match fs::remove_file(mark(folder)) {
        Ok(()) => File::open(folder)?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn remove_replaced(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(replaced(folder)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Moves what a damaged copy has replaced away from where it would be deleted. What an earlier one
/// replaced stays instead: it is older, and may be from before the damage.
pub(super) fn keep_replaced(settings: &Settings, say: &dyn Fn(&str)) -> Result<(), DriverError> {
    let (clone, place) = (settings.clone_data(), replaced(&settings.folder));
    // A copy that was never put into its place is no loss: the peer has it.
    let is_data = boot::what_is(&clone) != Data::Missing && !clone.join("backup_label").exists();
    if !is_remembered(settings) || !is_data || place.exists() {
        return Ok(());
    }
    if !has_room_beside(&settings.folder, &clone) {
        say("the disk has no room for what the damaged copy replaced, so that is deleted");
        return Ok(());
    }
    fs::rename(&clone, &place).map_err(about("keep replaced data in", &place))?;
    boot::sync_folder(&settings.folder)?;
    say(&format!("what the damaged copy replaced is kept in {}", place.display()));
    Ok(())
}

/// A node that can't be copied to is worth less than what was kept.
pub(super) fn make_room(settings: &Settings, say: &dyn Fn(&str)) {
    let place = replaced(&settings.folder);
    if place.exists() && !has_room_beside(&settings.folder, &settings.data()) {
        match remove_replaced(&settings.folder) {
            Ok(()) => say(&format!("{} is deleted: a copy needs its room", place.display())),
            Err(error) => say(&format!("{} can't be deleted: {error}", place.display())),
        }
    }
}

/// Whether there is room for another folder of this size. Where that can't be told, there is none.
fn has_room_beside(folder: &Path, data: &Path) -> bool {
    let Ok(disk) = statvfs(folder) else { return false };
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    let spare = (bytes(disk.f_blocks) / SPARE_PART).min(SPARE_MOST);
    kept::size(data).is_ok_and(|size| bytes(disk.f_bavail) >= size.saturating_add(spare))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn data(folder: &Path) {
        fs::create_dir_all(folder.join("global")).expect("a folder");
        fs::write(folder.join("global/pg_control"), [0; 8192]).expect("a file");
        fs::write(folder.join("PG_VERSION"), "17").expect("a file");
    }

    #[test]
    fn only_what_a_damaged_copy_replaced_is_kept_and_the_first_of_several() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = Settings::example(folder.path());
        let (clone, place) = (settings.clone_data(), replaced(folder.path()));
        let said = RefCell::new(Vec::new());
        let keep = || {
            keep_replaced(&settings, &|line| said.borrow_mut().push(line.to_owned()))
                .expect("kept");
        };
        data(&clone);
        keep();
        assert!(clone.exists() && !place.exists(), "no damage is known");
        remember(&settings).expect("remembered");
        fs::write(clone.join("backup_label"), "").expect("a file");
        keep();
        assert!(clone.exists() && !place.exists(), "a copy that was never used");
        fs::remove_file(clone.join("backup_label")).expect("removed");
        fs::write(clone.join("first"), "").expect("a file");
        keep();
        assert!(!clone.exists() && place.join("first").exists(), "{said:?}");
        data(&clone);
        keep();
        assert!(clone.exists() && place.join("first").exists(), "the first one stays");
        forget(folder.path()).expect("forgotten");
        assert!(!is_remembered(&settings) && !place.exists());
        forget(folder.path()).expect("nothing is there any more");
        assert_eq!(said.borrow().len(), 1, "{said:?}");
    }

    #[test]
    fn there_is_no_room_beside_what_is_as_large_as_the_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let large = folder.path().join("data");
        data(&large);
        assert!(has_room_beside(folder.path(), &large));
        let disk = statvfs(folder.path()).expect("a disk");
        let sparse = File::create(large.join("sparse")).expect("a file");
        sparse.set_len(disk.f_bavail * disk.f_frsize).expect("its length");
        assert!(!has_room_beside(folder.path(), &large));
    }
}
