//! The directories of a service, made before it starts: with their owner, below `/run` or `/state`.
//!
//! This only says which and where. The service's own process makes them, before it becomes the
//! program: the state partition may hang, and PID 1 must not hang with it.

use std::ffi::CString;
use std::io;
use std::path::{Component, Path, PathBuf};

use seed::manifest::Service;
use sys::process::Directory;
use thiserror::Error;

use super::account::{AccountError, Accounts};

/// Where a service may have directories.
const ROOTS: [&str; 2] = ["/run", "/state"];

#[derive(Debug, Error)]
pub(crate) enum DirectoryError {
    #[error("directory {} is neither below /run nor below /state: move it there", .0.display())]
    Place(PathBuf),
    #[error(transparent)]
    Account(#[from] AccountError),
}

/// The directories of a service, for the kernel.
pub(crate) fn plan(
    service: &Service,
    accounts: &Accounts,
) -> Result<Vec<Directory>, DirectoryError> {
    let identity = accounts.identity(service)?;
    let one = |wanted: &seed::manifest::Directory| {
        let (user, group) = match &wanted.user {
            Some(name) => (accounts.number(name)?, accounts.number(name)?),
            None => (identity.user, identity.group),
        };
        let path = Path::new(wanted.path.as_str());
        let parts = parts_of(path).ok_or_else(|| DirectoryError::Place(path.to_owned()))?;
        Ok(Directory { parts, mode: wanted.mode.bits(), user, group })
    };
    service.directories.iter().map(one).collect()
}

/// The way below `/`, if it leads where a service may have something.
fn parts_of(path: &Path) -> Option<Vec<CString>> {
    let below = ROOTS.iter().any(|root| path.starts_with(root) && path != Path::new(root));
    let mut parts = path.components();
    if !below || parts.next() != Some(Component::RootDir) {
        return None;
    }
    let plain = |part| match part {
        Component::Normal(name) => CString::new(name.as_encoded_bytes()).ok(),
        _ => None,
    };
    parts.map(plain).collect()
}

/// Why a directory couldn't be made, and the mend.
pub(crate) fn explain(service: &Service, place: usize, error: &io::Error) -> String {
    let path = service.directories.get(place).map_or("", |wanted| wanted.path.as_str());
    match error.kind() {
        io::ErrorKind::NotADirectory => {
            format!("a part of {path} is a symbolic link or no directory: remove it")
        }
        io::ErrorKind::ReadOnlyFilesystem if path.starts_with("/state") => {
            format!("can't make {path}: the state partition isn't mounted; see earlier lines")
        }
        _ => format!("can't make {path}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::tests::service;

    #[test]
    fn only_what_lies_below_run_or_state_is_made() {
        for bad in ["/etc/x", "/run", "/state", "/run/../etc", "run/x", "/", "/runner/x"] {
            assert!(parts_of(Path::new(bad)).is_none(), "{bad}");
        }
        let parts = parts_of(Path::new("/state/postgres/17/main")).expect("good");
        assert_eq!(parts, [c"state", c"postgres", c"17", c"main"].map(CString::from));
    }

    #[test]
    fn an_absent_state_partition_is_named_as_the_reason() {
        let service = service("name = \"p\"\ndirectories = [{ path = \"/state/p\" }]");
        let why = explain(&service, 0, &io::ErrorKind::ReadOnlyFilesystem.into());
        assert!(why.contains("/state/p") && why.contains("isn't mounted"), "{why}");
        let why = explain(&service, 0, &io::ErrorKind::NotADirectory.into());
        assert!(why.contains("symbolic link"), "{why}");
    }
}
