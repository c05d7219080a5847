//! From a `.deb` to files: unpacked once, kept, and read in place ever after.
//!
//! `unpacked/HASH.tar` is the data member as it was before it was packed, and `HASH.index` says
//! where in it each file is. A warm build opens the two and decompresses nothing.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::deb::{DebError, Section, members};
use super::deb822::stanzas;
use super::digest::Digest;
use super::package::Package;
use super::store::{Store, StoreError, wrap_io};
use super::tarball::{Entry, EntryKind, TarError, read_tar};
use crate::progress::Progress;
use crate::root::content::Content;
use crate::root::tree::{NodeKind, TreePath};
use crate::unfinished::{self, Unfinished};

/// Bump it when the meaning of the index changes; older ones are made anew.
const INDEX_FORMAT: u32 = 1;
/// `xz -9` needs 64 MiB and some; more is nothing but an attack on memory.
const XZ_MEMORY_KIB_MAX: u32 = 130 * 1024;
/// The same for zstd: 2^27 bytes is its own command line's limit.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// The largest package of Debian unpacks to some 3 GB.
const UNPACKED_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Real packages stay below 60 times; small ones may have a long run of zeroes.
const UNPACKED_RATIO_MAX: u64 = 250;
const UNPACKED_RATIO_FREE_BYTES: u64 = 64 * 1024 * 1024;
/// Control members hold scripts and checksums; the largest have about 2 MB.
const CONTROL_BYTES_MAX: u64 = 32 * 1024 * 1024;
const BUFFER_BYTES: usize = 256 * 1024;

/// How a member or an index is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
}

/// The files of a package, in the order of its tar.
#[derive(Clone, Debug)]
pub struct PackageFiles {
    pub entries: Vec<PackageEntry>,
}

#[derive(Clone, Debug)]
pub struct PackageEntry {
    pub path: TreePath,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub kind: NodeKind,
}

/// Why a package can't be unpacked.
#[derive(Debug, Error)]
pub enum UnpackError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{package} is refused: {source}")]
    Deb { package: String, source: DebError },
    #[error("{package} is refused: {member} {source}")]
    Tar { package: String, member: &'static str, source: TarError },
    #[error("{package} is refused: it says of itself that it is {found}")]
    OtherPackage { package: String, found: String },
}

#[derive(Serialize, Deserialize)]
struct StoredIndex {
    format: u32,
    tar_bytes: u64,
    entries: Vec<Entry>,
}

impl Store {
    fn unpacked_path(&self, digest: &Digest, extension: &str) -> PathBuf {
        self.root().join("unpacked").join(format!("{digest}.{extension}"))
    }

    /// Whether the files of a package are there without its `.deb`.
    pub(super) fn is_unpacked(&self, digest: &Digest) -> bool {
        let there = |extension| self.unpacked_path(digest, extension).is_file();
        there("index") && there("tar")
    }

    /// The files of a package, fetched and unpacked if they aren't yet.
    pub fn unpack(
        &self,
        package: &Package,
        progress: &Progress,
    ) -> Result<PackageFiles, UnpackError> {
        if let Some(files) = self.open_unpacked(&package.sha256)? {
            return Ok(files);
        }
        let deb = self.intact_package_file(package, progress)?;
        let found = members(&deb)
            .map_err(|source| UnpackError::Deb { package: package.to_string(), source })?;
        let open = |member| -> Result<Box<dyn Read>, UnpackError> {
            let deb = deb.try_clone().map_err(|error| wrap_io(self.root(), error))?;
            Ok(Box::new(Section::new(deb, member)))
        };
        check_control(package, open(found.control)?, found.control.compression)?;
        let path = self.unpacked_path(&package.sha256, "tar");
        let tar = Unfinished::create(&path).map_err(StoreError::from)?;
        let mut copy = BufWriter::with_capacity(BUFFER_BYTES, tar.file());
        let wrap = |source| wrap_tar(package, "its data member", &path, source);
        let unpacked = decompress(open(found.data)?, found.data.compression);
        let mut unpacked = unpacked.map_err(|error| wrap(TarError::Read(error)))?;
        let ratio = found.data.length.saturating_mul(UNPACKED_RATIO_MAX);
        let limit = ratio.saturating_add(UNPACKED_RATIO_FREE_BYTES).min(UNPACKED_BYTES_MAX);
        let (entries, tar_bytes) = read_tar(&mut unpacked, &mut copy, limit).map_err(wrap)?;
        copy.flush().map_err(|error| wrap_io(&path, error))?;
        drop(copy);
        tar.finish().map_err(StoreError::from)?;
        let tar = File::open(&path).map_err(|error| wrap_io(&path, error))?;
        let stored = StoredIndex { format: INDEX_FORMAT, tar_bytes, entries };
        let index = self.unpacked_path(&package.sha256, "index");
        let text = serde_json::to_vec(&stored).map_err(|error| wrap_io(&index, error.into()))?;
        unfinished::write_whole(&index, &text).map_err(StoreError::from)?;
        package_files(tar, stored.entries).map_err(|error| wrap_io(&index, error).into())
    }

    /// What an earlier build unpacked; none if there is nothing or it can't be used.
    fn open_unpacked(&self, digest: &Digest) -> Result<Option<PackageFiles>, UnpackError> {
        let index = self.unpacked_path(digest, "index");
        let tar = self.unpacked_path(digest, "tar");
        let (text, file) = match (std::fs::read(&index), File::open(&tar)) {
            (Ok(text), Ok(file)) => (text, file),
            (Err(error), _) | (_, Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                return Err(wrap_io(&index, error).into());
            }
            _ => return Ok(None),
        };
        let Ok(stored) = serde_json::from_slice::<StoredIndex>(&text) else {
            return Ok(None);
        };
        let length = file.metadata().map_err(|error| wrap_io(&tar, error))?.len();
        if stored.format != INDEX_FORMAT || stored.tar_bytes != length {
            return Ok(None);
        }
        Ok(package_files(file, stored.entries).ok())
    }
}

/// Unpacks a stream, within bounds on memory.
pub fn decompress(reader: Box<dyn Read>, compression: Compression) -> io::Result<Box<dyn Read>> {
    let reader = BufReader::with_capacity(BUFFER_BYTES, reader);
    Ok(match compression {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        Compression::Xz => {
            Box::new(lzma_rust2::XzReader::new_mem_limit(reader, true, XZ_MEMORY_KIB_MAX))
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    })
}

/// A package that calls itself otherwise than the index does was mixed up, or put in its place.
fn check_control(
    package: &Package,
    member: Box<dyn Read>,
    compression: Compression,
) -> Result<(), UnpackError> {
    let wrap = |source| UnpackError::Tar {
        package: package.to_string(),
        member: "its control member",
        source,
    };
    let mut copy = Vec::new();
    let unpacked = decompress(member, compression);
    let mut unpacked = unpacked.map_err(|error| wrap(TarError::Read(error)))?;
    let (entries, _) = read_tar(&mut unpacked, &mut copy, CONTROL_BYTES_MAX).map_err(wrap)?;
    let text = entries.iter().find_map(|entry| match entry.kind {
        EntryKind::File { offset, length } if entry.path == "/control" => {
            let start = usize::try_from(offset).ok()?;
            copy.get(start..start.checked_add(usize::try_from(length).ok()?)?)
        }
        _ => None,
    });
    let text = String::from_utf8_lossy(text.unwrap_or_default());
    let stanza = stanzas(&text).next();
    let field = |name| stanza.and_then(|stanza| stanza.get(name)).unwrap_or("(nothing)");
    let (name, version) = (field("Package"), field("Version"));
    if name != package.name || version != package.version.as_str() {
        let (package, found) = (package.to_string(), format!("{name} {version}"));
        return Err(UnpackError::OtherPackage { package, found });
    }
    Ok(())
}

fn wrap_tar(package: &Package, member: &'static str, path: &Path, source: TarError) -> UnpackError {
    match source {
        TarError::Write(error) => wrap_io(path, error).into(),
        source => UnpackError::Tar { package: package.to_string(), member, source },
    }
}

fn package_files(tar: File, entries: Vec<Entry>) -> io::Result<PackageFiles> {
    let tar = Arc::new(tar);
    let convert = |entry: Entry| {
        let kind = match entry.kind {
            EntryKind::Directory => NodeKind::Directory,
            EntryKind::Symlink(target) => NodeKind::Symlink(target),
            EntryKind::File { offset, length } => {
                NodeKind::File(Content::Slice { file: Arc::clone(&tar), offset, length })
            }
        };
        let path = TreePath::new(&entry.path).map_err(io::Error::other)?;
        Ok(PackageEntry { path, mode: entry.mode, uid: entry.uid, gid: entry.gid, kind })
    };
    let entries = entries.into_iter().map(convert).collect::<io::Result<_>>()?;
    Ok(PackageFiles { entries })
}
