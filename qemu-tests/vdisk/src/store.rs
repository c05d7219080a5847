//! The disk: what a guest reads, what a flush makes durable, what a cut leaves.
//!
//! A sector of 512 bytes is written whole or not at all, as disks promise; anything larger can tear.
//! Nothing is promised about the order in which unflushed sectors become durable.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::layer::Layer;

pub const SECTOR: u64 = 512;
const SECTOR_BYTES: usize = 512;
/// What may wait for a flush; a real disk's cache is no larger, and then it writes by itself.
pub const CACHE_BYTES: usize = 64 << 20;

type Sector = [u8; SECTOR_BYTES];

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("can't open the image {}: {source}", path.display())]
    Base { path: PathBuf, source: io::Error },
    #[error("can't make a scratch file for what the guest writes: {0}")]
    Scratch(io::Error),
    #[error("the saved disk {}: {source}", path.display())]
    Saved { path: PathBuf, source: io::Error },
    #[error("a disk of {0} bytes has no whole number of sectors")]
    Size(u64),
}

/// Why a request failed; what the guest's kernel gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk can't read or write there.
    InputOutput,
    /// The disk, a thin one, has no space left.
    NoSpace,
    /// Beyond the end.
    Invalid,
}

/// What a power cut does with sectors that were not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All of them are lost.
    All,
    /// Each write is kept or lost as a whole, half of them.
    Some { seed: u64 },
    /// Each sector is kept or lost, half of them: writes are torn.
    Torn { seed: u64 },
}

/// A disk over an image that is never written.
#[derive(Debug)]
pub struct Store {
    base: File,
    base_bytes: u64,
    bytes: u64,
    /// What an earlier disk had written when it was saved; it is never written.
    saved: Option<Layer>,
    durable: Layer,
    volatile: BTreeMap<u64, Pending>,
    /// Numbers the writes since the last flush.
    write: u64,
    broken: Vec<Range<u64>>,
    full: bool,
    counts: Counts,
    desk_failure: Option<io::Error>,
}

/// A sector that waits for a flush.
#[derive(Clone, Debug)]
struct Pending {
    write: u64,
    bytes: Box<Sector>,
}

/// What happened to the disk so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub reads: u64,
    pub writes: u64,
    pub flushes: u64,
    /// Sectors that power cuts lost.
    pub lost_sectors: u64,
    /// Requests that failed because of a fault.
    pub failed: u64,
}

impl Store {
    /// A disk of `bytes`, which begins with the content of the image; beyond that it is zeros.
    pub fn over(base: &Path, bytes: u64) -> Result<Self, StoreError> {
        Self::build(base, bytes, None)
    }

    /// A disk over the same image that goes on from where another was [saved](Self::save).
    pub fn resume(base: &Path, bytes: u64, saved: &Path) -> Result<Self, StoreError> {
        Self::build(base, bytes, Some(saved))
    }

    fn build(base: &Path, bytes: u64, saved: Option<&Path>) -> Result<Self, StoreError> {
        let opened = File::open(base).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (base_bytes, base) =
            opened.map_err(|source| StoreError::Base { path: base.to_owned(), source })?;
        let bytes = bytes.max(base_bytes);
        if !bytes.is_multiple_of(SECTOR) {
            return Err(StoreError::Size(bytes));
        }
        let open = |path: &Path| {
            let layer = Layer::open(path, bytes);
            layer.map_err(|source| StoreError::Saved { path: path.to_owned(), source })
        };
        Ok(Self {
            base,
            base_bytes,
            bytes,
            saved: saved.map(open).transpose()?,
            durable: Layer::empty(bytes).map_err(StoreError::Scratch)?,
            volatile: BTreeMap::new(),
            write: 0,
            broken: Vec::new(),
            full: false,
            counts: Counts::default(),
            desk_failure: None,
        })
    }

    /// Writes what it has over its image to a new file; what waits for a flush becomes durable before.
    pub fn save(&mut self, path: &Path) -> Result<(), StoreError> {
        let fail = |source| StoreError::Saved { path: path.to_owned(), source };
        self.settle().map_err(|fault| fail(io::Error::other(format!("{fault:?}"))))?;
        let layers: Vec<&Layer> = [&self.durable].into_iter().chain(&self.saved).collect();
        Layer::save(&layers, self.bytes, path).map_err(fail)
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Why this disk failed though nobody broke it: the desk that it is on is full, or broken.
    pub fn desk_failure(&self) -> Option<&io::Error> {
        self.desk_failure.as_ref()
    }

    fn desk_failed(&mut self, error: io::Error) -> Fault {
        self.desk_failure.get_or_insert(error);
        Fault::InputOutput
    }

    /// Sectors that a cut would put at risk now.
    pub fn unflushed_sectors(&self) -> usize {
        self.volatile.len()
    }

    /// Makes reads and writes of these bytes fail, until [`heal`](Self::heal).
    pub fn break_range(&mut self, bytes: Range<u64>) {
        self.broken.push(bytes);
    }

    /// Makes writes fail for want of space, or ends that.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// Ends all faults.
    pub fn heal(&mut self) {
        self.broken.clear();
        self.full = false;
    }

    /// Reads whole sectors.
    pub fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        self.check(offset, buffer.len())?;
        self.counts.reads += 1;
        let first = offset / SECTOR;
        for (sector, piece) in (first..).zip(buffer.chunks_exact_mut(SECTOR_BYTES)) {
            let read = self.read_sector(sector, piece);
            read.map_err(|error| self.desk_failed(error))?;
        }
        Ok(())
    }

    /// Writes whole sectors into the cache; what is beyond the cache's size becomes durable at once.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.check(offset, bytes.len())?;
        if self.full {
            self.counts.failed += 1;
            return Err(Fault::NoSpace);
        }
        self.counts.writes += 1;
        self.write += 1;
        let first = offset / SECTOR;
        for (sector, piece) in (first..).zip(bytes.as_chunks::<SECTOR_BYTES>().0) {
            let pending = Pending { write: self.write, bytes: Box::new(*piece) };
            self.volatile.insert(sector, pending);
        }
        if self.volatile.len() * SECTOR_BYTES > CACHE_BYTES { self.settle() } else { Ok(()) }
    }

    /// Makes everything durable that was written before.
    pub fn flush(&mut self) -> Result<(), Fault> {
        self.counts.flushes += 1;
        self.settle()
    }

    /// Loses power: what was not flushed is gone, or some of it.
    pub fn cut(&mut self, cut: Cut) -> Result<(), Fault> {
        let pending = std::mem::take(&mut self.volatile);
        for (sector, pending) in pending {
            let keep = match cut {
                Cut::All => false,
                Cut::Some { seed } => coin(seed, pending.write),
                Cut::Torn { seed } => coin(seed, sector),
            };
            if keep {
                self.make_durable(sector, &pending.bytes)?;
            } else {
                self.counts.lost_sectors += 1;
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Fault> {
        for (sector, pending) in std::mem::take(&mut self.volatile) {
            self.make_durable(sector, &pending.bytes)?;
        }
        Ok(())
    }

    fn make_durable(&mut self, sector: u64, bytes: &Sector) -> Result<(), Fault> {
        // The guest sees what it would see of a disk of its own.
        let written = self.durable.write(sector, bytes);
        written.map_err(|error| self.desk_failed(error))
    }

    fn read_sector(&self, sector: u64, buffer: &mut [u8]) -> io::Result<()> {
        if let Some(pending) = self.volatile.get(&sector) {
            buffer.copy_from_slice(&*pending.bytes);
            return Ok(());
        }
        let mut layers = [&self.durable].into_iter().chain(&self.saved);
        if let Some(layer) = layers.find(|layer| layer.has(sector)) {
            return layer.read(sector, buffer);
        }
        let offset = sector * SECTOR;
        buffer.fill(0);
        let there = usize::try_from(self.base_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let there = there.min(buffer.len());
        buffer.get_mut(..there).map_or(Ok(()), |part| self.base.read_exact_at(part, offset))
    }

    fn check(&mut self, offset: u64, length: usize) -> Result<(), Fault> {
        let length = u64::try_from(length).map_err(|_| Fault::Invalid)?;
        let end = offset.checked_add(length).filter(|end| *end <= self.bytes);
        let aligned = offset.is_multiple_of(SECTOR) && length.is_multiple_of(SECTOR);
        let Some(end) = end.filter(|_| aligned) else { return Err(Fault::Invalid) };
        let hit = |range: &Range<u64>| range.start < end && offset < range.end;
        if self.broken.iter().any(hit) {
            self.counts.failed += 1;
            return Err(Fault::InputOutput);
        }
        Ok(())
    }
}

/// Falls the same way for the same seed and number.
fn coin(seed: u64, number: u64) -> bool {
    let mut mixed = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) & 1 == 1
}
