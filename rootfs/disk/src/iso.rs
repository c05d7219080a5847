//! ISO 9660, read only as far as a cloud-init seed needs it: files in the root folder, by their long
//! names.
//!
//! Tools that make NoCloud volumes write this format more often than FAT. Its own names are like
//! `USER_DAT.;1`; the long ones are in one of two extensions, which both are read:
//!
//! ```text
//!  sector 16 …  volume descriptors: primary (label, root folder), supplementary (Joliet), end
//!  root folder  records: where a file is, its name; behind the name, Rock Ridge's `NM` entries
//! ```

use thiserror::Error;

use crate::access::{AccessFailed, ReadAt};
use crate::little_endian::{bytes_at, u32_at};

const SECTOR: usize = 2048;
const SECTOR_BYTES: u64 = SECTOR as u64;
const FIRST_DESCRIPTOR: u64 = 16;
/// Real volumes have two or three; more only makes us read.
const DESCRIPTORS_MAX: u64 = 16;
/// A root folder with a few files is one sector; this many is 500 files.
const FOLDER_BYTES_MAX: u64 = 64 * SECTOR_BYTES;
const PRIMARY: u8 = 1;
const SUPPLEMENTARY: u8 = 2;
const END: u8 = 255;
const FLAG_FOLDER: u8 = 2;
/// What stands before a record's name.
const RECORD_HEAD: usize = 33;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IsoError {
    #[error("not an ISO 9660 volume")]
    NotIso,
    #[error("{0:?} is not on the volume")]
    NotFound(String),
    #[error("{path:?} has {size} bytes, but at most {limit} are expected there")]
    TooLarge { path: String, size: u64, limit: u64 },
    #[error("the root folder is damaged: make the volume anew")]
    Damaged,
    #[error("the volume can't be read")]
    Access(#[from] AccessFailed),
}

/// Where a file or folder lies.
#[derive(Clone, Copy, Debug)]
struct Extent {
    offset: u64,
    length: u64,
}

/// An open volume.
#[derive(Debug)]
pub struct Volume<R> {
    source: R,
    label: String,
    root: Extent,
    /// Names are in UTF-16, as the Joliet extension has them.
    joliet: bool,
}

impl<R: ReadAt> Volume<R> {
    /// Takes the volume that starts where `source` starts.
    pub fn open(source: R) -> Result<Self, IsoError> {
        let mut primary = None;
        let mut joliet = None;
        for number in 0..DESCRIPTORS_MAX {
            let mut sector = [0; SECTOR];
            let place = (FIRST_DESCRIPTOR + number) * SECTOR_BYTES;
            if source.read_exact_at(place, &mut sector).is_err() || sector[1..6] != *b"CD001" {
                break;
            }
            match sector[0] {
                PRIMARY => primary = Some((label_of(&sector), root_of(&sector))),
                SUPPLEMENTARY if is_joliet(&sector) => joliet = Some(root_of(&sector)),
                END => break,
                _ => {}
            }
        }
        let (label, root) = primary.ok_or(IsoError::NotIso)?;
        let (root, joliet) = joliet.map_or((root, false), |root| (root, true));
        Ok(Self { source, label, root, joliet })
    }

    pub fn label(&self) -> &str {
        &self.label
    }

    /// All bytes of a file of the root folder; upper and lower case are the same.
    pub fn read_file(&self, name: &str, limit: u64) -> Result<Vec<u8>, IsoError> {
        let folder = self.read(self.root, FOLDER_BYTES_MAX).ok_or(IsoError::Damaged)??;
        let not_found = || IsoError::NotFound(name.to_owned());
        let extent = self.find(&folder, name)?.ok_or_else(not_found)?;
        let size = extent.length;
        let too_large = || IsoError::TooLarge { path: name.to_owned(), size, limit };
        self.read(extent, limit).ok_or_else(too_large)?
    }

    /// The bytes of an extent; none if there are more than `limit`.
    fn read(&self, extent: Extent, limit: u64) -> Option<Result<Vec<u8>, IsoError>> {
        let length = usize::try_from(extent.length).ok()?;
        if extent.length > limit {
            return None;
        }
        let mut bytes = vec![0; length];
        let read = self.source.read_exact_at(extent.offset, &mut bytes);
        Some(read.map(|()| bytes).map_err(IsoError::from))
    }

    fn find(&self, folder: &[u8], wanted: &str) -> Result<Option<Extent>, IsoError> {
        let mut position = 0;
        while position < folder.len() {
            let length = usize::from(folder[position]);
            if length == 0 {
                // Records don't cross sectors; the rest of this one is padding.
                position = (position / SECTOR + 1) * SECTOR;
                continue;
            }
            let record = folder.get(position..position + length).ok_or(IsoError::Damaged)?;
            if record.len() < RECORD_HEAD + usize::from(*record.get(32).unwrap_or(&0)) {
                return Err(IsoError::Damaged);
            }
            let is_file = record[25] & FLAG_FOLDER == 0;
            if is_file && self.name_of(record).eq_ignore_ascii_case(wanted) {
                return Ok(Some(extent_of(record)));
            }
            position += length;
        }
        Ok(None)
    }

    /// The long name of a record, without its version.
    fn name_of(&self, record: &[u8]) -> String {
        let length = usize::from(record[32]);
        let bytes = &record[RECORD_HEAD..RECORD_HEAD + length];
        let name = if self.joliet {
            let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).map(|unit| unit.unwrap_or('\u{fffd}')).collect()
        } else {
            // Names of even length are followed by a byte of padding.
            let extensions = RECORD_HEAD + length + usize::from(length % 2 == 0);
            let long = rock_ridge_name(record.get(extensions..).unwrap_or_default());
            long.unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned())
        };
        name.split(';').next().unwrap_or_default().to_owned()
    }
}

/// The name in Rock Ridge's `NM` entries, if there are any.
fn rock_ridge_name(mut entries: &[u8]) -> Option<String> {
    let mut name = Vec::new();
    while entries.len() >= 5 {
        let length = usize::from(entries[2]);
        let entry = entries.get(..length).filter(|entry| entry.len() >= 4)?;
        if entry.starts_with(b"NM") {
            name.extend_from_slice(entry.get(5..).unwrap_or_default());
        }
        entries = &entries[length..];
    }
    (!name.is_empty()).then(|| String::from_utf8_lossy(&name).into_owned())
}

fn label_of(descriptor: &[u8; SECTOR]) -> String {
    String::from_utf8_lossy(&descriptor[40..72]).trim_end_matches([' ', '\0']).to_owned()
}

fn root_of(descriptor: &[u8; SECTOR]) -> Extent {
    extent_of(&descriptor[156..190])
}

/// Records say where in sectors, and how long in bytes; both numbers stand there in either order.
fn extent_of(record: &[u8]) -> Extent {
    let offset = u64::from(u32_at(record, 2)) * SECTOR_BYTES;
    Extent { offset, length: u64::from(u32_at(record, 10)) }
}

/// Joliet is told by its escape sequences.
fn is_joliet(descriptor: &[u8; SECTOR]) -> bool {
    let escape: [u8; 3] = bytes_at(descriptor, 88);
    [*b"%/@", *b"%/C", *b"%/E"].contains(&escape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FOLDER_SECTOR: u32 = 20;
    const FILE_SECTOR: u32 = 21;

    fn record(name: &[u8], extension: &[u8], sector: u32, length: u32, flags: u8) -> Vec<u8> {
        let padding = usize::from(name.len().is_multiple_of(2));
        let total = (RECORD_HEAD + name.len() + padding + extension.len()).next_multiple_of(2);
        let mut record = vec![0; total];
        record[0] = u8::try_from(total).expect("short");
        record[2..6].copy_from_slice(&sector.to_le_bytes());
        record[10..14].copy_from_slice(&length.to_le_bytes());
        record[25] = flags;
        record[32] = u8::try_from(name.len()).expect("short");
        record[RECORD_HEAD..RECORD_HEAD + name.len()].copy_from_slice(name);
        let at = RECORD_HEAD + name.len() + padding;
        record[at..at + extension.len()].copy_from_slice(extension);
        record
    }

    fn descriptor(kind: u8) -> Vec<u8> {
        let mut sector = vec![0; SECTOR];
        sector[0] = kind;
        sector[1..6].copy_from_slice(b"CD001");
        sector[40..72].copy_from_slice(b"cidata                          ");
        let root = record(b"\0", b"", FOLDER_SECTOR, 2048, FLAG_FOLDER);
        sector[156..156 + root.len()].copy_from_slice(&root);
        sector
    }

    /// A volume with one file, named in Joliet's way or in Rock Ridge's.
    fn volume(joliet: bool) -> Vec<u8> {
        let mut image = vec![0; 24 * SECTOR];
        let mut put = |sector: usize, bytes: &[u8]| {
            image[sector * SECTOR..sector * SECTOR + bytes.len()].copy_from_slice(bytes);
        };
        put(16, &descriptor(PRIMARY));
        let mut second = descriptor(if joliet { SUPPLEMENTARY } else { END });
        second[88..91].copy_from_slice(b"%/E");
        put(17, &second);
        put(18, &descriptor(END));
        let name: Vec<u8> = if joliet {
            "user-data;1".encode_utf16().flat_map(u16::to_be_bytes).collect()
        } else {
            b"USER_DAT.;1".to_vec()
        };
        let mut nm = vec![b'N', b'M', 14, 1, 0];
        nm.extend_from_slice(b"user-data");
        let extension = if joliet { Vec::new() } else { nm };
        let mut folder = record(b"\0", b"", FOLDER_SECTOR, 2048, FLAG_FOLDER);
        folder.extend(record(&name, &extension, FILE_SECTOR, 11, 0));
        put(20, &folder);
        put(21, b"format = 1\n");
        image
    }

    #[test]
    fn a_file_is_found_by_either_kind_of_long_name() {
        for joliet in [true, false] {
            let image = volume(joliet);
            let volume = Volume::open(&image).expect("a volume");
            assert_eq!(volume.label(), "cidata");
            assert_eq!(volume.read_file("user-data", 100), Ok(b"format = 1\n".to_vec()));
            assert_eq!(
                volume.read_file("meta-data", 100),
                Err(IsoError::NotFound("meta-data".to_owned()))
            );
            assert!(matches!(volume.read_file("user-data", 5), Err(IsoError::TooLarge { .. })));
        }
    }

    #[test]
    fn what_is_no_volume_is_refused() {
        assert_eq!(Volume::open(&vec![0; 100_000]).err(), Some(IsoError::NotIso));
        assert_eq!(Volume::open(&Vec::new()).err(), Some(IsoError::NotIso));
    }

    proptest! {
        #[test]
        fn damage_never_panics(
            joliet: bool,
            flips in proptest::collection::vec((16 * SECTOR..22 * SECTOR, any::<u8>()), 1..12),
        ) {
            let mut image = volume(joliet);
            for (at, value) in flips {
                image[at] = value;
            }
            if let Ok(volume) = Volume::open(&image) {
                let _either = volume.read_file("user-data", 1 << 20);
            }
        }
    }
}
