//! The one way to write to the state partition: all of it or nothing, even if the power goes.
//!
//! The new contents go to a file beside, reach the disk, and then take the name; at last the
//! folder's entry reaches the disk too. Whoever reads the name finds the old contents or the new
//! ones, never a part. When the call returns without an error, the new ones survive a power cut.
//!
//! Logs are the exception, and `logd` says why: they grow line by line and may lose their end.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use thiserror::Error;

/// What the file beside has in front of and behind the name. Its end tells whoever finds one after
/// a power cut that it may be deleted; the next write of the same name overwrites it.
const BESIDE: (&str, &str) = (".", ".new");

#[derive(Debug, Error)]
pub enum DurableError {
    #[error("{} names no file: give a path that ends with a file's name", path.display())]
    NoName { path: PathBuf },
    #[error("{} keeps its old contents: can't {step} {}: {source}", path.display(), beside.display())]
    Unchanged { path: PathBuf, beside: PathBuf, step: &'static str, source: io::Error },
    /// The new contents have the name, but a power cut may bring back the old ones.
    #[error("{} is written, but may not survive a power cut: can't sync its folder: {source}",
            path.display())]
    Unsure { path: PathBuf, source: io::Error },
}

/// Writes a file with these permission bits, whatever the umask, in a folder that exists. There is
/// one writer of a name at a time: two would share the file beside.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DurableError> {
    let Some(name) = path.file_name() else {
        return Err(DurableError::NoName { path: path.to_owned() });
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let beside = folder.join(beside_name(name));
    let prepared = prepare(&beside, bytes, mode)
        .and_then(|()| fs::rename(&beside, path).map_err(|source| ("rename", source)));
    if let Err((step, source)) = prepared {
        // It may not exist, and a disk that refuses this too has said enough.
        let _gone = fs::remove_file(&beside);
        return Err(DurableError::Unchanged { path: path.to_owned(), beside, step, source });
    }
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| DurableError::Unsure { path: path.to_owned(), source })
}

/// Makes sure that what a file holds now survives a power cut. Whoever acts on what was read needs
/// it: a writer that was killed before its last step, or failed in it, leaves a name whose new
/// contents are in the kernel's memory only. It takes no room, so a full disk is no obstacle.
pub fn confirm(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn beside_name(name: &OsStr) -> OsString {
    let (before, behind) = BESIDE;
    let mut beside = OsString::from(before);
    beside.push(name);
    beside.push(behind);
    beside
}

/// Brings the contents to the disk; an error names the step that failed.
fn prepare(beside: &Path, bytes: &[u8], mode: u32) -> Result<(), (&'static str, io::Error)> {
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .custom_flags(no_follow)
        .open(beside)
        .map_err(|source| ("create", source))?;
    // Also a file that a power cut left gets the right bits, before it gets its contents.
    let permissions = fs::Permissions::from_mode(mode);
    file.set_permissions(permissions).map_err(|source| ("set the mode of", source))?;
    file.write_all(bytes).map_err(|source| ("write", source))?;
    file.sync_all().map_err(|source| ("sync", source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder").flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o7777
    }

    #[test]
    fn new_contents_take_the_place_of_the_old() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("register");
        write(&path, b"one", 0o600).expect("written");
        write(&path, b"two", 0o644).expect("written again");
        assert_eq!(fs::read(&path).expect("readable"), b"two");
        assert_eq!(mode(&path), 0o644);
        assert_eq!(names(folder.path()), ["register"]);
    }

    #[test]
    fn what_is_there_can_be_confirmed_and_what_is_not_cannot() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("register");
        assert!(confirm(&path).is_err());
        write(&path, b"one", 0o600).expect("written");
        confirm(&path).expect("on the disk");
        assert_eq!(fs::read(&path).expect("readable"), b"one");
    }

    #[test]
    fn what_a_power_cut_left_is_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(".register.new"), "half of something longer").expect("left");
        let path = folder.path().join("register");
        write(&path, b"whole", 0o600).expect("written");
        assert_eq!(fs::read(&path).expect("readable"), b"whole");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(names(folder.path()), ["register"]);
    }

    #[test]
    fn readers_keep_the_file_that_they_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("register");
        write(&path, b"old", 0o600).expect("written");
        let opened = File::open(&path).expect("readable");
        write(&path, b"new", 0o600).expect("written again");
        assert_eq!(io::read_to_string(opened).expect("readable"), "old");
    }

    #[test]
    fn a_failure_leaves_the_old_contents_and_nothing_beside() {
        let folder = tempfile::tempdir().expect("a folder");
        // A folder that isn't empty can't be replaced by a file: the last step fails.
        let path = folder.path().join("register");
        fs::create_dir_all(path.join("inside")).expect("a folder");
        let error = write(&path, b"new", 0o600).expect_err("refused");
        assert!(error.to_string().contains("register keeps its old contents: can't rename"));
        assert_eq!(names(folder.path()), ["register"]);
        let absent = folder.path().join("absent/register");
        let error = write(&absent, b"new", 0o600).expect_err("no folder").to_string();
        assert!(error.contains("absent/register") && error.contains("can't create"), "{error}");
        assert!(matches!(write(Path::new("/"), b"", 0), Err(DurableError::NoName { .. })));
    }

    #[test]
    fn a_link_beside_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").expect("written");
        std::os::unix::fs::symlink(&victim, folder.path().join(".register.new")).expect("a link");
        write(&folder.path().join("register"), b"new", 0o600).expect_err("refused");
        assert_eq!(fs::read(&victim).expect("there"), b"precious");
    }
}
