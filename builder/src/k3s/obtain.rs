//! Has the files of a release: from what a person gives, from the cache, or from the network.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::checksums::{Checksums, MAX_BYTES};
use super::error::{K3sError, wrap};
use super::release::Release;
use crate::debian::download::Wanted;
use crate::debian::{Digest, Store};
use crate::progress::Progress;
use crate::unfinished;

/// Folder of the cache that has the lists of checksums, by version.
const CACHE_FOLDER: &str = "k3s";

/// What goes into an image.
#[derive(Clone, Debug)]
pub struct K3sFiles {
    /// The program.
    pub binary: PathBuf,
    /// Archive of the container images; a given folder may come without.
    pub images: Option<PathBuf>,
    /// The release's version.
    pub version: String,
    /// What the files are, for the lock.
    pub artifacts: Vec<LockedArtifact>,
}

/// A file of a release as the lock keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedArtifact {
    /// Version and file name, such as `v1.37.1+k3s1/k3s`.
    pub name: String,
    /// What it hashes to.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// The files of a release. `given` is a folder with them, or the binary alone; without it they come
/// from the store, which downloads what it hasn't. What `locked` has must be what comes out.
pub fn obtain(
    store: &Store,
    release: &Release,
    given: Option<&Path>,
    locked: Option<&[LockedArtifact]>,
    progress: &Progress,
) -> Result<K3sFiles, K3sError> {
    let order = Order { release, locked };
    match given {
        Some(path) if !path.exists() => Err(K3sError::NoSuchPath { path: path.to_owned() }),
        Some(path) if path.is_dir() => order.given_folder(path, progress),
        Some(path) => order.given_file(path, progress),
        None => order.stored(store, progress),
    }
}

/// What is to be had, and what it must be.
pub(super) struct Order<'a> {
    pub(super) release: &'a Release,
    pub(super) locked: Option<&'a [LockedArtifact]>,
}

/// A file that was found and hashed.
pub(super) struct Hashed {
    pub(super) path: PathBuf,
    pub(super) sha256: Digest,
    pub(super) size: u64,
}

impl Order<'_> {
    pub(super) fn version(&self) -> String {
        self.release.version().to_owned()
    }

    /// The name of a file in the lock.
    fn lock_name(&self, file: &str) -> String {
        format!("{}/{file}", self.release.version())
    }

    /// What the lock says about a file; nothing without a lock.
    pub(super) fn pinned(&self, file: &str) -> Result<Option<&LockedArtifact>, K3sError> {
        let Some(locked) = self.locked else {
            return Ok(None);
        };
        let name = self.lock_name(file);
        match locked.iter().find(|artifact| artifact.name == name) {
            Some(artifact) => Ok(Some(artifact)),
            None => Err(K3sError::MissingInLock { name }),
        }
    }

    fn stored(&self, store: &Store, progress: &Progress) -> Result<K3sFiles, K3sError> {
        let images_name = self.release.images();
        let names = [self.release.binary(), images_name.as_str()];
        let mut found = Vec::new();
        let checksums = match self.locked {
            // The lock says all that the list would say.
            Some(_) => None,
            None => Some(self.checksums(store)?),
        };
        for name in names {
            let (digest, size) = match (&checksums, self.pinned(name)?) {
                (_, Some(pinned)) => (pinned.sha256, Some(pinned.size)),
                (Some((place, checksums)), None) => (self.listed(checksums, name, place)?, None),
                (None, None) => {
                    let name = self.lock_name(name);
                    return Err(K3sError::MissingInLock { name });
                }
            };
            let label = format!("{name} {}", self.release.version());
            let urls = vec![self.release.url(name)];
            let wanted = Wanted { label: &label, digest, size, urls };
            let file = store
                .obtain_intact(&wanted, progress)
                .map_err(|error| self.explain(name, error))?;
            let path = store.blob_path(&digest);
            let size = file.metadata().map_err(|error| wrap(&path, error))?.len();
            found.push(Hashed { path, sha256: digest, size });
        }
        let images = found.pop();
        match found.pop() {
            Some(binary) => Ok(self.files(binary, images)),
            None => Err(K3sError::MissingInLock { name: self.lock_name(self.release.binary()) }),
        }
    }

    /// The release's list, from the cache or else from the network; with where it is from.
    fn checksums(&self, store: &Store) -> Result<(String, Checksums), K3sError> {
        let name = self.release.checksums();
        let folder = store.root().join(CACHE_FOLDER).join(self.release.version());
        let path = folder.join(&name);
        // A release never changes, so a list that was good once is good; one that was damaged in the
        // cache is fetched again.
        let place = path.display().to_string();
        if let Some(bytes) = read_limited(&path)?
            && let Ok(checksums) = self.parse(&place, &bytes)
        {
            return Ok((place, checksums));
        }
        let url = self.release.url(&name);
        let bytes =
            store.fetch_small(&url, MAX_BYTES).map_err(|error| self.explain(&name, error))?;
        let checksums = self.parse(&url, &bytes)?;
        unfinished::write_whole(&path, &bytes)?;
        Ok((url, checksums))
    }

    pub(super) fn parse(&self, place: &str, bytes: &[u8]) -> Result<Checksums, K3sError> {
        let checksums = Checksums::parse(bytes)
            .map_err(|source| K3sError::Checksums { place: place.to_owned(), source })?;
        self.listed(&checksums, self.release.binary(), place)?;
        Ok(checksums)
    }

    pub(super) fn listed(
        &self,
        checksums: &Checksums,
        name: &str,
        place: &str,
    ) -> Result<Digest, K3sError> {
        checksums.of(name).ok_or_else(|| K3sError::NotListed {
            place: place.to_owned(),
            file: name.to_owned(),
            version: self.version(),
        })
    }

    pub(super) fn files(&self, binary: Hashed, images: Option<Hashed>) -> K3sFiles {
        let artifact = |name: &str, hashed: &Hashed| LockedArtifact {
            name: self.lock_name(name),
            sha256: hashed.sha256,
            size: hashed.size,
        };
        let mut artifacts = vec![artifact(self.release.binary(), &binary)];
        artifacts.extend(images.iter().map(|it| artifact(&self.release.images(), it)));
        K3sFiles {
            binary: binary.path,
            images: images.map(|images| images.path),
            version: self.version(),
            artifacts,
        }
    }
}

/// A small file, cut one byte beyond the limit, so that it is noticed; nothing if there is none.
pub(super) fn read_limited(path: &Path) -> Result<Option<Vec<u8>>, K3sError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrap(path, error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| wrap(path, error))?;
    Ok(Some(bytes))
}
