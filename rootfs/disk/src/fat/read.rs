//! Reading volumes that others may have written, and that nobody vouches for.
//!
//! A chain of clusters is followed only as far as the file's size or the largest directory needs,
//! so that a loop ends by itself; sizes are checked against the volume before anything is
//! allocated.

#![expect(
    clippy::cast_possible_truncation,
    reason = "what is cast is bounded by a directory or by the caller's buffer"
)]

use thiserror::Error;

use super::boot_sector::{BOOT_SECTOR_BYTES, BootSector};
use super::geometry::{Geometry, Kind};
use super::name::{LongName, ShortName, folded, readable};
use super::{ATTRIBUTE_DIRECTORY, ATTRIBUTE_LONG_NAME, ATTRIBUTE_VOLUME_LABEL, SLOT_BYTES};
use crate::access::{AccessFailed, ReadAt};
use crate::little_endian::{bytes_at, u16_at, u32_at};

/// The specification's limit of a directory: 65,536 entries.
const MAX_DIRECTORY_BYTES: u64 = 65_536 * SLOT_BYTES as u64;

/// How much of the allocation table is read at once.
const TABLE_PAGE_BYTES: u64 = 4096;

const FREE_SLOT: u8 = 0x00;
const DELETED_SLOT: u8 = 0xe5;
/// A name that really starts with the byte that means "deleted" has this one instead.
const STANDS_FOR_E5: u8 = 0x05;

/// Why a volume or a file on it can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    #[error("not a FAT volume: {0}")]
    NotFat(&'static str),
    #[error("{0:?} is not on the volume")]
    NotFound(String),
    #[error("{0:?} is a folder")]
    IsFolder(String),
    #[error("{0:?} is not a folder")]
    NotFolder(String),
    #[error("{path:?} has {size} bytes, but at most {limit} are expected there")]
    TooLarge { path: String, size: u64, limit: u64 },
    #[error("the chain of clusters from {first} is damaged: repair the volume on a desk machine")]
    BrokenChain { first: u32 },
    #[error("the volume can't be read")]
    Access(#[from] AccessFailed),
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The long name if there is one.
    pub name: String,
    pub short_name: String,
    pub is_directory: bool,
    pub size: u32,
    first_cluster: u32,
}

/// An open volume.
#[derive(Debug)]
pub struct Volume<R> {
    source: R,
    boot: BootSector,
}

/// Clusters that follow one another.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: u32,
    count: u32,
}

/// A file whose clusters are known.
#[derive(Debug)]
pub struct OpenFile<'a, R> {
    volume: &'a Volume<R>,
    size: u64,
    runs: Vec<Run>,
}

/// A piece of the allocation table.
struct TablePage {
    start: u64,
    bytes: Vec<u8>,
}

impl<R: ReadAt> Volume<R> {
    /// Takes the volume that starts where `source` starts.
    pub fn open(source: R) -> Result<Self, ReadError> {
        let mut sector = [0; BOOT_SECTOR_BYTES];
        source.read_exact_at(0, &mut sector)?;
        let boot = BootSector::parse(&sector, source.size())?;
        Ok(Self { source, boot })
    }

    /// How wide the allocation table's entries are.
    pub fn kind(&self) -> Kind {
        self.boot.geometry.kind
    }

    /// The serial number, shown as `XXXX-XXXX`; zero if there is none.
    pub fn serial(&self) -> u32 {
        self.boot.serial
    }

    /// The label as the root directory has it, which is where Windows changes it, else as the boot
    /// sector has it.
    pub fn label(&self) -> Result<String, ReadError> {
        let root = self.directory_bytes(None)?;
        let live = root.chunks_exact(SLOT_BYTES).take_while(|slot| slot[0] != FREE_SLOT);
        let is_label = |slot: &&[u8]| {
            slot[0] != DELETED_SLOT
                && slot[11] & ATTRIBUTE_VOLUME_LABEL != 0
                && slot[11] & ATTRIBUTE_LONG_NAME != ATTRIBUTE_LONG_NAME
        };
        let stored = live.into_iter().find(is_label).map(|slot| bytes_at(slot, 0));
        let stored: ShortName = stored.unwrap_or(self.boot.label);
        let text: String = stored
            .iter()
            .map(|&byte| if byte.is_ascii() { char::from(byte) } else { '\u{fffd}' })
            .collect();
        Ok(text.trim_end_matches([' ', '\0']).to_owned())
    }

    /// What is in a folder; the empty path is the root.
    pub fn list(&self, path: &str) -> Result<Vec<DirectoryEntry>, ReadError> {
        match self.find(path)? {
            None => self.entries(None),
            Some(entry) if entry.is_directory => self.entries(Some(&entry)),
            Some(_) => Err(ReadError::NotFolder(path.to_owned())),
        }
    }

    /// Opens a file; upper and lower case are the same, long and short names both lead to it.
    pub fn open_file(&self, path: &str) -> Result<OpenFile<'_, R>, ReadError> {
        self.open_entry(&self.find_file(path)?)
    }

    /// All bytes of a file of at most `limit` bytes.
    pub fn read_file(&self, path: &str, limit: u64) -> Result<Vec<u8>, ReadError> {
        let entry = self.find_file(path)?;
        let size = u64::from(entry.size);
        let too_large = || ReadError::TooLarge { path: path.to_owned(), size, limit };
        // Before its chain is followed, which may be as long as the size claims.
        if size > limit {
            return Err(too_large());
        }
        let file = self.open_entry(&entry)?;
        let mut bytes = vec![0; usize::try_from(size).map_err(|_| too_large())?];
        file.read_exact_at(0, &mut bytes)?;
        Ok(bytes)
    }

    fn find_file(&self, path: &str) -> Result<DirectoryEntry, ReadError> {
        match self.find(path)? {
            Some(entry) if !entry.is_directory => Ok(entry),
            _ => Err(ReadError::IsFolder(path.to_owned())),
        }
    }

    fn open_entry(&self, entry: &DirectoryEntry) -> Result<OpenFile<'_, R>, ReadError> {
        let size = u64::from(entry.size);
        let clusters = self.geometry().clusters_for(size);
        let runs = self.chain(entry.first_cluster, clusters, true)?;
        Ok(OpenFile { volume: self, size, runs })
    }

    fn geometry(&self) -> &Geometry {
        &self.boot.geometry
    }

    /// None is the root.
    fn find(&self, path: &str) -> Result<Option<DirectoryEntry>, ReadError> {
        let mut current: Option<DirectoryEntry> = None;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if current.as_ref().is_some_and(|entry| !entry.is_directory) {
                return Err(ReadError::NotFound(path.to_owned()));
            }
            let wanted = folded(part);
            let named = |entry: &DirectoryEntry| {
                folded(&entry.name) == wanted || folded(&entry.short_name) == wanted
            };
            let next = self.entries(current.as_ref())?.into_iter().find(named);
            current = Some(next.ok_or_else(|| ReadError::NotFound(path.to_owned()))?);
        }
        Ok(current)
    }

    fn entries(&self, folder: Option<&DirectoryEntry>) -> Result<Vec<DirectoryEntry>, ReadError> {
        let bytes = self.directory_bytes(folder)?;
        let mut entries = Vec::new();
        let mut long_name = LongName::default();
        for slot in bytes.chunks_exact(SLOT_BYTES) {
            let attributes = slot[11];
            match slot[0] {
                FREE_SLOT => break,
                DELETED_SLOT => long_name = LongName::default(),
                _ if attributes & ATTRIBUTE_LONG_NAME == ATTRIBUTE_LONG_NAME => {
                    long_name.push(slot);
                }
                _ if attributes & ATTRIBUTE_VOLUME_LABEL != 0 => long_name = LongName::default(),
                _ => entries.extend(self.parse_entry(slot, &mut long_name)),
            }
        }
        Ok(entries)
    }

    /// None for `.` and `..`, which would only lead in circles.
    fn parse_entry(&self, slot: &[u8], long_name: &mut LongName) -> Option<DirectoryEntry> {
        let mut short: ShortName = bytes_at(slot, 0);
        let long = long_name.take(&short);
        if short[0] == b'.' {
            return None;
        }
        if short[0] == STANDS_FOR_E5 {
            short[0] = DELETED_SLOT;
        }
        let high = if self.kind() == Kind::Fat32 { u32::from(u16_at(slot, 20)) } else { 0 };
        Some(DirectoryEntry {
            name: long.unwrap_or_else(|| readable(&short, slot[12])),
            short_name: readable(&short, 0),
            is_directory: slot[11] & ATTRIBUTE_DIRECTORY != 0,
            size: u32_at(slot, 28),
            first_cluster: high << 16 | u32::from(u16_at(slot, 26)),
        })
    }

    fn directory_bytes(&self, folder: Option<&DirectoryEntry>) -> Result<Vec<u8>, ReadError> {
        let geometry = self.geometry();
        let first = match folder {
            Some(entry) => entry.first_cluster,
            None if geometry.kind == Kind::Fat32 => geometry.root_cluster,
            None => {
                let mut bytes = vec![0; geometry.root_entries as usize * SLOT_BYTES];
                self.source.read_exact_at(geometry.root_offset(), &mut bytes)?;
                return Ok(bytes);
            }
        };
        let most_clusters = geometry.clusters_for(MAX_DIRECTORY_BYTES);
        let runs = self.chain(first, most_clusters, false)?;
        let clusters: u64 = runs.iter().map(|run| u64::from(run.count)).sum();
        let size = clusters * u64::from(geometry.cluster_bytes());
        let mut bytes = vec![0; size as usize];
        OpenFile { volume: self, size, runs }.read_exact_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Follows a chain for at most `most` clusters. If `exactly`, it must not end before.
    fn chain(&self, first: u32, most: u64, exactly: bool) -> Result<Vec<Run>, ReadError> {
        let geometry = self.geometry();
        let broken = || ReadError::BrokenChain { first };
        if exactly && most > u64::from(geometry.clusters) {
            return Err(broken());
        }
        let mut page = TablePage { start: 0, bytes: Vec::new() };
        let mut runs: Vec<Run> = Vec::new();
        let mut cluster = first;
        for position in 0..most {
            if !exactly && position > 0 && cluster >= geometry.kind.end_of_chain() {
                break;
            }
            if !geometry.is_data_cluster(cluster) {
                return Err(broken());
            }
            match runs.last_mut() {
                Some(run) if run.first + run.count == cluster => run.count += 1,
                _ => runs.push(Run { first: cluster, count: 1 }),
            }
            cluster = self.table_entry(cluster, &mut page)?;
        }
        Ok(runs)
    }

    fn table_entry(&self, cluster: u32, page: &mut TablePage) -> Result<u32, ReadError> {
        let geometry = self.geometry();
        let (position, width) = match geometry.kind {
            Kind::Fat12 => (u64::from(cluster) * 3 / 2, 2),
            Kind::Fat16 => (u64::from(cluster) * 2, 2),
            Kind::Fat32 => (u64::from(cluster) * 4, 4),
        };
        let within = |page: &TablePage| {
            position >= page.start && position + width <= page.start + page.bytes.len() as u64
        };
        if !within(page) {
            let length = TABLE_PAGE_BYTES.min(geometry.fat_bytes() - position);
            let mut bytes = vec![0; length as usize];
            self.source.read_exact_at(geometry.fat_offset(0) + position, &mut bytes)?;
            *page = TablePage { start: position, bytes };
        }
        if !within(page) {
            return Err(ReadError::BrokenChain { first: cluster });
        }
        let at = (position - page.start) as usize;
        Ok(match geometry.kind {
            Kind::Fat12 => u32::from(u16_at(&page.bytes, at)) >> (4 * (cluster % 2)) & 0xfff,
            Kind::Fat16 => u32::from(u16_at(&page.bytes, at)),
            Kind::Fat32 => u32_at(&page.bytes, at) & 0x0fff_ffff,
        })
    }
}

impl<R: ReadAt> ReadAt for OpenFile<'_, R> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), AccessFailed> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.size) {
            let reason = format!("the file has {} bytes", self.size);
            return Err(AccessFailed::new(offset, buffer.len(), reason));
        }
        let geometry = self.volume.geometry();
        let mut run_start = 0;
        let mut done = 0;
        for run in &self.runs {
            let run_bytes = u64::from(run.count) * u64::from(geometry.cluster_bytes());
            let position = offset + done as u64;
            if done < buffer.len() && position < run_start + run_bytes {
                let inside = position - run_start;
                let step = (run_bytes - inside).min((buffer.len() - done) as u64) as usize;
                let from = geometry.cluster_offset(run.first) + inside;
                self.volume.source.read_exact_at(from, &mut buffer[done..done + step])?;
                done += step;
            }
            run_start += run_bytes;
        }
        Ok(())
    }
}
