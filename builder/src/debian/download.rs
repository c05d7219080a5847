//! Downloads into the cache: resumed, checked while they stream, and retried.
//!
//! The partial file is the lock, too: of several builders that want the same file, one downloads
//! and the others wait for its lock and then find the finished file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::digest::{Digest, Hasher};
use super::http::{Answer, HttpError, Validator};
use super::package::Package;
use super::store::{Store, StoreError, wrap_io};
use crate::progress::{Bytes, Progress};

const CHUNK_BYTES: usize = 128 * 1024;
/// Attempts per address; between them the wait doubles from [`FIRST_WAIT`].
const ATTEMPTS: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Mirrors ask not to be hit by more connections than that from one client.
const PARALLEL_DOWNLOADS: usize = 4;
/// For a file of unknown size; the largest thing we ever fetch has about 0.5 GB.
const UNKNOWN_SIZE_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;

/// HTTP's answer to a range that begins behind the end.
const RANGE_NOT_SATISFIABLE: u16 = 416;

/// A file to have.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// What people call it, as in `postgresql-17 17.11-0+deb13u1`.
    pub label: &'a str,
    pub digest: Digest,
    pub size: Option<u64>,
    /// Where it may be, best first; one that doesn't have it is passed over.
    pub urls: Vec<String>,
}

/// A file that was read whole, and what names this version of it.
#[derive(Clone, Debug)]
pub(super) struct SmallFile {
    pub(super) bytes: Vec<u8>,
    pub(super) validator: Option<Validator>,
}

impl Wanted<'_> {
    /// How many bytes are taken before it must be something else.
    fn limit(&self) -> u64 {
        self.size.unwrap_or(UNKNOWN_SIZE_BYTES_MAX)
    }
}

/// A file that one address is asked for, and where to tell how much of it has come.
#[derive(Clone, Copy, Debug)]
struct Request<'a> {
    wanted: &'a Wanted<'a>,
    url: &'a str,
    bytes: &'a Bytes<'a>,
}

impl Store {
    /// The file from the cache, or downloaded into it.
    pub fn obtain(&self, wanted: &Wanted<'_>, progress: &Progress) -> Result<File, StoreError> {
        match self.open_blob(&wanted.digest, wanted.size)? {
            Some(file) => Ok(file),
            None => self.download(wanted, progress),
        }
    }

    /// The same for what is used as it lies there: it is hashed once more, since a disk may have
    /// damaged what was good when it was stored, and then fetched again.
    pub fn obtain_intact(
        &self,
        wanted: &Wanted<'_>,
        progress: &Progress,
    ) -> Result<File, StoreError> {
        let Some(file) = self.open_blob(&wanted.digest, wanted.size)? else {
            return self.download(wanted, progress);
        };
        let path = self.blob_path(&wanted.digest);
        if hash(&file, &path)? == wanted.digest {
            return Ok(file);
        }
        self.download(wanted, progress).map_err(|source| StoreError::Damaged {
            label: wanted.label.to_owned(),
            path,
            source: Box::new(source),
        })
    }

    /// Downloads the file, in the place of whatever has its name in the cache.
    fn download(&self, wanted: &Wanted<'_>, progress: &Progress) -> Result<File, StoreError> {
        if self.offline {
            return Err(StoreError::Offline(wanted.label.to_owned()));
        }
        if wanted.urls.is_empty() {
            return Err(StoreError::NoMirror(wanted.label.to_owned()));
        }
        let path = self.blob_path(&wanted.digest);
        // Waiting for another builder's download must not look like an own one.
        let Some(mut partial) = Partial::lock(&path)? else {
            return File::open(&path).map_err(|error| wrap_io(&path, error));
        };
        let bytes = progress.bytes(wanted.label, wanted.size);
        let mut last = None;
        for url in &wanted.urls {
            match self.try_address(&mut partial, Request { wanted, url, bytes: &bytes }) {
                Ok(()) => {
                    let length = partial.length;
                    let file = partial.finish(&path)?;
                    bytes.finish("fetched", length);
                    return Ok(file);
                }
                Err(error @ (StoreError::Io { .. } | StoreError::NoRoom { .. })) => {
                    partial.abandon();
                    return Err(error);
                }
                // Of several failures the first that isn't a plain absence says most.
                Err(StoreError::Http(HttpError::NotFound(_))) if last.is_some() => {}
                Err(error) => last = Some(error),
            }
        }
        partial.keep_if_useful();
        Err(match last {
            Some(StoreError::Http(HttpError::NotFound(_))) | None => StoreError::Vanished {
                label: wanted.label.to_owned(),
                mirrors: wanted.urls.join(" and "),
            },
            Some(error) => error,
        })
    }

    fn try_address(&self, partial: &mut Partial, request: Request<'_>) -> Result<(), StoreError> {
        retried(|| {
            let resumed = partial.length > 0;
            self.transfer(partial, request).map_err(|error| {
                let again = match &error {
                    StoreError::Http(error) => error.is_transient(),
                    StoreError::Truncated { .. } => true,
                    // What a resumed download was begun with may be old; from the start it may fit.
                    StoreError::Mismatch { .. } => resumed,
                    _ => false,
                };
                (error, again)
            })
        })
    }

    /// One request, from where the partial file ends to the end.
    fn transfer(&self, partial: &mut Partial, request: Request<'_>) -> Result<(), StoreError> {
        let Request { wanted, url, .. } = request;
        if partial.length > wanted.limit() {
            partial.restart()?;
        }
        // An earlier run may have got everything and been killed before the rename.
        if partial.length > 0 && partial.digest() == wanted.digest {
            return Ok(());
        }
        if wanted.size != Some(partial.length) {
            self.receive(partial, request)?;
        }
        if let Some(size) = wanted.size
            && partial.length < size
        {
            let (label, url) = (wanted.label.to_owned(), url.to_owned());
            return Err(StoreError::Truncated { label, url, had: partial.length, wanted: size });
        }
        let found = partial.digest();
        if found != wanted.digest {
            partial.restart()?;
            return Err(StoreError::Mismatch {
                label: wanted.label.to_owned(),
                url: url.to_owned(),
                wanted: wanted.digest,
                found: found.to_string(),
            });
        }
        Ok(())
    }

    /// Appends what the server has beyond the partial file.
    fn receive(&self, partial: &mut Partial, request: Request<'_>) -> Result<(), StoreError> {
        let url = request.url;
        let answer = match self.http.get(url, partial.length, None) {
            // The server's file ends before ours does, so ours is of something else.
            Err(HttpError::Status { status: RANGE_NOT_SATISFIABLE, .. }) => {
                partial.restart()?;
                self.http.get(url, 0, None)?
            }
            answer => answer?,
        };
        // Nothing was said about a version that we have, so there always is a body.
        let Answer::Body { mut reader, offset, .. } = answer else {
            return Ok(());
        };
        if offset != partial.length {
            partial.restart()?;
        }
        request.bytes.set(partial.length);
        copy(&mut reader, partial, request)
    }

    /// Downloads what is missing of these packages, several at a time.
    pub fn fetch<'a>(
        &self,
        packages: impl IntoIterator<Item = &'a Package>,
        progress: &Progress,
    ) -> Result<(), StoreError> {
        let missing = |package: &&Package| !self.is_unpacked(&package.sha256);
        let packages: Vec<&Package> = packages.into_iter().filter(missing).collect();
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let failure = Mutex::new(None);
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let Some(package) = packages.get(next.fetch_add(1, Ordering::Relaxed)) else {
                    return;
                };
                if let Err(error) = self.package_file(package, progress) {
                    stop.store(true, Ordering::Relaxed);
                    if let Ok(mut slot) = failure.lock() {
                        slot.get_or_insert(error);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL_DOWNLOADS.min(packages.len()) {
                scope.spawn(work);
            }
        });
        match failure.into_inner() {
            Ok(Some(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// The `.deb` of a package.
    pub(super) fn package_file(
        &self,
        package: &Package,
        progress: &Progress,
    ) -> Result<File, StoreError> {
        self.obtain(&self.wanted(package, &package.to_string()), progress)
    }

    /// The `.deb` of a package, to be read now.
    pub(super) fn intact_package_file(
        &self,
        package: &Package,
        progress: &Progress,
    ) -> Result<File, StoreError> {
        self.obtain_intact(&self.wanted(package, &package.to_string()), progress)
    }

    fn wanted<'l>(&self, package: &Package, label: &'l str) -> Wanted<'l> {
        let first = package.mirror.iter();
        let others =
            self.mirrors().iter().filter(|mirror| Some(*mirror) != package.mirror.as_ref());
        let urls = first.chain(others).map(|mirror| mirror.file(&package.filename)).collect();
        Wanted { label, digest: package.sha256, size: Some(package.size), urls }
    }

    /// A small file whose hash nobody knows beforehand, unless it is still the version `known`.
    pub(super) fn small_file(
        &self,
        url: &str,
        limit: u64,
        known: Option<&Validator>,
    ) -> Result<Option<SmallFile>, StoreError> {
        retried(|| {
            self.read_small(url, limit, known).map_err(|error| {
                let again = matches!(&error, StoreError::Http(error) if error.is_transient());
                (error, again)
            })
        })
    }

    fn read_small(
        &self,
        url: &str,
        limit: u64,
        known: Option<&Validator>,
    ) -> Result<Option<SmallFile>, StoreError> {
        let Answer::Body { reader, validator, .. } = self.http.get(url, 0, known)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        reader.take(limit + 1).read_to_end(&mut bytes).map_err(|error| broken(url, &error))?;
        if bytes.len() as u64 > limit {
            let label = url.rsplit('/').next().unwrap_or(url).to_owned();
            return Err(StoreError::TooLong { label, url: url.to_owned(), limit });
        }
        Ok(Some(SmallFile { bytes, validator }))
    }

    /// A small file without a known hash, such as a list of checksums; the caller judges it.
    pub fn fetch_small(&self, url: &str, limit: u64) -> Result<Vec<u8>, StoreError> {
        if self.offline {
            return Err(StoreError::Offline(url.to_owned()));
        }
        Ok(self.small_file(url, limit, None)?.map(|file| file.bytes).unwrap_or_default())
    }
}

/// What a whole file hashes to; where it is read from next stays as it was.
fn hash(file: &File, path: &Path) -> Result<Digest, StoreError> {
    let mut hasher = Hasher::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    loop {
        match file.read_at(&mut chunk, offset) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => {
                hasher.update(&chunk[..count]);
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(wrap_io(path, error)),
        }
    }
}

/// Does it again while it fails in a way that may pass, [`ATTEMPTS`] times at most. A failure says
/// with itself whether it may.
fn retried<T>(mut attempt: impl FnMut() -> Result<T, (StoreError, bool)>) -> Result<T, StoreError> {
    let mut wait = FIRST_WAIT;
    let mut count = 0;
    loop {
        count += 1;
        match attempt() {
            Ok(done) => return Ok(done),
            Err((_, true)) if count < ATTEMPTS => std::thread::sleep(wait),
            Err((error, _)) => return Err(error),
        }
        wait *= 2;
    }
}

fn copy(
    reader: &mut dyn Read,
    partial: &mut Partial,
    Request { wanted, url, bytes }: Request<'_>,
) -> Result<(), StoreError> {
    let limit = wanted.limit();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = match reader.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(url, &error)),
        };
        if partial.length + count as u64 > limit {
            partial.restart()?;
            let (label, url) = (wanted.label.to_owned(), url.to_owned());
            return Err(StoreError::TooLong { label, url, limit });
        }
        partial.append(&chunk[..count])?;
        bytes.add(count as u64);
    }
}

fn broken(url: &str, error: &io::Error) -> StoreError {
    let (url, reason) = (url.to_owned(), error.to_string());
    HttpError::Transport { url, reason, transient: true }.into()
}

/// A download in progress, locked.
#[derive(Debug)]
struct Partial {
    file: File,
    path: PathBuf,
    length: u64,
    hasher: Hasher,
}

impl Partial {
    /// Opens and locks the partial file of `path`; none if somebody else finished it meanwhile.
    fn lock(path: &Path) -> Result<Option<Self>, StoreError> {
        let partial = path.with_extension("partial");
        let wrap = |error| wrap_io(&partial, error);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(wrap)?;
        }
        let existed = path.exists();
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let file = options.open(&partial).map_err(wrap)?;
            flock(&file, FlockOperation::LockExclusive).map_err(|error| wrap(error.into()))?;
            // Who held the lock before may have renamed or removed the file that we opened. A
            // final file that was there from the start is a damaged one, to be replaced.
            let current = fs::metadata(&partial).ok().map(|data| data.ino());
            let is_ours = current == Some(file.metadata().map_err(wrap)?.ino());
            if !existed && path.exists() {
                if is_ours {
                    let _ = fs::remove_file(&partial);
                }
                return Ok(None);
            }
            if is_ours {
                let hasher = Hasher::default();
                let mut found = Self { file, path: partial, length: 0, hasher };
                found.take_over()?;
                return Ok(Some(found));
            }
        }
    }

    /// Hashes what an earlier attempt left, so that the download goes on from there.
    fn take_over(&mut self) -> Result<(), StoreError> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = self.file.read(&mut chunk).map_err(|error| wrap_io(&self.path, error))?;
            if count == 0 {
                return Ok(());
            }
            self.hasher.update(&chunk[..count]);
            self.length += count as u64;
        }
    }

    /// Of what is there so far.
    fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(|error| wrap_io(&self.path, error))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> Result<(), StoreError> {
        let cut = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        cut.map_err(|error| wrap_io(&self.path, error))?;
        self.length = 0;
        self.hasher = Hasher::default();
        Ok(())
    }

    fn finish(mut self, path: &Path) -> Result<File, StoreError> {
        let wrap = |error| wrap_io(path, error);
        self.file.sync_data().map_err(wrap)?;
        fs::rename(&self.path, path).map_err(wrap)?;
        if let Some(folder) = path.parent() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(wrap)?;
        }
        self.file.seek(SeekFrom::Start(0)).map_err(wrap)?;
        // The lock goes with this file; a fresh one also can't be written to by mistake.
        File::open(path).map_err(wrap)
    }

    /// Gives the room back.
    fn abandon(self) {
        // Nothing better can be done when even that fails; the name says that it is partial.
        let _ = fs::remove_file(&self.path);
    }

    /// What was downloaded so far helps the next run; an empty file only clutters.
    fn keep_if_useful(self) {
        if self.length == 0 {
            self.abandon();
        }
    }
}
