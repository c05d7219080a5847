//! The lock: exactly which packages an image is made of, written next to its definition.
//!
//! It names no mirror, since the hash of a file says more than where it was found. With a lock no
//! index is read at all: its packages come from the cache, or by their path from any mirror that
//! still has them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::archive::Archive;
use super::digest::Digest;
use super::package::{Package, PackageError};
use super::resolve::Resolution;
use super::version::Version;
use crate::k3s::LockedArtifact;
use crate::unfinished::{self, UnfinishedError};

const FORMAT: u32 = 1;

/// A set of packages that was chosen once and is to be used from then on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    format: u32,
    /// Unix seconds, the newest of the suites': the time of everything built from it.
    pub date: u64,
    #[serde(default, rename = "suite")]
    pub suites: Vec<LockedSuite>,
    #[serde(default, rename = "package")]
    pub packages: Vec<LockedPackage>,
    /// Files that are in no archive: the release of K3s.
    #[serde(default, rename = "artifact", skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<LockedArtifact>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedSuite {
    pub suite: String,
    pub date: u64,
    pub inrelease_sha256: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    pub name: String,
    pub version: Version,
    pub architecture: String,
    pub source: String,
    pub source_version: String,
    pub filename: String,
    pub size: u64,
    pub sha256: Digest,
    /// What satisfies its dependencies; the order counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
}

/// Why a lock can't be used.
#[derive(Debug, Error)]
pub enum LockError {
    #[error("{path}: {source}; run `builder lock` to write it")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is no lock: {reason}; run `builder lock` to write it anew")]
    Syntax { path: PathBuf, reason: String },
    #[error("{path} has format {found}, this builder writes {FORMAT}; run `builder lock` again")]
    Format { path: PathBuf, found: u32 },
    #[error("{path}: the package {name}: {source}; run `builder lock` to write it anew")]
    Package { path: PathBuf, name: String, source: PackageError },
    #[error("the lock can't be written as TOML: {0}")]
    Serialize(#[from] toml::ser::Error),
    #[error(transparent)]
    Unfinished(#[from] UnfinishedError),
    #[error("the lock has no package {0}: run `builder lock` again, since the image changed")]
    NotLocked(String),
}

impl Lock {
    /// Locks what was chosen from an archive.
    pub fn new(archive: &Archive, resolution: &Resolution) -> Self {
        let suites = archive.suites().iter().map(|suite| LockedSuite {
            suite: suite.name.clone(),
            date: suite.date,
            inrelease_sha256: suite.inrelease_sha256,
        });
        let mut suites: Vec<_> = suites.collect();
        suites.sort_by(|a, b| a.suite.cmp(&b.suite));
        let packages = resolution.packages.iter().map(|selected| {
            let package = selected.package.clone();
            LockedPackage {
                name: package.name,
                version: package.version,
                architecture: package.architecture,
                source: package.source,
                source_version: package.source_version,
                filename: package.filename,
                size: package.size,
                sha256: package.sha256,
                needs: selected.needs.clone(),
            }
        });
        let mut packages: Vec<_> = packages.collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Self { format: FORMAT, date: archive.date(), suites, packages, artifacts: Vec::new() }
    }

    pub fn load(path: &Path) -> Result<Self, LockError> {
        let read = std::fs::read_to_string(path);
        let text = read.map_err(|source| LockError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, LockError> {
        let path = path.to_owned();
        let lock: Self = match toml::from_str(text) {
            Ok(lock) => lock,
            Err(error) => {
                return Err(LockError::Syntax { path, reason: error.to_string() });
            }
        };
        if lock.format != FORMAT {
            return Err(LockError::Format { path, found: lock.format });
        }
        for package in &lock.packages {
            if let Err(source) = package.to_package().check() {
                return Err(LockError::Package { path, name: package.name.clone(), source });
            }
        }
        Ok(lock)
    }

    /// Writes it whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), LockError> {
        Ok(unfinished::write_whole(path, self.text()?.as_bytes())?)
    }

    /// All that it says, always in the same order.
    pub fn text(&self) -> Result<String, LockError> {
        let body = toml::to_string(self)?;
        Ok(format!("# Written by `builder lock`; `--locked` uses exactly this.\n{body}"))
    }

    /// What the wanted packages need according to the lock, as if it had been resolved.
    pub fn resolve(&self, wanted: &[impl AsRef<str>]) -> Result<Resolution, LockError> {
        let known: HashMap<&str, &LockedPackage> =
            self.packages.iter().map(|package| (package.name.as_str(), package)).collect();
        let mut queue: VecDeque<&str> = VecDeque::new();
        let mut seen = HashSet::new();
        for name in wanted.iter().map(AsRef::as_ref) {
            if seen.insert(name) {
                queue.push_back(name);
            }
        }
        let mut chosen = Vec::new();
        while let Some(name) = queue.pop_front() {
            let package = known.get(name).ok_or_else(|| LockError::NotLocked(name.to_owned()))?;
            for need in &package.needs {
                if seen.insert(need) {
                    queue.push_back(need);
                }
            }
            chosen.push((package.to_package(), package.needs.clone()));
        }
        Ok(Resolution::of_packages(chosen))
    }
}

impl LockedPackage {
    fn to_package(&self) -> Package {
        Package {
            name: self.name.clone(),
            version: self.version.clone(),
            architecture: self.architecture.clone(),
            source: self.source.clone(),
            source_version: self.source_version.clone(),
            filename: self.filename.clone(),
            size: self.size,
            sha256: self.sha256,
            depends: Vec::new(),
            provides: Vec::new(),
            suite: String::new(),
            mirror: None,
        }
    }
}
