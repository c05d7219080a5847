//! Sectors that were written, over something that is never written: a sparse file, and a map that
//! says which of its sectors count.
//!
//! A layer can be saved and read again, which is how a cluster that was formed once is started from
//! where it stood: the saved file is the disk's content, then the map.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::store::SECTOR;

/// Sectors are copied in pieces of at most so many.
const SECTORS_AT_ONCE: u64 = 2048;

/// A sparse file and the map of its sectors.
#[derive(Debug)]
pub(crate) struct Layer {
    file: File,
    /// One bit a sector.
    written: Vec<u64>,
}

impl Layer {
    /// An empty one, in a file without a name.
    pub(crate) fn empty(bytes: u64) -> io::Result<Self> {
        let file = tempfile::tempfile()?;
        file.set_len(bytes)?;
        Ok(Self { file, written: vec![0; words(bytes)] })
    }

    /// A saved one.
    pub(crate) fn open(path: &Path, bytes: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut map = vec![0; words(bytes) * 8];
        if file.metadata()?.len() != bytes + map.len() as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is of another disk"));
        }
        file.read_exact_at(&mut map, bytes)?;
        let written = map.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        Ok(Self { file, written: written.collect() })
    }

    pub(crate) fn has(&self, sector: u64) -> bool {
        let (word, bit) = place(sector);
        self.written.get(word).is_some_and(|word| word & bit != 0)
    }

    pub(crate) fn read(&self, sector: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, sector * SECTOR)
    }

    pub(crate) fn write(&mut self, sector: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, sector * SECTOR)?;
        let (word, bit) = place(sector);
        if let Some(word) = self.written.get_mut(word) {
            *word |= bit;
        }
        Ok(())
    }

    /// Writes layers to a file as one; of a sector that several have, the first one's counts.
    pub(crate) fn save(layers: &[&Self], bytes: u64, path: &Path) -> io::Result<()> {
        let out = File::create_new(path)?;
        out.set_len(bytes)?;
        let of = |sector: u64| layers.iter().find(|layer| layer.has(sector));
        let mut map = vec![0_u64; words(bytes)];
        let mut buffer = Vec::new();
        let sectors = bytes / SECTOR;
        let mut first = 0;
        while first < sectors {
            let Some(layer) = of(first) else {
                first += 1;
                continue;
            };
            let same = |sector: &u64| of(*sector).is_some_and(|other| std::ptr::eq(*other, *layer));
            let end = (first + SECTORS_AT_ONCE).min(sectors);
            let next = (first..end).find(|sector| !same(sector)).unwrap_or(end);
            buffer.resize(usize::try_from((next - first) * SECTOR).unwrap_or(usize::MAX), 0);
            layer.read(first, &mut buffer)?;
            out.write_all_at(&buffer, first * SECTOR)?;
            for sector in first..next {
                let (word, bit) = place(sector);
                if let Some(word) = map.get_mut(word) {
                    *word |= bit;
                }
            }
            first = next;
        }
        let map: Vec<u8> = map.into_iter().flat_map(u64::to_le_bytes).collect();
        out.write_all_at(&map, bytes)
    }
}

fn words(bytes: u64) -> usize {
    usize::try_from((bytes / SECTOR).div_ceil(64)).unwrap_or(usize::MAX)
}

/// The word and the bit of a sector in the map.
fn place(sector: u64) -> (usize, u64) {
    (usize::try_from(sector / 64).unwrap_or(usize::MAX), 1 << (sector % 64))
}
