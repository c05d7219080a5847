//! Files that are being made: they get their name when they are whole, and vanish otherwise.
//!
//! An error, a panic or a Ctrl-C in the middle must leave nothing under the final name and nothing
//! half-made beside it. The same goes for scratch folders and for programs that we started. A guard
//! clears up when dropped; for signals, which drop nothing, every guard is also listed here, and the
//! handler ends and removes what the lists still name.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::{PathPersistError, TempPath};
use thiserror::Error;

static LISTED: Mutex<Listed> =
    Mutex::new(Listed { paths: BTreeSet::new(), processes: BTreeSet::new() });
/// Set for good as soon as an interrupt is there.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// A program that was asked to end gets this long, as QEMU wants to give the terminal back.
const END_LIMIT: Duration = Duration::from_secs(2);
const END_POLL: Duration = Duration::from_millis(10);
/// Permissions of a file that everybody may read, before the umask takes its part.
const PUBLIC_MODE: u32 = 0o666;
/// Permissions of a file that may have a node's keys in it.
const PRIVATE_MODE: u32 = 0o600;
/// What shells report for a program that Ctrl-C ended.
const INTERRUPTED_CODE: i32 = 130;

#[derive(Debug, Error)]
pub enum UnfinishedError {
    #[error("can't create {}: {source}", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("can't finish {}: {source}{}", path.display(), mend(source))]
    Finish { path: PathBuf, source: io::Error },
}

/// What an interrupt clears up.
struct Listed {
    /// Files and folders.
    paths: BTreeSet<PathBuf>,
    /// Children of ours that nobody has waited for yet.
    processes: BTreeSet<u32>,
}

/// A folder for the time of one command.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

/// A program that ends with us.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

/// A file on its way to its name.
#[derive(Debug)]
pub struct Unfinished {
    file: File,
    /// Where it is for now; it goes with this, unless it got its name.
    path: TempPath,
    target: PathBuf,
    /// After the path, as the file is listed for as long as it is there.
    _listing: Listing,
}

/// A path that an interrupt removes.
#[derive(Debug)]
struct Listing(PathBuf);

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

fn listed() -> MutexGuard<'static, Listed> {
    // The sets are as good after a panic elsewhere as before.
    LISTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on Ctrl-C and a polite kill clear up before the process ends.
pub fn remove_on_interrupt() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        INTERRUPTED.store(true, Ordering::SeqCst);
        let processes = listed().processes.clone();
        processes.into_iter().for_each(end_process);
        // The lists stay locked to the end, so that no other thread starts a file meanwhile.
        let left = listed();
        for path in &left.paths {
            // It may have got its name at this very moment, and then it is no longer here.
            let _gone = remove(path);
        }
        process::exit(INTERRUPTED_CODE);
    })
}

/// Returns unless the process was interrupted. Then it is about to end, and what the caller was at
/// has failed because its child was ended, which is nothing to tell.
pub fn wait_if_interrupted() {
    while INTERRUPTED.load(Ordering::SeqCst) {
        thread::park();
    }
}

impl Listing {
    fn of(path: &Path) -> Self {
        listed().paths.insert(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        listed().paths.remove(&self.0);
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// Asks a process to end, and makes it if it doesn't. Whoever waits for it reaps it meanwhile.
fn end_process(id: u32) {
    let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) else { return };
    let started = Instant::now();
    let mut sent = kill_process(pid, Signal::TERM);
    while sent.is_ok() && started.elapsed() < END_LIMIT {
        thread::sleep(END_POLL);
        sent = test_kill_process(pid);
    }
    if sent.is_ok() {
        let _ended = kill_process(pid, Signal::KILL);
    }
}

impl Scratch {
    /// Makes an empty folder in `parent` that only its owner can look into.
    pub fn within(parent: &Path, prefix: &str) -> io::Result<Self> {
        let made = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?;
        let path = made.keep();
        listed().paths.insert(path.clone());
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may have been renamed to its final place, and then there is nothing here.
        let _gone = remove(&self.path);
        listed().paths.remove(&self.path);
    }
}

impl Running {
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        // The interrupt's handler ends what is listed: nothing may be started that it doesn't see, neither
        // just before it looks nor afterwards.
        let mut listed = listed();
        if INTERRUPTED.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let child = command.spawn()?;
        listed.processes.insert(child.id());
        Ok(Self { child })
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for its end.
    pub fn wait(mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left behind.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        listed().processes.remove(&self.child.id());
    }
}

impl Unfinished {
    /// Starts a file that will be `target`, in the same folder, so that the rename is one step.
    pub fn create(target: &Path) -> Result<Self, UnfinishedError> {
        Self::with_mode(target, PUBLIC_MODE)
    }

    /// Starts a file that only its owner can read, from its first byte on: an image may have a
    /// sealed seed in it.
    pub fn create_private(target: &Path) -> Result<Self, UnfinishedError> {
        Self::with_mode(target, PRIVATE_MODE)
    }

    fn with_mode(target: &Path, mode: u32) -> Result<Self, UnfinishedError> {
        let fail = |source| UnfinishedError::Create { path: target.to_owned(), source };
        let folder = folder_of(target);
        fs::create_dir_all(folder).map_err(fail)?;
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        // Listed before it is there, so that no interrupt comes in between.
        let open = |path: &Path| {
            let listing = Listing::of(path);
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true).mode(mode);
            Ok((options.open(path)?, listing))
        };
        let made = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".part")
            .make_in(folder, open)
            .map_err(fail)?;
        let ((file, listing), path) = made.into_parts();
        Ok(Self { file, path, target: target.to_owned(), _listing: listing })
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Makes the bytes durable and gives the file its name, replacing an older one.
    pub fn finish(self) -> Result<PathBuf, UnfinishedError> {
        self.finish_by(|path, target| path.persist(target))
    }

    /// The same, but a file that has the name already stays, and this one goes.
    pub fn finish_new(self) -> Result<PathBuf, UnfinishedError> {
        self.finish_by(|path, target| path.persist_noclobber(target))
    }

    fn finish_by(
        self,
        rename: impl FnOnce(TempPath, &Path) -> Result<(), PathPersistError>,
    ) -> Result<PathBuf, UnfinishedError> {
        let Self { _listing, file, path, target } = self;
        let fail = |source| UnfinishedError::Finish { path: target.clone(), source };
        file.sync_all().map_err(fail)?;
        rename(path, &target).map_err(|error| fail(error.error))?;
        File::open(folder_of(&target)).and_then(|folder| folder.sync_all()).map_err(fail)?;
        Ok(target)
    }
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a small file whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), UnfinishedError> {
    let unfinished = Unfinished::create(path)?;
    let written = unfinished.file().write_all(bytes);
    written.map_err(|source| UnfinishedError::Finish { path: path.to_owned(), source })?;
    unfinished.finish().map(drop)
}

/// Whether an interrupt would remove this.
#[cfg(test)]
pub(crate) fn is_listed(path: &Path) -> bool {
    listed().paths.contains(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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
    fn a_private_file_is_private_before_and_after_it_gets_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("image.raw");
        fs::write(&target, b"older, and open to all").expect("written");
        let unfinished = Unfinished::create_private(&target).expect("created");
        let mode = |metadata: fs::Metadata| metadata.permissions().mode() & 0o777;
        assert_eq!(mode(unfinished.file().metadata().expect("there")), PRIVATE_MODE);
        unfinished.finish().expect("finished");
        assert_eq!(mode(fs::metadata(&target).expect("there")), PRIVATE_MODE);
    }

    #[test]
    fn scratch_folders_and_programs_end_with_their_guards() {
        let scratch = Scratch::within(&std::env::temp_dir(), "guard-").expect("made");
        let path = scratch.path().to_owned();
        fs::write(path.join("file"), "x").expect("written");
        let mut running = Running::spawn(Command::new("sleep").arg("1000")).expect("started");
        let id = running.child().id();
        assert!(listed().paths.contains(&path) && listed().processes.contains(&id));
        drop((scratch, running));
        assert!(!path.exists() && !listed().processes.contains(&id));
        let pid = Pid::from_raw(i32::try_from(id).expect("small")).expect("a process");
        assert!(test_kill_process(pid).is_err(), "it is gone and reaped");
    }

    #[test]
    fn a_file_without_its_name_goes_with_an_interrupt_and_one_with_its_name_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("image.raw");
        let unfinished = Unfinished::create(&target).expect("created");
        let path = unfinished.path.to_path_buf();
        assert!(path.exists() && is_listed(&path));
        unfinished.finish_new().expect("finished");
        assert!(!path.exists() && !is_listed(&path) && target.exists());

        let second = Unfinished::create(&target).expect("created");
        let path = second.path.to_path_buf();
        let error = second.finish_new().expect_err("there is one");
        let UnfinishedError::Finish { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.kind(), io::ErrorKind::AlreadyExists);
        assert!(!path.exists() && !is_listed(&path));
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
