//! Reading our filesystem back, for `inspect`, `diff` and `verify`: a thin layer over `ext4-view`.
//!
//! It reads one partition of an image file, so the image needs no mounting and no privileges.

use std::error::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use ext4_view::{Ext4, Ext4Error as ViewError, Ext4Read, FileType, Metadata};
use thiserror::Error;

/// More than any root has; a damaged directory tree must not keep us busy for ever.
const MAX_ENTRIES: usize = 4_000_000;

/// Linux's limit; folders that contain each other would go on for ever.
const MAX_PATH_BYTES: usize = 4095;

/// Larger files are for [`Filesystem::copy_file`]; a damaged size must not take all memory.
const MAX_IN_MEMORY_BYTES: u64 = 256 * 1024 * 1024;

/// Files are copied in pieces of this size.
const COPY_BYTES: usize = 256 * 1024;

/// Why a filesystem can't be read.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("the partition at byte {offset} holds no readable ext4")]
    Open { offset: u64, source: ViewError },
    #[error("{path} can't be read: the image is damaged")]
    Damaged { path: String, source: ViewError },
    #[error("{path:?} has a name that is not UTF-8; the builder writes no such names")]
    Name { path: String },
    #[error("more than {MAX_ENTRIES} entries: the image is damaged")]
    TooManyEntries,
    #[error("{path}… is longer than any path can be: the image is damaged")]
    PathTooLong { path: String },
    #[error("{path} has {size} bytes, too many to hold in memory: copy it out")]
    TooLarge { path: String, size: u64 },
    #[error("the bytes of {path} can't be passed on")]
    Output { path: String, source: io::Error },
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    Directory,
    File,
    /// With its target.
    Symlink(String),
    /// A device or the like, which our writer never makes.
    Other,
}

/// One entry of the filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Absolute, as in the tree that it was made from.
    pub path: String,
    pub kind: EntryKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
}

/// An open filesystem.
#[derive(Debug)]
pub struct Filesystem {
    view: Ext4,
}

/// The bytes of one partition, as `ext4-view` asks for them.
struct Partition {
    image: Arc<File>,
    offset: u64,
    length: u64,
}

impl Ext4Read for Partition {
    fn read(
        &mut self,
        start: u64,
        buffer: &mut [u8],
    ) -> Result<(), Box<dyn Error + Send + Sync + 'static>> {
        let end = start.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(Box::new(io::Error::from(io::ErrorKind::UnexpectedEof)));
        }
        Ok(self.image.read_exact_at(buffer, self.offset + start)?)
    }
}

impl Filesystem {
    /// Opens the filesystem in `length` bytes of `image` from `offset` on.
    pub fn open(image: Arc<File>, offset: u64, length: u64) -> Result<Self, ReadError> {
        let partition = Box::new(Partition { image, offset, length });
        let view = Ext4::load(partition).map_err(|source| ReadError::Open { offset, source })?;
        Ok(Self { view })
    }

    /// The volume label.
    pub fn label(&self) -> String {
        self.view.label().display().to_string()
    }

    /// The filesystem's identity in written form.
    pub fn uuid(&self) -> String {
        self.view.uuid().to_string()
    }

    /// Every entry but `lost+found`, which is no part of the tree, sorted by path; the root first.
    pub fn entries(&self) -> Result<Vec<Entry>, ReadError> {
        let root = "/".to_owned();
        let metadata = self.view.symlink_metadata("/");
        let metadata =
            metadata.map_err(|source| ReadError::Damaged { path: root.clone(), source })?;
        let mut entries = vec![self.entry(root.clone(), &metadata)?];
        let mut pending = vec![root];
        while let Some(directory) = pending.pop() {
            for entry in self.list(&directory)? {
                if entry.kind == EntryKind::Directory {
                    pending.push(entry.path.clone());
                }
                entries.push(entry);
            }
            if entries.len() > MAX_ENTRIES {
                return Err(ReadError::TooManyEntries);
            }
        }
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(entries)
    }

    fn list(&self, directory: &str) -> Result<Vec<Entry>, ReadError> {
        let damaged = |source| ReadError::Damaged { path: directory.to_owned(), source };
        let mut entries = Vec::new();
        for entry in self.view.read_dir(directory).map_err(damaged)? {
            let entry = entry.map_err(damaged)?;
            let name = entry.file_name();
            let Ok(name) = name.as_str() else {
                let path = entry.path().display().to_string();
                return Err(ReadError::Name { path });
            };
            if name == "." || name == ".." || (directory == "/" && name == "lost+found") {
                continue;
            }
            let path = format!("{}/{name}", directory.trim_end_matches('/'));
            if path.len() > MAX_PATH_BYTES {
                let path = path.chars().take(80).collect();
                return Err(ReadError::PathTooLong { path });
            }
            let metadata = entry.metadata().map_err(damaged)?;
            entries.push(self.entry(path, &metadata)?);
        }
        Ok(entries)
    }

    fn entry(&self, path: String, metadata: &Metadata) -> Result<Entry, ReadError> {
        let kind = match metadata.file_type() {
            FileType::Directory => EntryKind::Directory,
            FileType::Regular => EntryKind::File,
            FileType::Symlink => EntryKind::Symlink(self.target(&path)?),
            _ => EntryKind::Other,
        };
        let (uid, gid, size) = (metadata.uid(), metadata.gid(), metadata.len());
        Ok(Entry { path, kind, mode: metadata.mode() & 0o7777, uid, gid, size })
    }

    fn target(&self, path: &str) -> Result<String, ReadError> {
        let damaged = |source| ReadError::Damaged { path: path.to_owned(), source };
        let target = self.view.read_link(path).map_err(damaged)?;
        let target = target.to_str().map_err(|_| ReadError::Name { path: path.to_owned() })?;
        Ok(target.to_owned())
    }

    /// Passes on the bytes of a file.
    pub fn copy_file(&self, path: &str, out: &mut dyn io::Write) -> Result<(), ReadError> {
        let damaged = |source| ReadError::Damaged { path: path.to_owned(), source };
        let mut file = self.view.open(path).map_err(damaged)?;
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let count = file.read_bytes(&mut buffer).map_err(damaged)?;
            if count == 0 {
                return Ok(());
            }
            let output = |source| ReadError::Output { path: path.to_owned(), source };
            out.write_all(&buffer[..count]).map_err(output)?;
        }
    }

    /// All bytes of a file, for small ones.
    pub fn read_file(&self, path: &str) -> Result<Vec<u8>, ReadError> {
        let damaged = |source| ReadError::Damaged { path: path.to_owned(), source };
        let size = self.view.metadata(path).map_err(damaged)?.len();
        if size > MAX_IN_MEMORY_BYTES {
            let path = path.to_owned();
            return Err(ReadError::TooLarge { path, size });
        }
        let mut bytes = Vec::new();
        self.copy_file(path, &mut bytes)?;
        Ok(bytes)
    }
}
