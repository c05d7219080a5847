//! From a [`Table`] to bytes.
//!
//! The pieces come in the order in which they are to be written: the backup first, then the
//! primary. A writer that syncs between the pieces always has one whole copy on the disk.

use super::{ENTRY_BYTES, GptError, Guid, SECTOR_BYTES, Table, entry_sectors};
use crate::access::{AccessFailed, WriteAt};
use crate::little_endian::put;

pub(super) const SIGNATURE: &[u8; 8] = b"EFI PART";
pub(super) const REVISION: u32 = 0x0001_0000;
pub(super) const HEADER_BYTES: u32 = 92;

const SECTOR: usize = 512;

/// Bytes and where they belong on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub offset: u64,
    pub bytes: Vec<u8>,
}

/// The sectors in which one of the two copies lies.
struct Place {
    header: u64,
    other_header: u64,
    entries: u64,
}

impl Table {
    /// Everything that makes the table, after checking it.
    pub fn encode(&self) -> Result<Vec<Piece>, GptError> {
        self.check()?;
        let entries = self.encode_entries();
        let last = self.disk_sectors - 1;
        let backup_entries = last - entry_sectors(self.entry_slots);
        let backup = Place { header: last, other_header: 1, entries: backup_entries };
        let primary = Place { header: 1, other_header: last, entries: 2 };
        Ok(vec![
            Piece { offset: backup.entries * SECTOR_BYTES, bytes: entries.clone() },
            Piece {
                offset: backup.header * SECTOR_BYTES,
                bytes: self.encode_header(&backup, &entries),
            },
            Piece { offset: primary.entries * SECTOR_BYTES, bytes: entries.clone() },
            Piece {
                offset: primary.header * SECTOR_BYTES,
                bytes: self.encode_header(&primary, &entries),
            },
            Piece { offset: 0, bytes: self.encode_protective_mbr() },
        ])
    }

    /// Encodes and writes all pieces in their order.
    pub fn write_to(&self, disk: &mut dyn WriteAt) -> Result<(), GptError> {
        let write = |piece: Piece| disk.write_all_at(piece.offset, &piece.bytes);
        let written: Result<(), AccessFailed> = self.encode()?.into_iter().try_for_each(write);
        Ok(written?)
    }

    fn encode_entries(&self) -> Vec<u8> {
        let entry_bytes = ENTRY_BYTES as usize;
        let mut bytes = vec![0; entry_bytes * self.entry_slots as usize];
        for partition in &self.partitions {
            let start = (partition.number - 1) as usize * entry_bytes;
            let entry = &mut bytes[start..start + entry_bytes];
            put(entry, 0, &partition.type_guid.to_disk());
            put(entry, 16, &partition.guid.to_disk());
            put(entry, 32, &partition.first_lba.to_le_bytes());
            put(entry, 40, &partition.last_lba.to_le_bytes());
            put(entry, 48, &partition.attributes.to_le_bytes());
            for (position, unit) in partition.name.encode_utf16().enumerate() {
                put(entry, 56 + 2 * position, &unit.to_le_bytes());
            }
        }
        bytes
    }

    fn encode_header(&self, place: &Place, entries: &[u8]) -> Vec<u8> {
        let mut header = vec![0; SECTOR];
        let disk_guid: Guid = self.disk_guid;
        put(&mut header, 0, SIGNATURE);
        put(&mut header, 8, &REVISION.to_le_bytes());
        put(&mut header, 12, &HEADER_BYTES.to_le_bytes());
        put(&mut header, 24, &place.header.to_le_bytes());
        put(&mut header, 32, &place.other_header.to_le_bytes());
        put(&mut header, 40, &self.first_usable_lba.to_le_bytes());
        put(&mut header, 48, &self.last_usable_lba.to_le_bytes());
        put(&mut header, 56, &disk_guid.to_disk());
        put(&mut header, 72, &place.entries.to_le_bytes());
        put(&mut header, 80, &self.entry_slots.to_le_bytes());
        put(&mut header, 84, &ENTRY_BYTES.to_le_bytes());
        put(&mut header, 88, &crc32fast::hash(entries).to_le_bytes());
        let checksum = crc32fast::hash(&header[..HEADER_BYTES as usize]);
        put(&mut header, 16, &checksum.to_le_bytes());
        header
    }

    /// One partition of type 0xEE over the whole disk, so that tools which don't know GPT see no
    /// free space.
    fn encode_protective_mbr(&self) -> Vec<u8> {
        let mut sector = vec![0; SECTOR];
        let covered = u32::try_from(self.disk_sectors - 1).unwrap_or(u32::MAX);
        // The first sector in the old cylinder/head/sector form; the last one is "unknown".
        put(&mut sector, 446, &[0, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff]);
        put(&mut sector, 454, &1_u32.to_le_bytes());
        put(&mut sector, 458, &covered.to_le_bytes());
        put(&mut sector, 510, &[0x55, 0xaa]);
        sector
    }
}
