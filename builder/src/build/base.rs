//! The base image: everything that all nodes share, made once and kept in the cache.
//!
//! It is found again by a key over all that goes into it: which packages there are, the image
//! definition, the overlays' files, our own binaries and the builder itself. A base with the right
//! key has the right bytes, so nothing is assembled twice. Who edits an overlay while a base is made
//! of it gets none: what went in is compared with what the key is over before the base has a name.

use std::cmp::Reverse;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::packages::ArchivePackages;
use super::source::{Source, SourceError};
use crate::debian::store::StoreError;
use crate::image::assemble::{self, AssembleError};
use crate::k3s::{self, K3sError, K3sFiles};
use crate::node::NodeBinary;
use crate::progress::Progress;
use crate::root::compose::{self, ComposeError, Extra, Ingredients};
use crate::root::content::Content;
use crate::root::definition::Definition;
use crate::root::overlay::{Overlay, OverlayError};
use crate::unfinished::{self, Unfinished, UnfinishedError};

/// Where K3s and its air-gap images lie on a node.
const K3S_PATH: &str = "/usr/bin/k3s";
const K3S_IMAGES: &str = "/usr/share/k3s/images";
/// Older bases are removed: each is some hundred megabytes, and only recent inputs come again.
const KEPT_BASES: usize = 4;

#[derive(Debug, Error)]
pub enum BaseError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    K3s(Box<K3sError>),
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    #[error(transparent)]
    Compose(#[from] ComposeError),
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    #[error(transparent)]
    Unfinished(#[from] UnfinishedError),
    #[error("{}: {source}", path.display())]
    Record { path: PathBuf, source: serde_json::Error },
    #[error("{} changed while the image was built: build again", path.display())]
    Changed { path: PathBuf },
}

/// Something that is edited or built beside us and goes into a base, as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    path: PathBuf,
    digest: [u8; 32],
}

/// The definition and the overlays as they lie there now. Ask as soon as they are parsed: building
/// the node's binaries takes minutes, and what was parsed is what a base is made of.
pub fn written(definition: &Definition, overlays: &[Overlay]) -> Result<Vec<Part>, BaseError> {
    let mut parts = vec![Part::of_file(&definition.path)?];
    for overlay in overlays {
        let digest = overlay.fingerprint()?;
        parts.push(Part { path: overlay.folder.clone(), digest });
    }
    Ok(parts)
}

/// Fails if any part is no longer what it was.
fn compare(was: &[Part], is: &[Part]) -> Result<(), BaseError> {
    match was.iter().zip(is).find(|(was, is)| was != is) {
        Some((was, _)) => Err(BaseError::Changed { path: was.path.clone() }),
        None => Ok(()),
    }
}

impl Part {
    fn of_file(path: &Path) -> Result<Self, BaseError> {
        let path = path.to_owned();
        match fs::read(&path) {
            Ok(bytes) => Ok(Self { path, digest: Sha256::digest(bytes).into() }),
            Err(source) => Err(BaseError::Io { path, source }),
        }
    }
}

/// What goes into a base image.
#[derive(Debug)]
pub struct Inputs<'a> {
    pub definition: &'a Definition,
    pub overlays: &'a [Overlay],
    /// What [`written`] said of both when they were parsed.
    pub written: &'a [Part],
    pub binaries: &'a [NodeBinary],
    pub source: &'a Source,
    pub k3s: Option<&'a K3sFiles>,
    /// Make it anew even if the cache has it.
    pub anew: bool,
}

/// A base image in the cache.
#[derive(Clone, Debug)]
pub struct Base {
    pub path: PathBuf,
    pub record: Record,
}

/// What is worth knowing about a base, kept beside it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Record {
    pub verity_root: String,
    pub source_date: u64,
    pub packages: usize,
    pub stand_in: bool,
    pub debug: bool,
    /// Bytes of the root filesystem that are in use.
    pub root_used_bytes: u64,
}

impl Inputs<'_> {
    /// Finds the base in the cache or makes it.
    pub fn obtain(&self, cache: &Path, progress: &Progress) -> Result<Base, BaseError> {
        let folder = cache.join("bases");
        fs::create_dir_all(&folder)
            .map_err(|source| BaseError::Io { path: folder.clone(), source })?;
        let parts = self.with_binaries(self.written.to_vec())?;
        let key = self.key(&parts)?;
        let path = folder.join(format!("{key}.raw"));
        let record_path = path.with_extension("json");
        // Two builds of the same image do the work once: the second waits and finds it done.
        let lock_path = path.with_extension("lock");
        let lock = File::create(&lock_path)
            .map_err(|source| BaseError::Io { path: lock_path.clone(), source })?;
        lock_alone(&lock, progress)
            .map_err(|errno| BaseError::Io { path: lock_path.clone(), source: errno.into() })?;
        if !self.anew
            && path.is_file()
            && let Some(record) = read_record(&record_path)
        {
            mark_used(&path);
            progress.note("the image of these inputs is in the cache");
            return Ok(Base { path, record });
        }
        let record = self.make(&path, &parts, progress)?;
        let text = serde_json::to_string(&record)
            .map_err(|source| BaseError::Record { path: record_path.clone(), source })?;
        unfinished::write_whole(&record_path, text.as_bytes())?;
        remove_old(&folder, &key);
        Ok(Base { path, record })
    }

    /// Makes the base of these parts.
    fn make(&self, path: &Path, parts: &[Part], progress: &Progress) -> Result<Record, BaseError> {
        let step = progress.step("packages");
        let resolution = self.source.resolve(self.definition, self.overlays)?;
        step.finish(&format!("{} can be asked", resolution.packages.len()));
        let named = super::source::wanted(self.definition, self.overlays);
        let named = named.iter().filter_map(|name| resolution.get(name));
        self.source.store.fetch(named.map(|selected| &selected.package), progress)?;
        let packages = ArchivePackages::new(&self.source.store, &resolution, progress);

        let step = progress.step("root tree");
        let ingredients = Ingredients {
            definition: self.definition,
            overlays: self.overlays,
            init: self.init()?,
            extras: self.own_files()?.into_iter().chain(self.k3s_files()?).collect(),
            links: self.k3s_links(),
            k3s_version: self.k3s.map(|k3s| k3s.version.clone()),
            source_date: self.source.date(),
        };
        let composition = compose::compose(ingredients, &packages)?;
        let manifest = &composition.manifest;
        step.finish(&format!(
            "{} entries from {} packages",
            composition.root.len(),
            manifest.packages.len()
        ));
        let unfinished = Unfinished::create(path)?;
        let assembled =
            assemble::assemble(unfinished.file(), &composition, self.definition, progress)?;
        let now = self.with_binaries(written(self.definition, self.overlays)?)?;
        compare(parts, &now)?;
        self.compare_k3s()?;
        unfinished.finish()?;
        Ok(Record {
            verity_root: disk::verity::to_hex(&assembled.verity_root),
            source_date: manifest.source_date,
            packages: manifest.packages.len(),
            stand_in: manifest.stand_in,
            debug: manifest.debug,
            root_used_bytes: assembled.root_used_bytes,
        })
    }

    /// Files of K3s that a person gave lie where anybody may write, and were hashed minutes ago.
    fn compare_k3s(&self) -> Result<(), BaseError> {
        let Some(k3s) = self.k3s else { return Ok(()) };
        let paths = [Some(&k3s.binary), k3s.images.as_ref()].into_iter().flatten();
        for (path, artifact) in paths.zip(&k3s.artifacts) {
            let now = k3s::digest_of(path).map_err(|error| BaseError::K3s(Box::new(error)))?;
            if now != artifact.sha256 {
                return Err(BaseError::Changed { path: path.clone() });
            }
        }
        Ok(())
    }

    fn init(&self) -> Result<Content, BaseError> {
        let found = self.binaries.iter().find(|binary| binary.name == "init");
        let path = found.map(|binary| binary.path.clone()).unwrap_or_default();
        let bytes = fs::read(&path).map_err(|source| BaseError::Io { path, source })?;
        Ok(Content::from_bytes(bytes))
    }

    /// Our own programs beside `init`, which has a place of its own in both trees.
    fn own_files(&self) -> Result<Vec<Extra>, BaseError> {
        let beside = self.binaries.iter().filter(|binary| binary.name != "init");
        let place = |name| format!("{}/{name}", compose::OWN_FOLDER);
        beside.map(|binary| extra(place(binary.name), &binary.path, 0o755)).collect()
    }

    /// The release's files where the node looks for them.
    fn k3s_files(&self) -> Result<Vec<Extra>, BaseError> {
        let Some(k3s) = self.k3s else { return Ok(Vec::new()) };
        let mut files = vec![extra(K3S_PATH.to_owned(), &k3s.binary, 0o755)?];
        if let Some(images) = &k3s.images {
            let name = images_name(self.definition);
            files.push(extra(format!("{K3S_IMAGES}/{name}"), images, 0o644)?);
        }
        Ok(files)
    }

    /// K3s looks at the name that it is called by.
    fn k3s_links(&self) -> Vec<(String, String)> {
        let names = ["kubectl", "crictl", "ctr"].into_iter().filter(|_| self.k3s.is_some());
        names.map(|name| (format!("/usr/bin/{name}"), "k3s".to_owned())).collect()
    }

    /// The parts, and our own binaries as they are now.
    fn with_binaries(&self, mut parts: Vec<Part>) -> Result<Vec<Part>, BaseError> {
        for binary in self.binaries {
            parts.push(Part::of_file(&binary.path)?);
        }
        Ok(parts)
    }

    /// A hash over everything that can change a byte of the base.
    fn key(&self, parts: &[Part]) -> Result<String, BaseError> {
        let mut hasher = Sha256::new();
        hasher.update(self.source.fingerprint()?);
        for artifact in self.k3s.iter().flat_map(|k3s| &k3s.artifacts) {
            hasher.update(format!("{} {}\n", artifact.name, artifact.sha256));
        }
        for part in parts {
            hasher.update(part.digest);
        }
        // The builder decides how the bytes are laid out. By this link it is what runs, also when a
        // newer one was put in its place meanwhile.
        hasher.update(Part::of_file(Path::new("/proc/self/exe"))?.digest);
        Ok(disk::verity::to_hex(&hasher.finalize()[..16]))
    }
}

fn images_name(definition: &Definition) -> String {
    format!("k3s-airgap-images-{}.tar.zst", definition.architecture.debian())
}

/// A file of any size, read when it is written.
fn extra(path: String, from: &Path, mode: u16) -> Result<Extra, BaseError> {
    let fail = |source| BaseError::Io { path: from.to_owned(), source };
    let file = File::open(from).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    Ok(Extra { path, content: Content::Slice { file: Arc::new(file), offset: 0, length }, mode })
}

/// Locks the file once nobody else has it locked, and says so if that may take a while.
fn lock_alone(lock: &File, progress: &Progress) -> Result<(), Errno> {
    match flock(lock, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => {
            let step = progress.long_step("waiting for another build of the same image");
            flock(lock, FlockOperation::LockExclusive)?;
            step.finish("");
            Ok(())
        }
        other => other,
    }
}

fn read_record(path: &Path) -> Option<Record> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

/// Counts a base as new, so that a build beside this one, which makes another, doesn't remove it.
fn mark_used(path: &Path) {
    // In a cache that belongs to somebody else it stays as old as it is, and is used all the same.
    let _old = File::open(path).and_then(|base| base.set_modified(SystemTime::now()));
}

/// Keeps the bases that were made or used last, and the one just made; what can't be removed costs
/// only room.
fn remove_old(folder: &Path, current: &str) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut bases: Vec<(SystemTime, PathBuf)> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "raw"))
        .filter(|path| path.file_stem().is_none_or(|stem| stem != current))
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    bases.sort_by_key(|(modified, _)| Reverse(*modified));
    for (_, path) in bases.iter().skip(KEPT_BASES - 1) {
        for extension in ["raw", "json", "lock"] {
            let _kept = fs::remove_file(path.with_extension(extension));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc::{Sender, channel};
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::root::overlay;

    struct Told(Sender<Vec<u8>>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_waits_for_another_build_says_so_before() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let open = || file.reopen().expect("opened");
        let (other, ours) = (open(), open());
        let (told, heard) = channel();
        let progress = Progress::lines(Box::new(Told(told)));
        flock(&other, FlockOperation::LockExclusive).expect("free");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| lock_alone(&ours, &progress));
            let said = heard.recv().expect("said");
            assert!(said.starts_with(b"waiting for another build"), "{said:?}");
            drop(other);
            waiting.join().expect("it ended").expect("locked");
        });
    }

    #[test]
    fn what_was_edited_since_it_was_parsed_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let (definition, one) = (folder.path().join("lab.toml"), folder.path().join("one"));
        let lab = include_str!("../../../images/lab.toml");
        fs::write(&definition, lab).expect("written");
        fs::create_dir(&one).expect("made");
        fs::write(one.join("overlay.toml"), "summary = \"one\"\n").expect("written");
        let parsed = Definition::load(&definition).expect("a definition");
        let overlays = overlay::load_all(&[folder.path().to_owned()], &["one".to_owned()]);
        let overlays = overlays.expect("an overlay");
        let now = || written(&parsed, &overlays).expect("read");
        let first = now();
        compare(&first, &now()).expect("nothing changed");
        let changed = |path: &Path| {
            let error = compare(&first, &now()).expect_err("it changed").to_string();
            assert!(error.starts_with(&format!("{} changed", path.display())), "{error}");
        };
        fs::write(one.join("overlay.toml"), "summary = \"two\"\n").expect("written");
        changed(&one);
        fs::write(&definition, format!("{lab}# edited\n")).expect("written");
        changed(&definition);
    }

    #[test]
    fn a_base_that_is_in_use_outlives_those_made_after_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).with_extension("raw");
        for (age, name) in ["newest", "newer", "new", "used"].into_iter().enumerate() {
            let file = File::create(path(name)).expect("created");
            let hours = Duration::from_hours(1 + u64::try_from(age).expect("small"));
            file.set_modified(SystemTime::now() - hours).expect("set");
        }
        File::create(path("current")).expect("created");
        mark_used(&path("used"));
        remove_old(folder.path(), "current");
        let kept = ["current", "used", "newest", "newer", "new"].map(|name| path(name).exists());
        assert_eq!(kept, [true, true, true, true, false]);
    }
}
