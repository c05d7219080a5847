//! The cgroups of services: `edgepair/SERVICE/RUN`, version 2 of the kernel's interface.
//!
//! A service's limits and its accounts are on `SERVICE`, so they hold over restarts and for
//! whatever an earlier run left. `RUN` is where its processes are: killing it kills them all, also
//! those that ran away from their parents, and it is empty only when the last one is gone.
//!
//! The root of the tree stays usable for Kubernetes, which makes its own groups beside ours.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use seed::manifest::Limits;
use seed::scalar::Bytes;
use thiserror::Error;

/// Controllers that Kubernetes wants at the root, and our accounts below it. What the kernel
/// doesn't have is left out.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"];

/// A service with rights may make groups inside its own; no program nests them deeper than this.
const DEPTH_MAX: usize = 8;

#[derive(Debug, Error)]
#[error("cgroup {}: {source}", path.display())]
pub struct CgroupError {
    path: PathBuf,
    source: io::Error,
}

/// Our part of the tree.
#[derive(Debug)]
pub(crate) struct Tree {
    folder: PathBuf,
}

/// The group of a service over all of its runs.
#[derive(Debug)]
pub(crate) struct ServiceGroup {
    folder: PathBuf,
}

/// The group of one run.
#[derive(Debug)]
pub(crate) struct RunGroup {
    folder: PathBuf,
    directory: File,
    events: File,
    kill: PathBuf,
}

impl Tree {
    /// Makes our part of the tree below the mounted root. A controller that can't be had is said by
    /// the second value; without it there are no limits, and services run all the same.
    pub(crate) fn make(root: &Path, name: &str) -> Result<(Self, Vec<CgroupError>), CgroupError> {
        let folder = root.join(name);
        make_folder(&folder)?;
        let troubles = [root, &folder].into_iter().flat_map(enable_controllers).collect();
        Ok((Self { folder }, troubles))
    }

    /// Makes the group of a service, and sets its limits. Where the kernel has no controller for a
    /// limit, the service runs without it, and the second value tells; a limit that is refused is
    /// an error, since it is a mistake.
    pub(crate) fn service(
        &self,
        name: &str,
        limits: &Limits,
    ) -> Result<(ServiceGroup, Vec<CgroupError>), CgroupError> {
        let folder = self.folder.join(name);
        make_folder(&folder)?;
        let maximum =
            |value: Option<u64>| value.map_or("max".to_owned(), |value| value.to_string());
        let memory = limits.memory.map(Bytes::get);
        let pids = limits.pids.map(u64::from);
        let wanted = [
            ("memory.max", memory.is_some(), maximum(memory)),
            ("pids.max", pids.is_some(), maximum(pids)),
            (
                "cpu.weight",
                limits.cpu_weight.is_some(),
                limits.cpu_weight.unwrap_or(100).to_string(),
            ),
        ];
        let mut without = Vec::new();
        for (file, _, value) in wanted.iter().filter(|(_, declared, _)| *declared) {
            match write(&folder.join(file), value) {
                // Files can't be made here, so the kernel doesn't say that it is missing.
                Err(error) if !folder.join(file).exists() => without.push(error),
                other => other?,
            }
        }
        Ok((ServiceGroup { folder }, without))
    }
}

impl ServiceGroup {
    /// Makes the group of a run.
    pub(crate) fn run(&self, run: u64) -> Result<RunGroup, CgroupError> {
        RunGroup::make(self.folder.join(run.to_string()))
    }

    /// How often the kernel killed a process of the service for want of memory.
    pub(crate) fn out_of_memory_kills(&self) -> u64 {
        let text = fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        value_of(&text, "oom_kill").unwrap_or(0)
    }
}

impl RunGroup {
    fn make(folder: PathBuf) -> Result<Self, CgroupError> {
        make_folder(&folder)?;
        let open = |path: PathBuf| {
            File::open(&path).map_err(|source| CgroupError { path: path.clone(), source })
        };
        let (directory, events) = (open(folder.clone())?, open(folder.join("cgroup.events"))?);
        let kill = folder.join("cgroup.kill");
        Ok(Self { folder, directory, events, kill })
    }

    /// A group inside of it, for a readiness command: it dies with the run, or alone.
    pub(crate) fn inner(&self, name: &str) -> Result<Self, CgroupError> {
        Self::make(self.folder.join(name))
    }

    /// Where a process can be born.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Becomes ready, with priority, when the group was filled or emptied.
    pub(crate) fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Kills everything in it. A group that is gone already holds nothing.
    pub(crate) fn kill(&self) -> Result<(), CgroupError> {
        match write(&self.kill, "1") {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Whether there is a process in it. What can't be read counts as empty: it was removed.
    pub(crate) fn is_populated(&mut self) -> bool {
        let mut text = String::new();
        let read = self
            .events
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.events.read_to_string(&mut text));
        read.is_ok() && value_of(&text, "populated") == Some(1)
    }

    /// Removes it, if it is empty.
    pub(crate) fn remove(&self) -> io::Result<()> {
        remove(&self.folder, DEPTH_MAX)
    }
}

fn remove(folder: &Path, depth: usize) -> io::Result<()> {
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if depth == 0 => Err(error),
        Err(_) => {
            for entry in fs::read_dir(folder)?.flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    remove(&entry.path(), depth - 1)?;
                }
            }
            fs::remove_dir(folder)
        }
        Ok(()) => Ok(()),
    }
}

fn make_folder(path: &Path) -> Result<(), CgroupError> {
    match fs::create_dir(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(CgroupError { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn enable_controllers(folder: &Path) -> Vec<CgroupError> {
    let there = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    let file = folder.join("cgroup.subtree_control");
    let wanted =
        CONTROLLERS.iter().filter(|name| there.split_whitespace().any(|one| one == **name));
    // One at a time: the kernel takes all of a line or nothing.
    wanted.filter_map(|name| write(&file, &format!("+{name}")).err()).collect()
}

fn write(path: &Path, text: &str) -> Result<(), CgroupError> {
    fs::write(path, text).map_err(|source| CgroupError { path: path.to_owned(), source })
}

/// A number in a file of lines like `populated 1`.
fn value_of(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(name, _)| *name == key).and_then(|(_, value)| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_whole_name() {
        let text = "low 1\noom 2\noom_kill 3\noom_group_kill 4\n";
        assert_eq!(value_of(text, "oom_kill"), Some(3));
        assert_eq!(value_of(text, "oom"), Some(2));
        assert_eq!(value_of(text, "high"), None);
        assert_eq!(value_of("populated", "populated"), None);
    }
}
