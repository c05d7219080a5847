//! Where an image's packages come from: the archive as it is now, or exactly what a lock says.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;

use crate::debian::archive::ArchiveError;
use crate::debian::lock::LockError;
use crate::debian::mirror::{self, MirrorError};
use crate::debian::proxy::{Proxies, ProxyError};
use crate::debian::resolve::ResolveError;
use crate::debian::store::StoreError;
use crate::debian::{Archive, ArchiveRequest, Lock, Network, Resolution, Store};
use crate::k3s::LockedArtifact;
use crate::progress::Progress;
use crate::root::compose::BOOT_PACKAGE;
use crate::root::definition::Definition;
use crate::root::overlay::Overlay;

#[derive(Debug, Error)]
pub enum SourceError {
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// How the archive is to be reached.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// From `--mirror`; they win over every other.
    pub mirrors: Vec<String>,
    pub keyring: Option<PathBuf>,
    pub offline: bool,
    pub locked: bool,
}

/// A store, and what decides which packages there are.
#[derive(Debug)]
pub struct Source {
    pub store: Store,
    chosen: Chosen,
}

#[derive(Debug)]
enum Chosen {
    Archive(Box<Archive>),
    Lock(Lock),
}

/// The lock of an image lies next to its definition: `lab.toml` has `lab.lock`.
pub fn lock_path(definition: &Definition) -> PathBuf {
    definition.path.with_extension("lock")
}

impl Source {
    /// Opens the cache, and the archive or the lock.
    pub fn open(
        definition: &Definition,
        reach: &Reach,
        cache: &Path,
        progress: &Progress,
    ) -> Result<Self, SourceError> {
        let store = open_store(&definition.debian.mirrors, reach, cache)?;
        let chosen = if reach.locked {
            Chosen::Lock(Lock::load(&lock_path(definition))?)
        } else {
            let architecture = definition.architecture.debian();
            let suites = &definition.debian.suites;
            let components = &definition.debian.components;
            let archive = open_archive(&store, architecture, suites, components, reach, progress)?;
            Chosen::Archive(Box::new(archive))
        };
        Ok(Self { store, chosen })
    }

    /// The time of everything that is built from this source.
    pub fn date(&self) -> u64 {
        match &self.chosen {
            Chosen::Archive(archive) => archive.date(),
            Chosen::Lock(lock) => lock.date,
        }
    }

    /// Names exactly which packages there are to choose from, what they need, and the date.
    pub fn fingerprint(&self) -> Result<String, SourceError> {
        Ok(match &self.chosen {
            Chosen::Archive(archive) => {
                let suites = archive.suites().iter();
                let line = |suite: &crate::debian::archive::Suite| {
                    format!("{} {}\n", suite.name, suite.inrelease_sha256)
                };
                suites.map(line).collect()
            }
            // The date is in every file of an image, and the needs decide which packages it has.
            Chosen::Lock(lock) => lock.text()?,
        })
    }

    /// What a lock says of files that are in no archive; none without a lock.
    pub fn locked_artifacts(&self) -> Option<&[LockedArtifact]> {
        match &self.chosen {
            Chosen::Archive(_) => None,
            Chosen::Lock(lock) => Some(&lock.artifacts),
        }
    }

    /// The packages that an image may take files from.
    pub fn resolve(
        &self,
        definition: &Definition,
        overlays: &[Overlay],
    ) -> Result<Resolution, SourceError> {
        let wanted = wanted(definition, overlays);
        Ok(match &self.chosen {
            Chosen::Archive(archive) => archive.resolve(&wanted)?,
            Chosen::Lock(lock) => lock.resolve(&wanted)?,
        })
    }

    /// The lock of what the archive has now.
    pub fn lock(&self, resolution: &Resolution) -> Lock {
        match &self.chosen {
            Chosen::Archive(archive) => Lock::new(archive, resolution),
            Chosen::Lock(lock) => lock.clone(),
        }
    }
}

/// Opens the cache with the mirrors that are known; what is in the cache needs none.
pub fn open_store(named: &[String], reach: &Reach, cache: &Path) -> Result<Store, SourceError> {
    let mirrors = mirror::candidates(&reach.mirrors, named, Path::new("/"));
    let mirrors = if reach.offline { mirrors.unwrap_or_default() } else { mirrors? };
    // Nobody is asked through one, so that no mistake in one matters.
    let proxies = if reach.offline { Proxies::default() } else { Proxies::from_environment()? };
    Ok(Store::open(cache, Network { offline: reach.offline, mirrors, proxies })?)
}

/// Opens and verifies the archive as it is now.
pub fn open_archive(
    store: &Store,
    architecture: &str,
    suites: &[String],
    components: &[String],
    reach: &Reach,
    progress: &Progress,
) -> Result<Archive, ArchiveError> {
    let request = ArchiveRequest {
        architecture: architecture.to_owned(),
        suites: suites.to_vec(),
        components: components.to_vec(),
        keyring: reach.keyring.clone(),
        now: now(),
    };
    Archive::open(store, &request, progress)
}

/// The packages that an image names itself.
pub fn wanted(definition: &Definition, overlays: &[Overlay]) -> Vec<String> {
    let of_overlays = overlays.iter().flat_map(|overlay| &overlay.manifest.packages);
    let mut names: Vec<String> = of_overlays.map(|wish| wish.name.clone()).collect();
    names.push(definition.kernel.package.clone());
    names.push(BOOT_PACKAGE.to_owned());
    names.sort();
    names.dedup();
    names
}

/// The clock is read here and nowhere below.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"format = 1
date = 1700000000
[[package]]
name = "tool"
version = "1.0"
architecture = "amd64"
source = "tool"
source_version = "1.0"
filename = "pool/tool_1.0_amd64.deb"
size = 100
sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
needs = ["library"]
"#;

    #[test]
    fn locks_of_the_same_packages_differ_by_their_date_and_needs() {
        let folder = tempfile::tempdir().expect("a folder");
        let fingerprint = |text: &str| {
            let path = folder.path().join("tiny.lock");
            std::fs::write(&path, text).expect("written");
            let store = Store::open(folder.path(), Network::default()).expect("a cache");
            let chosen = Chosen::Lock(Lock::load(&path).expect("a lock"));
            Source { store, chosen }.fingerprint().expect("a fingerprint")
        };
        let first = fingerprint(LOCK);
        assert_eq!(first, fingerprint(&format!("# remarked\n{LOCK}")));
        assert_ne!(first, fingerprint(&LOCK.replace("1700000000", "1700000001")));
        assert_ne!(first, fingerprint(&LOCK.replace("[\"library\"]", "[]")));
    }
}
