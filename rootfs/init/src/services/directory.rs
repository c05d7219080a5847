//! The directories of a service, made before it starts: with their owner, below `/run` or `/state`.
//!
//! A part of the way may belong to a service, which could put a symbolic link there and have root
//! give away the link's target. So the way is walked folder by folder, and no link is followed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid, fchmod, fchown, mkdirat, openat};
use rustix::io::Errno;
use thiserror::Error;

/// Where a service may have directories.
const ROOTS: [&str; 2] = ["/run", "/state"];

#[derive(Debug, Error)]
pub(crate) enum DirectoryError {
    #[error("directory {} is neither below /run nor below /state: move it there", .0.display())]
    Place(PathBuf),
    #[error("can't make {}: {source}; is the state partition mounted? see earlier lines",
            path.display())]
    NoState { path: PathBuf, source: io::Error },
    #[error("{} is a symbolic link or no directory: remove it", .0.display())]
    NoDirectory(PathBuf),
    #[error("can't make {}: {source}", path.display())]
    Failed { path: PathBuf, source: io::Error },
}

/// Makes a directory, or gives the one that is there its owner and mode.
pub(crate) fn make(path: &Path, mode: u32, user: u32, group: u32) -> Result<(), DirectoryError> {
    let parts = parts_of(path).ok_or_else(|| DirectoryError::Place(path.to_owned()))?;
    let fail = |errno| explain(path, errno);
    let mut folder = open(rustix::fs::CWD, Path::new("/")).map_err(fail)?;
    for part in parts {
        folder = match open(&folder, part) {
            Err(Errno::NOENT) => {
                mkdirat(&folder, part, Mode::from_raw_mode(0o755)).map_err(fail)?;
                open(&folder, part).map_err(fail)?
            }
            other => other.map_err(fail)?,
        };
    }
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    fchown(&folder, Some(user), Some(group)).map_err(fail)?;
    fchmod(&folder, Mode::from_raw_mode(mode)).map_err(fail)
}

fn open(at: impl AsFd, part: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, part, flags, Mode::empty())
}

/// The way below `/`, if it leads where a service may have something.
fn parts_of(path: &Path) -> Option<Vec<&Path>> {
    let below = ROOTS.iter().any(|root| path.starts_with(root) && path != Path::new(root));
    let mut parts = path.components();
    if !below || parts.next() != Some(Component::RootDir) {
        return None;
    }
    let plain = |part| match part {
        Component::Normal(name) => Some(Path::new(name)),
        _ => None,
    };
    parts.map(plain).collect()
}

fn explain(path: &Path, errno: Errno) -> DirectoryError {
    let path = path.to_owned();
    match errno {
        Errno::LOOP | Errno::NOTDIR => DirectoryError::NoDirectory(path),
        Errno::ROFS | Errno::IO if path.starts_with("/state") => {
            DirectoryError::NoState { path, source: errno.into() }
        }
        _ => DirectoryError::Failed { path, source: errno.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_run_or_state_is_made() {
        for bad in ["/etc/x", "/run", "/state", "/run/../etc", "run/x", "/", "/runner/x"] {
            assert!(parts_of(Path::new(bad)).is_none(), "{bad}");
        }
        let parts = parts_of(Path::new("/state/postgres/17/main")).expect("good");
        assert_eq!(parts, ["state", "postgres", "17", "main"].map(Path::new));
    }

    #[test]
    fn a_link_on_the_way_is_not_followed() {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "CI must run this as root");
            eprintln!("skipped: only root makes folders below /run");
            return;
        }
        let base = PathBuf::from(format!("/run/edgepair-test-{}", std::process::id()));
        make(&base.join("own/deep"), 0o750, 7, 8).expect("made");
        let about = std::fs::metadata(base.join("own/deep")).expect("there");
        let facts = {
            use std::os::unix::fs::MetadataExt;
            (about.uid(), about.gid(), about.mode() & 0o7777)
        };
        assert_eq!(facts, (7, 8, 0o750));
        std::os::unix::fs::symlink("/tmp", base.join("link")).expect("linked");
        let refused = make(&base.join("link/x"), 0o700, 7, 7);
        assert!(matches!(refused, Err(DirectoryError::NoDirectory(_))), "{refused:?}");
        let refused = make(&base.join("link"), 0o700, 7, 7);
        assert!(matches!(refused, Err(DirectoryError::NoDirectory(_))), "{refused:?}");
        std::fs::remove_dir_all(&base).expect("removed");
    }
}
