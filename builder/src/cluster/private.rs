//! A folder that only its owner can read, and that only one builder changes at a time.
//!
//! Files appear whole or not at all: written beside, synced, renamed, and the folder synced. A
//! folder or file that others could read is refused rather than mended silently, because what was
//! readable may already have been read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::unfinished::{Unfinished, UnfinishedError, mend};

/// Permissions of the folder, and of the files in it.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Bits of a mode that let others in.
const OTHERS: u32 = 0o077;
/// The largest file that is read; a chain of several certificates has a few KiB.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// Making all certificates of a site takes a second, so after this long somebody hangs.
const LOCK_WAIT: Duration = Duration::from_mins(1);
const LOCK_POLL: Duration = Duration::from_millis(20);
/// The lock lies beside the files, so that it is as private as they are.
const LOCK_NAME: &str = ".lock";
/// Keeps a whole folder out of a Git repository that someone commits with `git add .`.
const GIT_IGNORE: (&str, &str) = (".gitignore", "*\n");

/// Why a private folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// The operating system refused.
    #[error("{}: {source}{}", path.display(), mend(source))]
    Io { path: PathBuf, source: io::Error },
    /// Others can read what must be secret.
    #[error(
        "{} can be read by others (mode {mode:03o}): run `chmod {wanted:03o} {}`; if others use \
         this machine, take its keys for known and remove the whole folder instead",
        path.display(),
        path.display()
    )]
    TooOpen { path: PathBuf, mode: u32, wanted: u32 },
    /// There is something, but not a folder.
    #[error("{} is no folder: remove or rename it", path.display())]
    NoFolder { path: PathBuf },
    /// The file is no certificate, key or list of tokens.
    #[error(
        "{} is no secret of a site (larger than {MAX_FILE_BYTES} bytes, or no text): remove it",
        path.display()
    )]
    Foreign { path: PathBuf },
    /// Somebody else works in the folder and doesn't end.
    #[error(
        "{} is in use by another builder for more than {} s: let it finish, or end it",
        path.display(),
        LOCK_WAIT.as_secs()
    )]
    Busy { path: PathBuf },
}

/// A private folder, locked until this is dropped.
#[derive(Debug)]
pub(super) struct PrivateFolder {
    path: PathBuf,
    /// Closing it gives the lock back.
    _lock: File,
}

impl PrivateFolder {
    /// Opens the folder, making it if need be, and waits for its lock.
    pub(super) fn open(path: &Path) -> Result<Self, PrivateError> {
        make_folder(path)?;
        let folder = Self { path: path.to_owned(), _lock: lock(path)? };
        if !folder.path.join(GIT_IGNORE.0).exists() {
            folder.write(GIT_IGNORE.0, GIT_IGNORE.1)?;
        }
        Ok(folder)
    }

    /// Where the folder is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The text of a file, or nothing if there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, PrivateError> {
        let path = self.path.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrap(&path, error)),
        };
        let mode = file.metadata().map_err(|error| wrap(&path, error))?.permissions().mode();
        refuse_open(&path, mode, FILE_MODE)?;
        let mut text = String::new();
        match file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text) {
            Ok(_) if text.len() as u64 <= MAX_FILE_BYTES => Ok(Some(text)),
            Ok(_) => Err(PrivateError::Foreign { path }),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(PrivateError::Foreign { path })
            }
            Err(error) => Err(wrap(&path, error)),
        }
    }

    /// Writes a file whole; its folder is made if need be.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), PrivateError> {
        let path = self.path.join(name);
        let folder = path.parent().unwrap_or(&self.path);
        make_folder(folder)?;
        write_whole(&path, text, Existing::Replace)
    }
}

/// What to do when there already is a file of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// The new file takes its place.
    Replace,
    /// The file stays and the call fails, even if it appeared only now.
    Keep,
}

/// Writes a private file so that it is there whole, on disk, or not at all.
pub(super) fn write_whole(path: &Path, text: &str, existing: Existing) -> Result<(), PrivateError> {
    let unfinished = Unfinished::create_private(path)?;
    unfinished.file().write_all(text.as_bytes()).map_err(|error| wrap(path, error))?;
    match existing {
        Existing::Replace => unfinished.finish()?,
        Existing::Keep => unfinished.finish_new()?,
    };
    Ok(())
}

/// Makes a folder that only its owner can enter, and refuses one that others can.
pub(super) fn make_folder(path: &Path) -> Result<(), PrivateError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(FOLDER_MODE);
    match builder.create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let path = path.to_owned();
            return Err(PrivateError::NoFolder { path });
        }
        Err(error) => return Err(wrap(path, error)),
    }
    let mode = fs::metadata(path).map_err(|error| wrap(path, error))?.permissions().mode();
    refuse_open(path, mode, FOLDER_MODE)
}

fn refuse_open(path: &Path, mode: u32, wanted: u32) -> Result<(), PrivateError> {
    if mode & OTHERS == 0 {
        return Ok(());
    }
    Err(PrivateError::TooOpen { path: path.to_owned(), mode: mode & 0o777, wanted })
}

fn lock(folder: &Path) -> Result<File, PrivateError> {
    let path = folder.join(LOCK_NAME);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let file = options.mode(FILE_MODE).open(&path).map_err(|error| wrap(&path, error))?;
    let end = Instant::now() + LOCK_WAIT;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(wrap(&path, error.into())),
        }
        if Instant::now() >= end {
            let path = folder.to_owned();
            return Err(PrivateError::Busy { path });
        }
        thread::sleep(LOCK_POLL);
    }
}

impl From<UnfinishedError> for PrivateError {
    fn from(error: UnfinishedError) -> Self {
        match error {
            UnfinishedError::Create { path, source } | UnfinishedError::Finish { path, source } => {
                Self::Io { path, source }
            }
        }
    }
}

fn wrap(path: &Path, source: io::Error) -> PrivateError {
    PrivateError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unfinished::is_listed;

    #[test]
    fn no_half_written_key_outlives_an_interrupt() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("ca.key");
        // So much that somebody sees it on its way.
        let text = "KEY\n".repeat(16 << 20);
        thread::scope(|scope| {
            let writing = scope.spawn(|| write_whole(&target, &text, Existing::Replace));
            let on_its_way = loop {
                assert!(!writing.is_finished(), "it was never seen");
                let mut entries = fs::read_dir(folder.path()).expect("read").flatten();
                if let Some(entry) = entries.next() {
                    break entry.path();
                }
            };
            assert!(is_listed(&on_its_way), "{}", on_its_way.display());
            writing.join().expect("no panic").expect("written");
        });
        let mode = fs::metadata(&target).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, FILE_MODE);
        let entries = fs::read_dir(folder.path()).expect("read").flatten();
        assert_eq!(entries.map(|entry| entry.path()).collect::<Vec<_>>(), [target]);
    }
}
