//! Why a release of K3s can't be had, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::checksums::ChecksumsError;
use super::obtain::Order;
use crate::debian::Digest;
use crate::debian::http::HttpError;
use crate::debian::store::StoreError;
use crate::unfinished::{UnfinishedError, mend};

/// Why a release can't be had.
#[derive(Debug, Error)]
pub enum K3sError {
    /// A file or folder can't be used.
    #[error("{}: {source}{}", path.display(), mend(source))]
    Io { path: PathBuf, source: io::Error },
    /// A file of the cache can't be written.
    #[error(transparent)]
    Unfinished(#[from] UnfinishedError),
    /// What was given isn't there.
    #[error(
        "--k3s {}: there is no such file or folder; give the binary of K3s, or the folder that has \
         its release",
        path.display()
    )]
    NoSuchPath { path: PathBuf },
    /// The list of checksums is none.
    #[error(
        "{place} is no list of checksums: {source}; a proxy or a login page may have answered \
         instead of the server: look at it, and try again"
    )]
    Checksums { place: String, source: ChecksumsError },
    /// The list does not have the file.
    #[error("{place} lists no {file}: take all files from the same release, {version}")]
    NotListed { place: String, file: String, version: String },
    /// A file is another one than the list says.
    #[error(
        "{place} is not the file of the release: its SHA-256 is {found}, {list} says {wanted}; \
         download it again, completely, and if it stays so don't use it"
    )]
    Mismatch { place: String, list: String, wanted: Digest, found: String },
    /// A file is another one than the lock says.
    #[error(
        "{name} is not the file that was locked: its SHA-256 is {found}, the lock says {wanted}; if \
         the change is wanted run `builder lock`, else look for who changed it"
    )]
    NotLocked { name: String, wanted: Digest, found: Digest },
    /// The lock is for something else.
    #[error("the lock has no {name}: run `builder lock` to add it")]
    MissingInLock { name: String },
    /// Nothing says what a given file should hash to.
    #[error(
        "nothing says that {path} is K3s {version} (its SHA-256 is {found}): put {list} of the \
         release beside it; for a K3s of your own make that file: `sha256sum {file} > {list}`"
    )]
    Unproven { path: String, version: String, found: String, list: String, file: String },
    /// A given folder has not what is needed.
    #[error("{} has no {file}: put it there, from the release {version}", folder.display())]
    Incomplete { folder: PathBuf, file: String, version: String },
    /// The release has no such file.
    #[error(
        "{url}: not found; check that the release {version} exists and is spelled so in the k3s \
         overlay, or give its files with --k3s PATH"
    )]
    NotFound { url: String, version: String },
    /// The network doesn't reach it.
    #[error(
        "{url} can't be had: {reason}. On a machine that can reach it download {files} into one \
         folder, and give that with --k3s FOLDER"
    )]
    Unreachable { url: String, reason: String, files: String },
    /// Offline, and not in the cache.
    #[error(
        "{file} of K3s {version} is not in the cache: run once without --offline, or give the files \
         with --k3s PATH"
    )]
    Offline { file: String, version: String },
    /// A file of the cache isn't what it was, and can't be replaced.
    #[error("{}: it was damaged in the cache and must be fetched again: {source}", path.display())]
    Damaged { path: PathBuf, source: Box<K3sError> },
    /// The cache can't be used.
    #[error(transparent)]
    Store(StoreError),
}

impl Order<'_> {
    /// What a failure of the store means for somebody who wants K3s.
    pub(super) fn explain(&self, file: &str, error: StoreError) -> K3sError {
        let url = self.release.url(file);
        let version = self.version();
        let reason = match error {
            StoreError::Offline(_) => {
                let file = file.to_owned();
                return K3sError::Offline { file, version };
            }
            StoreError::Damaged { path, source, .. } => {
                let source = Box::new(self.explain(file, *source));
                return K3sError::Damaged { path, source };
            }
            StoreError::Vanished { .. } | StoreError::Http(HttpError::NotFound(_)) => {
                return K3sError::NotFound { url, version };
            }
            StoreError::Mismatch { wanted, found, .. } => {
                let list = match self.locked {
                    Some(_) => "the lock".to_owned(),
                    None => self.release.checksums(),
                };
                return K3sError::Mismatch { place: url, list, wanted, found };
            }
            StoreError::Http(HttpError::Status { status, .. }) => {
                format!("the server answered {status}")
            }
            StoreError::Http(HttpError::Transport { reason, .. }) => reason,
            StoreError::Truncated { had, wanted, .. } => {
                format!("it ends after {had} of {wanted} bytes, cut off or another file")
            }
            StoreError::TooLong { limit, .. } => format!("it is longer than {limit} bytes"),
            other => return K3sError::Store(other),
        };
        let (binary, images) = (self.release.binary(), self.release.images());
        let list = self.release.checksums();
        let from = self.release.folder_url();
        K3sError::Unreachable {
            url,
            reason,
            files: format!("{binary}, {images} and {list} from {from}/"),
        }
    }
}

/// An error about a file or folder.
pub(super) fn wrap(path: &Path, source: io::Error) -> K3sError {
    K3sError::Io { path: path.to_owned(), source }
}
