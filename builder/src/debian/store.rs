//! The cache: files named by their SHA-256, so that one with a right name has the right bytes.
//!
//! ```text
//! blobs/sha256/ab/ab12…           a finished file, never changed
//! blobs/sha256/ab/ab12….partial   a download; whoever writes it holds its lock
//! suites/trixie/<mirror>/         the last InRelease of a suite that was signed well
//! unpacked/ab12….{tar,index}      the files of a package (see `unpack`)
//! ```
//!
//! Two builders may share a cache. Files get their final names by a rename, after they were
//! checked and are on disk, so neither a crash nor a full disk leaves a wrong file behind.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::digest::Digest;
use super::http::{Http, HttpError};
use super::mirror::Mirror;
use super::proxy::{Proxies, ProxyError};
use crate::unfinished::UnfinishedError;

/// No builder unpacks a single package for a day.
const LEFTOVER_AGE: Duration = Duration::from_hours(24);

/// How the store reaches the archive.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Use only what is in the cache.
    pub offline: bool,
    /// Candidates, in order; see `mirror::candidates`.
    pub mirrors: Vec<Mirror>,
    pub proxies: Proxies,
}

/// A cache folder and the way to fill it.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    pub(super) http: Http,
    pub(super) offline: bool,
    mirrors: Vec<Mirror>,
}

/// Why a file isn't to be had.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("no room in the cache {path} ({source}): free some, or choose another with --cache")]
    NoRoom { path: PathBuf, source: io::Error },
    #[error("{0} is not in the cache: run once without --offline to fetch it")]
    Offline(String),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("{label}: {url} sent {had} of {wanted} bytes, again and again; try another mirror")]
    Truncated { label: String, url: String, had: u64, wanted: u64 },
    #[error(
        "{label}: {url} has other content than was signed ({found} instead of {wanted}); the \
         mirror is broken, tampered with, or just being updated: try again, or another mirror"
    )]
    Mismatch { label: String, url: String, wanted: Digest, found: String },
    #[error("{path}: {label} was damaged in the cache and must be fetched again: {source}")]
    Damaged { label: String, path: PathBuf, source: Box<StoreError> },
    #[error("{label}: {url} is longer than {limit} bytes, which no honest server sends")]
    TooLong { label: String, url: String, limit: u64 },
    #[error(
        "{label} is gone from {mirrors}: run `builder lock` to take what is there now, or give a \
         mirror or a cache that still has it"
    )]
    Vanished { label: String, mirrors: String },
    #[error("{0}: no mirror is known: give one with --mirror http://HOST/PATH")]
    NoMirror(String),
}

impl Store {
    /// Opens a cache folder, making it if need be.
    pub fn open(root: &Path, network: Network) -> Result<Self, StoreError> {
        for part in ["blobs/sha256", "suites", "unpacked"] {
            let path = root.join(part);
            fs::create_dir_all(&path).map_err(|error| wrap_io(&path, error))?;
        }
        remove_leftovers(&root.join("unpacked"));
        let http = Http::new(&network.proxies)?;
        let Network { offline, mirrors, .. } = network;
        Ok(Self { root: root.to_owned(), http, offline, mirrors })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn is_offline(&self) -> bool {
        self.offline
    }

    pub fn mirrors(&self) -> &[Mirror] {
        &self.mirrors
    }

    /// Where a finished file is, or will be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join("blobs/sha256").join(&name[..2]).join(&name)
    }

    /// A finished file, if there is one of this size. One of another size was damaged after it
    /// was stored; it counts as absent and is replaced. Of the right size it still may be damaged:
    /// see [`Self::obtain_intact`].
    pub fn open_blob(
        &self,
        digest: &Digest,
        size: Option<u64>,
    ) -> Result<Option<File>, StoreError> {
        let path = self.blob_path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrap_io(&path, error)),
        };
        let length = file.metadata().map_err(|error| wrap_io(&path, error))?.len();
        Ok(size.is_none_or(|size| size == length).then_some(file))
    }
}

/// Removes temporary files of builders that were killed long ago. They do no harm but take room,
/// so whatever goes wrong here is left for the next time.
fn remove_leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let is_temporary = entry.file_name().as_encoded_bytes().starts_with(b".");
        let modified = entry.metadata().and_then(|data| data.modified());
        let age = modified.ok().and_then(|time| time.elapsed().ok());
        if is_temporary && age.is_some_and(|age| age > LEFTOVER_AGE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl From<UnfinishedError> for StoreError {
    fn from(error: UnfinishedError) -> Self {
        match error {
            UnfinishedError::Create { path, source } | UnfinishedError::Finish { path, source } => {
                wrap_io(&path, source)
            }
        }
    }
}

/// Sorts "the disk is full" out from the other errors, since its mend is another.
pub(super) fn wrap_io(path: &Path, source: io::Error) -> StoreError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreError::NoRoom { path, source }
        }
        _ => StoreError::Io { path, source },
    }
}
