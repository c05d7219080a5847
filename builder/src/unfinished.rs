//! Files that are being made: they get their name when they are whole, and vanish otherwise.
//!
//! An error, a panic or a Ctrl-C in the middle must leave nothing under the final name and nothing
//! half-made beside it. The guard removes its file when dropped; for signals, which drop nothing,
//! every guard is also listed here, and the handler removes what the list still names.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use thiserror::Error;

static LISTED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
/// What shells report for a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

#[derive(Debug, Error)]
pub enum UnfinishedError {
    #[error("can't create {}: {source}", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("can't finish {}: {source}{}", path.display(), mend(source))]
    Finish { path: PathBuf, source: io::Error },
}

/// A file on its way to its name.
#[derive(Debug)]
pub struct Unfinished {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

/// What a person can do about a failed write.
pub fn mend(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room there, or choose another folder"
        }
        io::ErrorKind::PermissionDenied => "; choose a folder that you may write to",
        _ => "",
    }
}

fn listed() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    // A set of paths is as good after a panic elsewhere as before.
    LISTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on Ctrl-C and a polite kill remove unfinished files before the process ends.
pub fn remove_on_interrupt() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        for path in listed().iter() {
            // It may have got its name at this very moment, and then it is no longer here.
            let _gone = fs::remove_file(path);
        }
        process::exit(INTERRUPTED);
    })
}

impl Unfinished {
    /// Starts a file that will be `target`, in the same folder, so that the rename is one step.
    pub fn create(target: &Path) -> Result<Self, UnfinishedError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = target.with_file_name(format!(".{name}.{}-{count}.part", process::id()));
        let fail = |source| UnfinishedError::Create { path: path.clone(), source };
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(fail)?;
        }
        listed().insert(path.clone());
        let opened = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        match opened {
            Ok(file) => Ok(Self { file, path, target: target.to_owned() }),
            Err(source) => {
                listed().remove(&path);
                Err(fail(source))
            }
        }
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where the bytes are for now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the bytes durable and gives the file its name, replacing an older one.
    pub fn finish(self) -> Result<PathBuf, UnfinishedError> {
        let fail = |source| UnfinishedError::Finish { path: self.target.clone(), source };
        self.file.sync_all().map_err(fail)?;
        fs::rename(&self.path, &self.target).map_err(fail)?;
        if let Some(folder) = self.target.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)?;
        }
        Ok(self.target.clone())
    }
}

/// Writes a small file whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), UnfinishedError> {
    let unfinished = Unfinished::create(path)?;
    let written = unfinished.file().write_all(bytes);
    written.map_err(|source| UnfinishedError::Finish { path: path.to_owned(), source })?;
    unfinished.finish().map(drop)
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After `finish` there is nothing under this name any more.
        let _gone = fs::remove_file(&self.path);
        listed().remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_name_only_once_it_is_finished() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("deep/image.raw");
        let unfinished = Unfinished::create(&target).expect("created");
        unfinished.file().write_all(b"whole").expect("written");
        assert!(!target.exists());
        unfinished.finish().expect("finished");
        assert_eq!(fs::read(&target).expect("read"), b"whole");
        let left: Vec<_> =
            fs::read_dir(target.parent().expect("a folder")).expect("read").collect();
        assert_eq!(left.len(), 1);
    }

    #[test]
    fn an_abandoned_file_leaves_nothing_and_the_old_one_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("image.raw");
        fs::write(&target, b"old").expect("written");
        drop(Unfinished::create(&target).expect("created"));
        assert_eq!(fs::read(&target).expect("read"), b"old");
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 1);
    }
}
