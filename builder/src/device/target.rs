//! Where an image goes: a block device or a file, opened so that nobody else writes to it.
//!
//! A block device is opened with `O_EXCL`, by which the kernel refuses what is mounted, swapped to,
//! part of a RAID or volume group, or opened so by another flash. Both kinds get an exclusive
//! `flock` too: it makes a second flash of the same file fail, and keeps udev from probing a device
//! that is half written. Both end with the process, however it ends.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock, major, minor};
use rustix::io::Errno;
use thiserror::Error;

use super::facts::{DeviceFacts, Kind};
use super::machine::{Machine, MachineError};
use crate::unfinished::{Unfinished, UnfinishedError};

#[derive(Debug, Error)]
pub enum TargetError {
    #[error("{}: {source}{}", path.display(), mend(source))]
    Open { path: PathBuf, source: io::Error },
    #[error("{} does not exist: is it plugged in? `ls /sys/class/block` tells what there is",
        path.display())]
    NoDevice { path: PathBuf },
    #[error("{} is neither a disk nor a file: name a block device or a file", path.display())]
    Odd { path: PathBuf },
    #[error("{} is in use: another flash writes to it, or the kernel holds it (a filesystem, a \
        RAID, a volume group, swap); end that first", path.display())]
    Busy { path: PathBuf },
    #[error("{} is no longer what it was when it was looked at ({}); nothing was written: look at \
        what is plugged in, and start again", path.display(), changes.join(", "))]
    Changed { path: PathBuf, changes: Vec<String> },
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Unfinished(#[from] UnfinishedError),
}

/// A target, open for reading and writing.
#[derive(Debug)]
pub struct Target {
    pub path: PathBuf,
    /// Everything that is not written reads as zeros already.
    pub fresh: bool,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Existing(File),
    /// A file that gets its name once it is whole.
    New(Unfinished),
}

fn mend(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; disks belong to root: run this with sudo, or choose a file that you may write"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; does the card have a lock that is set?",
        _ => "",
    }
}

/// What a path names, and what is known about it.
pub(super) fn facts(path: &Path, machine: &Machine) -> Result<DeviceFacts, TargetError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A misspelt device must not become a file in /dev.
            if path.starts_with("/dev") {
                return Err(TargetError::NoDevice { path: path.to_owned() });
            }
            return Ok(DeviceFacts::of_file(path.display().to_string(), None, Vec::new()));
        }
        Err(source) => {
            return Err(TargetError::Open { path: path.to_owned(), source });
        }
    };
    facts_of(path, &metadata, machine)
}

/// What is known about something that is there.
fn facts_of(
    path: &Path,
    metadata: &Metadata,
    machine: &Machine,
) -> Result<DeviceFacts, TargetError> {
    if metadata.file_type().is_block_device() {
        let number = metadata.rdev();
        return Ok(machine.device(&machine.name_of(major(number), minor(number))?)?);
    }
    if !metadata.is_file() {
        return Err(TargetError::Odd { path: path.to_owned() });
    }
    let bytes = Some(metadata.len()).filter(|bytes| *bytes > 0);
    let name = path.display().to_string();
    Ok(DeviceFacts::of_file(name, bytes, machine.uses_of_file(path)))
}

/// While somebody was asked, a disk may have been pulled and another have got its name. What was
/// opened keeps its meaning, so it is this that is looked at again, and not the path.
fn refuse_another(path: &Path, file: &File, facts: &DeviceFacts) -> Result<(), TargetError> {
    let metadata =
        file.metadata().map_err(|source| TargetError::Open { path: path.to_owned(), source })?;
    let now = facts_of(path, &metadata, &Machine::read(Path::new("/"))?)?;
    let changes = facts.changes(&now);
    if changes.is_empty() {
        return Ok(());
    }
    Err(TargetError::Changed { path: path.to_owned(), changes })
}

impl DeviceFacts {
    /// What there is to know about the target that a path names.
    pub fn of_path(path: &Path, machine: &Machine) -> Result<Self, TargetError> {
        facts(path, machine)
    }
}

impl Target {
    /// Opens it for this process alone, if it still is what `facts` say.
    pub fn open(path: &Path, facts: &DeviceFacts) -> Result<Self, TargetError> {
        let path = path.to_owned();
        if facts.kind == Kind::File && !path.exists() {
            let place = Place::New(Unfinished::create_private(&path)?);
            return Ok(Self { path, fresh: true, place });
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        if facts.kind != Kind::File {
            options.custom_flags(OFlags::EXCL.bits().cast_signed());
        }
        let file = match options.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                return Err(TargetError::Busy { path });
            }
            Err(source) => return Err(TargetError::Open { path, source }),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(TargetError::Busy { path }),
            Err(errno) => {
                return Err(TargetError::Open { path, source: errno.into() });
            }
        }
        refuse_another(&path, &file, facts)?;
        if facts.kind == Kind::File {
            // The seed in it has keys, whoever made the file.
            let private = file.set_permissions(Permissions::from_mode(0o600));
            private.map_err(|source| TargetError::Open { path: path.clone(), source })?;
        }
        Ok(Self { path, fresh: facts.bytes.is_none(), place: Place::Existing(file) })
    }

    /// A file that is open already.
    pub fn over(file: File, path: &Path) -> Self {
        Self { path: path.to_owned(), fresh: false, place: Place::Existing(file) }
    }

    pub fn file(&self) -> &File {
        match &self.place {
            Place::Existing(file) => file,
            Place::New(unfinished) => unfinished.file(),
        }
    }

    /// Gives a new file its name, unless another file got that meanwhile.
    pub fn finish(self) -> Result<(), TargetError> {
        if let Place::New(unfinished) = self.place {
            unfinished.finish_new()?;
        }
        Ok(())
    }
}
