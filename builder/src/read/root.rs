//! The root filesystem of a slot, with what it says about itself.

use std::io::Write;

use disk::verity::{BLOCK_BYTES, Shape};
use disk::{AccessFailed, ReadAt};
use seed::manifest::{MANIFEST_PATH, MAX_MANIFEST_BYTES, Manifest, ManifestError};
use thiserror::Error;

use crate::image::ext4::read::{Entry, EntryKind, Filesystem, ReadError};
use crate::image::layout::Part;
use crate::image::open::{OpenError, OpenImage, SlotKernel};
use crate::image::region::Region;
use crate::root::origins::{MAX_ORIGINS_BYTES, ORIGINS_PATH, Origins, OriginsError};

// Positions in ext4's superblock, which lies at byte 1024 of the filesystem.
const SUPERBLOCK_AT: u64 = 1024;
const BLOCKS_LOW_AT: usize = 0x4;
const FREE_BLOCKS_LOW_AT: usize = 0xc;
const BLOCKS_HIGH_AT: usize = 0x150;
const FREE_BLOCKS_HIGH_AT: usize = 0x158;

#[derive(Debug, Error)]
pub enum RootError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("root of slot {slot}: {source}")]
    Read { slot: &'static str, source: ReadError },
    #[error("root of slot {slot}: the kernel says {claimed} bytes, the partition has {actual}")]
    TooLong { slot: &'static str, claimed: u64, actual: u64 },
    #[error("root of slot {slot}: {path} has {size} bytes: the image is damaged")]
    FileTooLarge { slot: &'static str, path: String, size: u64 },
    #[error("root of slot {slot}: {source}")]
    Origins { slot: &'static str, source: OriginsError },
    #[error("root of slot {slot} has no {MANIFEST_PATH}: is it an image that this builder made?")]
    NoManifest { slot: &'static str },
    #[error("root of slot {slot}: {source}")]
    Manifest { slot: &'static str, source: ManifestError },
    #[error("root of slot {slot}: {source}")]
    Superblock { slot: &'static str, source: AccessFailed },
}

/// A root whose entries are known.
#[derive(Debug)]
pub struct RootFiles {
    slot: &'static str,
    filesystem: Filesystem,
    /// Bytes that the filesystem spans.
    pub bytes: u64,
    /// Bytes of it that are in use.
    pub used_bytes: u64,
    /// In path order.
    pub entries: Vec<Entry>,
}

/// A root that has told what it is made of.
#[derive(Debug)]
pub struct Root {
    pub files: RootFiles,
    pub manifest: Manifest,
    /// None in an image of a builder that did not write them.
    pub origins: Option<Origins>,
}

/// Bytes of filesystem and hash tree, if they fit into the slot's partition.
pub fn check_span(image: &OpenImage, kernel: &SlotKernel) -> Result<u64, RootError> {
    let actual = image.partition(Part::Root(kernel.slot))?.size_bytes();
    let data_blocks = kernel.arguments.verity.data_blocks;
    let tree_blocks = Shape::new(data_blocks).map_or(0, |shape| shape.blocks);
    let claimed = (data_blocks + 1 + tree_blocks) * BLOCK_BYTES;
    if claimed > actual {
        return Err(RootError::TooLong { slot: kernel.slot.letter(), claimed, actual });
    }
    Ok(claimed)
}

impl RootFiles {
    pub fn open(image: &OpenImage, kernel: &SlotKernel) -> Result<Self, RootError> {
        let slot = kernel.slot.letter();
        check_span(image, kernel)?;
        let filesystem = image.root(kernel)?;
        let entries = filesystem.entries().map_err(|source| RootError::Read { slot, source })?;
        let bytes = kernel.arguments.verity.data_blocks * BLOCK_BYTES;
        let used_bytes = used_bytes(image, kernel)?;
        // Each file has blocks of its own, so that whoever reads them all will come to an end.
        let mut room = bytes;
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File) {
            room = room.checked_sub(entry.size).ok_or_else(|| too_large(slot, entry))?;
        }
        Ok(Self { slot, filesystem, bytes, used_bytes, entries })
    }

    pub fn get(&self, path: &str) -> Option<&Entry> {
        let place = self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path));
        place.ok().map(|index| &self.entries[index])
    }

    /// Passes on the bytes of a file.
    pub fn copy(&self, entry: &Entry, out: &mut dyn Write) -> Result<(), RootError> {
        let copied = self.filesystem.copy_file(&entry.path, out);
        copied.map_err(|source| RootError::Read { slot: self.slot, source })
    }

    /// One of our own files, if it is there.
    fn read_text(&self, path: &str, limit: usize) -> Result<Option<String>, RootError> {
        let Some(entry) = self.get(path).filter(|entry| entry.kind == EntryKind::File) else {
            return Ok(None);
        };
        if entry.size > limit as u64 {
            return Err(too_large(self.slot, entry));
        }
        let mut bytes = Vec::new();
        self.copy(entry, &mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    pub fn manifest(&self) -> Result<Manifest, RootError> {
        let slot = self.slot;
        let text = self.read_text(MANIFEST_PATH, MAX_MANIFEST_BYTES)?;
        let text = text.ok_or(RootError::NoManifest { slot })?;
        Manifest::from_json(&text).map_err(|source| RootError::Manifest { slot, source })
    }

    pub fn origins(&self) -> Result<Option<Origins>, RootError> {
        let Some(text) = self.read_text(ORIGINS_PATH, MAX_ORIGINS_BYTES)? else {
            return Ok(None);
        };
        let parsed = Origins::parse(&text);
        parsed.map(Some).map_err(|source| RootError::Origins { slot: self.slot, source })
    }
}

impl Root {
    pub fn open(image: &OpenImage, kernel: &SlotKernel) -> Result<Self, RootError> {
        let files = RootFiles::open(image, kernel)?;
        let (manifest, origins) = (files.manifest()?, files.origins()?);
        Ok(Self { files, manifest, origins })
    }
}

fn too_large(slot: &'static str, entry: &Entry) -> RootError {
    let (path, size) = (entry.path.clone(), entry.size);
    RootError::FileTooLarge { slot, path, size }
}

/// What the superblock says of used blocks; `ext4-view` keeps it to itself.
fn used_bytes(image: &OpenImage, kernel: &SlotKernel) -> Result<u64, RootError> {
    let partition = image.partition(Part::Root(kernel.slot))?;
    let region = Region::new(&image.file, partition.offset_bytes(), partition.size_bytes());
    let mut superblock = [0; 1024];
    region
        .read_exact_at(SUPERBLOCK_AT, &mut superblock)
        .map_err(|source| RootError::Superblock { slot: kernel.slot.letter(), source })?;
    let number = |low, high| {
        let part = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&superblock[at..at + 4]);
            u64::from(u32::from_le_bytes(bytes))
        };
        part(high) << 32 | part(low)
    };
    let blocks = number(BLOCKS_LOW_AT, BLOCKS_HIGH_AT);
    let free = number(FREE_BLOCKS_LOW_AT, FREE_BLOCKS_HIGH_AT);
    Ok(blocks.saturating_sub(free).saturating_mul(BLOCK_BYTES))
}
