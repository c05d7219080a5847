//! Release files that a person gives: the binary alone, or a folder with all of them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::checksums::Checksums;
use super::error::{K3sError, wrap};
use super::obtain::{Hashed, K3sFiles, LockedArtifact, Order, read_limited};
use crate::debian::digest::{Digest, Hasher};
use crate::progress::Progress;

const CHUNK_BYTES: usize = 128 * 1024;

impl Order<'_> {
    /// A given folder with the files of the release.
    pub(super) fn given_folder(
        &self,
        folder: &Path,
        progress: &Progress,
    ) -> Result<K3sFiles, K3sError> {
        let file = self.release.binary();
        let binary = folder.join(file);
        if !binary.is_file() {
            return Err(K3sError::Incomplete {
                folder: folder.to_owned(),
                file: file.to_owned(),
                version: self.version(),
            });
        }
        self.given_file(&binary, progress)
    }

    /// A given binary, and what of the release lies beside it.
    pub(super) fn given_file(
        &self,
        binary: &Path,
        progress: &Progress,
    ) -> Result<K3sFiles, K3sError> {
        let folder = binary.parent().unwrap_or(Path::new(""));
        let list = folder.join(self.release.checksums());
        let checksums = match read_limited(&list)? {
            Some(bytes) => Some(self.parse(&list.display().to_string(), &bytes)?),
            None => None,
        };
        let name = self.release.binary();
        let binary = self.checked(binary, name, checksums.as_ref(), &list, progress)?;
        let images_name = self.release.images();
        let images = folder.join(&images_name);
        let wanted = self.pinned_if_any(&images_name);
        let images = match (images.is_file(), wanted) {
            (true, _) => {
                let sums = checksums.as_ref();
                Some(self.checked(&images, &images_name, sums, &list, progress)?)
            }
            (false, Some(_)) => {
                return Err(K3sError::Incomplete {
                    folder: folder.to_owned(),
                    file: images_name,
                    version: self.version(),
                });
            }
            (false, None) => None,
        };
        Ok(self.files(binary, images))
    }

    /// The lock's entry of a file that may be left out of a build.
    fn pinned_if_any(&self, file: &str) -> Option<&LockedArtifact> {
        self.pinned(file).ok().flatten()
    }

    /// Hashes a given file and compares it with the list, with the lock, or with both.
    fn checked(
        &self,
        path: &Path,
        name: &str,
        checksums: Option<&Checksums>,
        list: &Path,
        progress: &Progress,
    ) -> Result<Hashed, K3sError> {
        let step = progress.step(&format!("checking {}", path.display()));
        let hashed = hash(path)?;
        let pinned = self.pinned(name)?;
        match (checksums, pinned) {
            (Some(checksums), _) => {
                let place = list.display().to_string();
                let wanted = self.listed(checksums, name, &place)?;
                if wanted != hashed.sha256 {
                    return Err(K3sError::Mismatch {
                        place: path.display().to_string(),
                        list: place,
                        wanted,
                        found: hashed.sha256.to_string(),
                    });
                }
            }
            (None, Some(_)) => {}
            (None, None) => {
                return Err(K3sError::Unproven {
                    path: path.display().to_string(),
                    version: self.version(),
                    found: hashed.sha256.to_string(),
                    list: self.release.checksums(),
                    file: name.to_owned(),
                });
            }
        }
        if let Some(pinned) = pinned
            && pinned.sha256 != hashed.sha256
        {
            return Err(K3sError::NotLocked {
                name: pinned.name.clone(),
                wanted: pinned.sha256,
                found: hashed.sha256,
            });
        }
        step.finish("fits");
        Ok(hashed)
    }
}

/// What a file of the release is now.
pub(crate) fn digest_of(path: &Path) -> Result<Digest, K3sError> {
    Ok(hash(path)?.sha256)
}

fn hash(path: &Path) -> Result<Hashed, K3sError> {
    let mut file = File::open(path).map_err(|error| wrap(path, error))?;
    let mut hasher = Hasher::default();
    let mut size = 0;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&chunk[..count]);
                size += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(wrap(path, error)),
        }
    }
    Ok(Hashed { path: path.to_owned(), sha256: hasher.finish(), size })
}
