//! A Debian archive, opened and verified: `InRelease` signature, then `Packages` by hash.
//!
//! Which suite is where is found by asking the candidates. Online, `InRelease` is always asked
//! for again (if only to hear that it is unchanged); everything else is named by a hash and taken
//! from the cache when it is there. Offline a suite is what a candidate had last, else the newest
//! that any mirror ever had.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use super::digest::{Digest, Hasher};
use super::download::{SmallFile, Wanted};
use super::http::{HttpError, Validator};
use super::index::{INDEX_BYTES_MAX, Index, IndexError, IndexText};
use super::mirror::Mirror;
use super::openpgp::{Keyring, OpenpgpError};
use super::package::Package;
use super::release::{IndexFile, Release, ReleaseError, readable_date};
use super::resolve::{Resolution, ResolveError, resolve};
use super::store::{Store, StoreError, wrap_io};
use super::unpack::{Compression, decompress};
use crate::explain::without_logins;
use crate::progress::Progress;
use crate::unfinished;

/// Debian's largest has 0.2 MB.
const INRELEASE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What to open.
#[derive(Clone, Debug)]
pub struct ArchiveRequest {
    /// As Debian calls it: `amd64`, `arm64`.
    pub architecture: String,
    /// Such as `trixie`, `trixie-updates`, `trixie-security`.
    pub suites: Vec<String>,
    /// Such as `main`, `non-free-firmware`.
    pub components: Vec<String>,
    /// Other keys than Debian's.
    pub keyring: Option<PathBuf>,
    /// Unix seconds; a parameter, so that nothing below reads a clock.
    pub now: u64,
}

/// An opened archive.
#[derive(Debug)]
pub struct Archive {
    architecture: String,
    suites: Vec<Suite>,
    index: Index,
}

/// A verified suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suite {
    /// As it was asked for.
    pub name: String,
    pub codename: String,
    pub mirror: Mirror,
    /// Unix seconds.
    pub date: u64,
    pub inrelease_sha256: Digest,
}

/// Why an archive can't be opened.
#[derive(Debug, Error)]
pub enum ArchiveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Keyring(OpenpgpError),
    #[error("the name {0:?} can't be that of a suite, a component or an architecture")]
    BadName(String),
    #[error("no suite was asked for: name one, such as trixie")]
    NoSuite,
    #[error("{url}: {source}")]
    Signature { url: String, source: OpenpgpError },
    #[error("{url} is signed, but {source}")]
    Release { url: String, source: ReleaseError },
    #[error("{url} is the release of {found}, not of {wanted}; the mirror is mixed up")]
    OtherSuite { url: String, found: String, wanted: String },
    #[error(
        "{url} was valid until {until}, which is over (the clock says {now}): the mirror is stale, \
         so take another one, or set this machine's clock right"
    )]
    Expired { url: String, until: String, now: String },
    #[error("the suite {suite} is not at {mirrors}: check its name, or give a mirror that has it")]
    SuiteNotFound { suite: String, mirrors: String },
    #[error("{suite} at {mirror} has no index {path}: check architecture and component names")]
    NoIndex { suite: String, mirror: Mirror, path: String },
    #[error("the index {path} can't be unpacked: {reason}; try again, or another mirror")]
    BadIndex { path: String, reason: String },
}

impl Archive {
    /// Fetches and verifies what is needed to resolve packages.
    pub fn open(
        store: &Store,
        request: &ArchiveRequest,
        progress: &Progress,
    ) -> Result<Self, ArchiveError> {
        let names = request.suites.iter().chain(&request.components);
        for name in names.chain([&request.architecture]) {
            check_name(name)?;
        }
        if request.suites.is_empty() {
            return Err(ArchiveError::NoSuite);
        }
        let keyring = match &request.keyring {
            Some(path) => Keyring::load(path),
            None => Keyring::embedded(),
        };
        let keyring = keyring.map_err(ArchiveError::Keyring)?;
        let opened = std::thread::scope(|scope| {
            let open = |name| {
                let keyring = &keyring;
                scope.spawn(move || open_suite(store, request, keyring, name, progress))
            };
            let threads: Vec<_> = request.suites.iter().map(String::as_str).map(open).collect();
            let finish = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(finish).collect::<Result<Vec<_>, ArchiveError>>()
        })?;
        let (suites, texts): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
        let index = Index::new(texts.into_iter().flatten().collect())?;
        Ok(Self { architecture: request.architecture.clone(), suites, index })
    }

    /// When the newest suite was made, in Unix seconds: the time of everything built from it.
    pub fn date(&self) -> u64 {
        self.suites.iter().map(|suite| suite.date).max().unwrap_or(0)
    }

    pub fn suites(&self) -> &[Suite] {
        &self.suites
    }

    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// How many packages there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The package of this name at its highest version in all suites.
    pub fn package(&self, name: &str) -> Result<Option<Package>, IndexError> {
        self.index.package(name)
    }

    /// The wanted packages and all that they need.
    pub fn resolve(&self, wanted: &[impl AsRef<str>]) -> Result<Resolution, ResolveError> {
        resolve(&self.index, &self.architecture, wanted)
    }
}

/// Names become parts of addresses and of paths in the cache.
fn check_name(name: &str) -> Result<(), ArchiveError> {
    let proper = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    let parts = name.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
    if name.bytes().all(proper) && parts {
        return Ok(());
    }
    Err(ArchiveError::BadName(name.to_owned()))
}

fn open_suite(
    store: &Store,
    request: &ArchiveRequest,
    keyring: &Keyring,
    name: &str,
    progress: &Progress,
) -> Result<(Suite, Vec<IndexText>), ArchiveError> {
    let found = find_suite(store, request, keyring, name, progress)?;
    let mut texts = Vec::new();
    for component in &request.components {
        let folder = format!("{component}/binary-{}", request.architecture);
        let text = fetch_index(store, &found, name, &folder, progress)?;
        let (suite, mirror) = (name.to_owned(), found.mirror.clone());
        texts.push(IndexText { text, suite, mirror });
    }
    let suite = Suite {
        name: name.to_owned(),
        codename: found.release.codename,
        mirror: found.mirror,
        date: found.release.date,
        inrelease_sha256: found.digest,
    };
    Ok((suite, texts))
}

struct FoundSuite {
    mirror: Mirror,
    release: Release,
    digest: Digest,
}

/// Asks one candidate after the other. One that doesn't answer is passed over, too, but named if
/// no other has the suite; one that answers wrongly is an error, since somebody may be lying.
fn find_suite(
    store: &Store,
    request: &ArchiveRequest,
    keyring: &Keyring,
    name: &str,
    progress: &Progress,
) -> Result<FoundSuite, ArchiveError> {
    if store.mirrors().is_empty() && !store.is_offline() {
        return Err(StoreError::NoMirror(format!("the suite {name}")).into());
    }
    let mut failure = None;
    for mirror in store.mirrors() {
        match read_suite(store, request, keyring, name, mirror, progress) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(ArchiveError::Store(error)) => failure = failure.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    if let Some(error) = failure {
        return Err(error.into());
    }
    if store.is_offline() {
        let newest = newest_in_cache(store, request, keyring, name)?;
        return newest.ok_or_else(|| StoreError::Offline(format!("the suite {name}")).into());
    }
    let mirrors: Vec<&str> = store.mirrors().iter().map(Mirror::as_str).collect();
    let (suite, mirrors) = (name.to_owned(), mirrors.join(" and "));
    Err(ArchiveError::SuiteNotFound { suite, mirrors })
}

/// The newest release of a suite that the cache has, from whichever mirror it came: packages are
/// found by their hashes, so it doesn't matter which.
fn newest_in_cache(
    store: &Store,
    request: &ArchiveRequest,
    keyring: &Keyring,
    name: &str,
) -> Result<Option<FoundSuite>, ArchiveError> {
    let folder = suite_folder(store, name);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrap_io(&folder, error).into()),
    };
    let mut good: Vec<FoundSuite> = Vec::new();
    let mut failure = None;
    for entry in entries.flatten() {
        let saved = SavedRelease::in_folder(&entry.path());
        // What can't be read is nothing that we saved.
        let Ok(Some(SmallFile { bytes, .. })) = saved.load() else {
            continue;
        };
        match judge(&saved.text.display().to_string(), &bytes, request, keyring, name) {
            Ok(release) => {
                let (mirror, digest) = (Mirror::cache(), Digest::of(&bytes));
                good.push(FoundSuite { mirror, release, digest });
            }
            // One that is damaged, or signed for another keyring, hides no good one.
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    // A build that was interrupted may have left a newer one without its indexes, of which nothing
    // can be built.
    let has_indexes = |found: &FoundSuite| {
        request.components.iter().all(|component| {
            let path = format!("{component}/binary-{}/Packages", request.architecture);
            let listed = found.release.file(&path);
            let there = |file: IndexFile| store.open_blob(&file.digest, Some(file.size));
            listed.is_some_and(|file| there(file).is_ok_and(|blob| blob.is_some()))
        })
    };
    let newest = good.into_iter().max_by_key(|found| (has_indexes(found), found.release.date));
    match (newest, failure) {
        (None, Some(error)) => Err(error),
        (newest, _) => Ok(newest),
    }
}

/// None if this mirror doesn't have the suite (offline: if we never had it from there).
fn read_suite(
    store: &Store,
    request: &ArchiveRequest,
    keyring: &Keyring,
    name: &str,
    mirror: &Mirror,
    progress: &Progress,
) -> Result<Option<FoundSuite>, ArchiveError> {
    let url = mirror.file(&format!("dists/{name}/InRelease"));
    let saved = SavedRelease::new(store, mirror, name);
    let old = saved.load()?;
    let fresh = if store.is_offline() {
        None
    } else {
        let known = old.as_ref().and_then(|old| old.validator.as_ref());
        match store.small_file(&url, INRELEASE_BYTES_MAX, known) {
            Ok(fresh) => fresh,
            Err(StoreError::Http(HttpError::NotFound(_))) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    };
    let judged = |bytes: Vec<u8>| -> Result<Judged, ArchiveError> {
        let release = judge(&url, &bytes, request, keyring, name)?;
        Ok(Judged { bytes, release })
    };
    let (found, news) = match (fresh, old) {
        (None, None) => return Ok(None),
        (None, Some(old)) => (judged(old.bytes)?, None),
        (Some(fresh), old) => {
            let new = judged(fresh.bytes)?;
            // What this keyring doesn't vouch for is no measure.
            let old = old.and_then(|old| judged(old.bytes).ok());
            match old.filter(|old| old.release.date > new.release.date) {
                // Somebody may serve what was right once, to keep later mends from us.
                Some(old) => {
                    let warning = saved.older(&url, old.release.date, new.release.date);
                    progress.warn(&without_logins(&warning));
                    (old, None)
                }
                None => (new, Some(fresh.validator)),
            }
        }
    };
    // An end of validity is there against mirrors that hold back news. Offline nobody does: what
    // is in the cache was valid when it came, and an air-gapped site builds from it for years.
    if let Some(until) = found.release.valid_until
        && until < request.now
        && !store.is_offline()
    {
        let (until, now) = (readable_date(until), readable_date(request.now));
        return Err(ArchiveError::Expired { url, until, now });
    }
    // Only what was found good may replace what was found good before.
    if let Some(validator) = news {
        saved.save(&found.bytes, validator.as_ref())?;
    }
    let digest = Digest::of(&found.bytes);
    Ok(Some(FoundSuite { mirror: mirror.clone(), release: found.release, digest }))
}

/// A release that was found good, and the text that says so.
struct Judged {
    bytes: Vec<u8>,
    release: Release,
}

fn judge(
    url: &str,
    bytes: &[u8],
    request: &ArchiveRequest,
    keyring: &Keyring,
    name: &str,
) -> Result<Release, ArchiveError> {
    let url = || url.to_owned();
    let text = String::from_utf8_lossy(bytes);
    let signed = keyring.verify(&text, request.now);
    let signed = signed.map_err(|source| ArchiveError::Signature { url: url(), source })?;
    let release = Release::parse(&signed);
    let release = release.map_err(|source| ArchiveError::Release { url: url(), source })?;
    // A mirror could serve another suite's release, signed just as well.
    if release.codename != name && release.suite != name {
        let found = format!("{} ({})", release.codename, release.suite);
        return Err(ArchiveError::OtherSuite { url: url(), found, wanted: name.to_owned() });
    }
    Ok(release)
}

/// Where the cache has what it knows of a suite, in a folder for each mirror.
fn suite_folder(store: &Store, suite: &str) -> PathBuf {
    store.root().join("suites").join(suite.replace('/', "_"))
}

/// The last good `InRelease` of a suite at a mirror, and what names its version there.
struct SavedRelease {
    text: PathBuf,
    validator: PathBuf,
}

impl SavedRelease {
    fn new(store: &Store, mirror: &Mirror, suite: &str) -> Self {
        let place = &Digest::of(mirror.as_str().as_bytes()).to_string()[..16];
        Self::in_folder(&suite_folder(store, suite).join(place))
    }

    fn in_folder(folder: &Path) -> Self {
        Self { text: folder.join("InRelease"), validator: folder.join("validator") }
    }

    /// A warning that the mirror went back in time.
    fn older(&self, url: &str, had: u64, has: u64) -> String {
        let (had, has) = (readable_date(had), readable_date(has));
        format!(
            "warning: {url} is of {has}, and was of {had} before: the mirror is stale, or somebody \
             holds back news. The newer one is used; to take the older one, remove {}",
            self.text.display()
        )
    }

    fn load(&self) -> Result<Option<SmallFile>, StoreError> {
        let read = |path: &PathBuf| match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(wrap_io(path, error)),
        };
        let Some(bytes) = read(&self.text)? else {
            return Ok(None);
        };
        // The validator names the digest of the text that it belongs to, since the two files are
        // not replaced at once.
        let validator = read(&self.validator)?.and_then(|line| {
            let line = String::from_utf8(line).ok()?;
            let (digest, rest) = line.split_once(' ')?;
            let (kind, value) = rest.split_once(' ')?;
            (digest == Digest::of(&bytes).to_string()).then_some(())?;
            match kind {
                "tag" => Some(Validator::Tag(value.to_owned())),
                "modified" => Some(Validator::Modified(value.to_owned())),
                _ => None,
            }
        });
        Ok(Some(SmallFile { bytes, validator }))
    }

    fn save(&self, text: &[u8], validator: Option<&Validator>) -> Result<(), StoreError> {
        unfinished::write_whole(&self.text, text)?;
        let (kind, value) = match validator {
            Some(Validator::Tag(tag)) => ("tag", tag.as_str()),
            Some(Validator::Modified(date)) => ("modified", date.as_str()),
            None => ("none", ""),
        };
        let line = format!("{} {kind} {value}", Digest::of(text));
        Ok(unfinished::write_whole(&self.validator, line.as_bytes())?)
    }
}

/// The text of an index, from the cache or unpacked into it.
fn fetch_index(
    store: &Store,
    found: &FoundSuite,
    suite: &str,
    folder: &str,
    progress: &Progress,
) -> Result<String, ArchiveError> {
    let path = format!("{folder}/Packages");
    let no_index = || {
        let (suite, mirror) = (suite.to_owned(), found.mirror.clone());
        ArchiveError::NoIndex { suite, mirror, path: path.clone() }
    };
    let plain = found.release.file(&path).ok_or_else(no_index)?;
    if plain.size > INDEX_BYTES_MAX {
        let (suite, mirror) = (suite.to_owned(), found.mirror.clone());
        return Err(IndexError::TooLarge { suite, mirror }.into());
    }
    let bad = |reason: String| ArchiveError::BadIndex { path: path.clone(), reason };
    if let Some(mut file) = store.open_blob(&plain.digest, Some(plain.size))? {
        let mut text = Vec::with_capacity(usize::try_from(plain.size).unwrap_or(0));
        file.read_to_end(&mut text).map_err(|error| wrap_io(store.root(), error))?;
        if Digest::of(&text) == plain.digest {
            return String::from_utf8(text).map_err(|error| bad(error.to_string()));
        }
    }
    let kinds = [(".xz", Compression::Xz), (".gz", Compression::Gzip), ("", Compression::None)];
    let listed = kinds.into_iter().find_map(|(extension, compression)| {
        let file = found.release.file(&format!("{path}{extension}"))?;
        Some((extension, compression, file))
    });
    let (extension, compression, packed) = listed.ok_or_else(no_index)?;
    let mut urls = Vec::new();
    if found.release.by_hash {
        let by_hash = format!("dists/{suite}/{folder}/by-hash/SHA256/{}", packed.digest);
        urls.push(found.mirror.file(&by_hash));
    }
    urls.push(found.mirror.file(&format!("dists/{suite}/{path}{extension}")));
    let label = format!("{suite} {path}");
    let wanted = Wanted { label: &label, digest: packed.digest, size: Some(packed.size), urls };
    let file = store.obtain(&wanted, progress)?;
    let text = unpack_index(file, compression, plain).map_err(bad)?;
    if compression != Compression::None {
        save_index(store, plain, text.as_bytes())?;
    }
    Ok(text)
}

fn unpack_index(
    file: impl Read + 'static,
    compression: Compression,
    plain: IndexFile,
) -> Result<String, String> {
    let mut text = Vec::with_capacity(usize::try_from(plain.size).unwrap_or(0));
    let reader = decompress(Box::new(file), compression).map_err(|error| error.to_string())?;
    reader.take(plain.size + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    let mut hasher = Hasher::default();
    hasher.update(&text);
    if hasher.finish() != plain.digest {
        return Err("its content is not what was signed".to_owned());
    }
    String::from_utf8(text).map_err(|error| error.to_string())
}

fn save_index(store: &Store, plain: IndexFile, text: &[u8]) -> Result<(), StoreError> {
    Ok(unfinished::write_whole(&store.blob_path(&plain.digest), text)?)
}
