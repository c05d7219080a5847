//! From bytes to a [`Table`], believing nothing.

use std::fmt;

use thiserror::Error;

use super::encode::{HEADER_BYTES, REVISION, SIGNATURE};
use super::{
    ENTRY_BYTES, GptError, Guid, MAX_ENTRY_SLOTS, NAME_UNITS, Partition, SECTOR_BYTES, Table,
};
use crate::access::{AccessFailed, ReadAt};
use crate::little_endian::{bytes_at, put, u16_at, u32_at, u64_at};

const SECTOR: usize = 512;
const MAX_HEADER_BYTES: u32 = 512;

/// The largest entry that we accept; all known tools write 128 bytes.
const MAX_ENTRY_BYTES: u32 = 1024;

/// What is wrong with one copy of the table.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CopyFault {
    #[error("revision {0:#x} is unknown")]
    Revision(u32),
    #[error("header of {0} bytes")]
    HeaderSize(u32),
    #[error("header checksum is wrong")]
    HeaderChecksum,
    #[error("header says it is at sector {0}")]
    WrongPlace(u64),
    #[error("entries of {0} bytes")]
    EntrySize(u32),
    #[error("{0} entries")]
    EntryCount(u32),
    #[error("entries are outside the disk or within the partitions")]
    EntriesPlace,
    #[error("entries checksum is wrong")]
    EntriesChecksum,
    #[error("{0}")]
    Table(Box<GptError>),
    #[error("{0}")]
    Unreadable(AccessFailed),
}

/// What one copy of the table looked like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Good,
    /// Valid by itself, but not what the primary says: a change was interrupted.
    Differs,
    /// There is no header at all.
    Missing,
    Bad(CopyFault),
}

/// A table, and how its two copies fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// From the primary if that is good, else from the backup.
    pub table: Table,
    pub primary: Health,
    pub backup: Health,
    /// The sector of the backup header; the last of the disk, unless the disk is larger than the
    /// image that was written to it.
    pub backup_lba: u64,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => f.write_str("good"),
            Self::Differs => f.write_str("differs from the primary"),
            Self::Missing => f.write_str("missing"),
            Self::Bad(fault) => write!(f, "bad ({fault})"),
        }
    }
}

impl Found {
    /// Both copies are good and the backup is where it belongs.
    pub fn is_healthy(&self, disk_sectors: u64) -> bool {
        self.primary == Health::Good
            && self.backup == Health::Good
            && self.backup_lba.checked_add(1) == Some(disk_sectors)
    }
}

/// One copy, parsed.
struct Copy {
    table: Table,
    other_header_lba: u64,
}

/// Reads the table of a disk from whichever copy is good.
///
/// The table's `disk_sectors` are those of the disk that the copy was written for, so writing the
/// table again without [`Table::relocate`] changes nothing.
pub fn read(disk: &(impl ReadAt + ?Sized)) -> Result<Found, GptError> {
    let disk_sectors = disk.size() / SECTOR_BYTES;
    if disk_sectors < 3 {
        return Err(GptError::DiskTooSmall { sectors: disk_sectors });
    }
    let last = disk_sectors - 1;
    match read_copy(disk, 1, disk_sectors) {
        Ok(primary) => {
            let backup_lba = primary.other_header_lba;
            let backup = match read_copy(disk, backup_lba, disk_sectors) {
                Ok(copy) if copy.table == primary.table => Health::Good,
                Ok(_) => Health::Differs,
                Err(health) => health,
            };
            Ok(Found { table: primary.table, primary: Health::Good, backup, backup_lba })
        }
        Err(primary) => match read_copy(disk, last, disk_sectors) {
            Ok(copy) => {
                Ok(Found { table: copy.table, primary, backup: Health::Good, backup_lba: last })
            }
            Err(backup) => Err(GptError::NoTable { primary, backup }),
        },
    }
}

fn read_copy(
    disk: &(impl ReadAt + ?Sized),
    header_lba: u64,
    disk_sectors: u64,
) -> Result<Copy, Health> {
    let mut header = [0; SECTOR];
    read_sectors(disk, header_lba, &mut header)?;
    if header[..8] != *SIGNATURE {
        return Err(Health::Missing);
    }
    check_header(&header, header_lba).map_err(Health::Bad)?;
    let other_header_lba = u64_at(&header, 32);
    let (slots, entry_bytes) = (u32_at(&header, 80), u32_at(&header, 84));
    let entries_lba = u64_at(&header, 72);
    let (first_usable_lba, last_usable_lba) = (u64_at(&header, 40), u64_at(&header, 48));
    let array_bytes = slots as usize * entry_bytes as usize;
    let entries_end = entries_lba.checked_add((array_bytes as u64).div_ceil(SECTOR_BYTES));
    let apart = |end: u64| {
        end <= disk_sectors && (end <= first_usable_lba || entries_lba > last_usable_lba)
    };
    if entries_lba < 2 || !entries_end.is_some_and(apart) {
        return Err(Health::Bad(CopyFault::EntriesPlace));
    }
    let mut entries = vec![0; array_bytes];
    read_sectors(disk, entries_lba, &mut entries)?;
    if crc32fast::hash(&entries) != u32_at(&header, 88) {
        return Err(Health::Bad(CopyFault::EntriesChecksum));
    }
    let table = Table {
        disk_guid: Guid::from_disk(bytes_at(&header, 56)),
        disk_sectors: header_lba.max(other_header_lba).saturating_add(1),
        first_usable_lba,
        last_usable_lba,
        entry_slots: slots,
        partitions: parse_entries(&entries, entry_bytes as usize),
    };
    if table.disk_sectors > disk_sectors {
        let sectors = table.disk_sectors;
        return Err(Health::Bad(CopyFault::Table(Box::new(GptError::DiskTooSmall { sectors }))));
    }
    table.check().map_err(|error| Health::Bad(CopyFault::Table(Box::new(error))))?;
    Ok(Copy { table, other_header_lba })
}

fn read_sectors(disk: &(impl ReadAt + ?Sized), lba: u64, buffer: &mut [u8]) -> Result<(), Health> {
    let offset = lba.saturating_mul(SECTOR_BYTES);
    let unreadable = |failed| Health::Bad(CopyFault::Unreadable(failed));
    disk.read_exact_at(offset, buffer).map_err(unreadable)
}

fn check_header(header: &[u8; SECTOR], header_lba: u64) -> Result<(), CopyFault> {
    let revision = u32_at(header, 8);
    if revision != REVISION {
        return Err(CopyFault::Revision(revision));
    }
    let header_bytes = u32_at(header, 12);
    if !(HEADER_BYTES..=MAX_HEADER_BYTES).contains(&header_bytes) {
        return Err(CopyFault::HeaderSize(header_bytes));
    }
    let mut checked = *header;
    put(&mut checked, 16, &[0; 4]);
    if crc32fast::hash(&checked[..header_bytes as usize]) != u32_at(header, 16) {
        return Err(CopyFault::HeaderChecksum);
    }
    let own_lba = u64_at(header, 24);
    if own_lba != header_lba {
        return Err(CopyFault::WrongPlace(own_lba));
    }
    let (slots, entry_bytes) = (u32_at(header, 80), u32_at(header, 84));
    if !(ENTRY_BYTES..=MAX_ENTRY_BYTES).contains(&entry_bytes) || !entry_bytes.is_power_of_two() {
        return Err(CopyFault::EntrySize(entry_bytes));
    }
    if slots == 0 || slots > MAX_ENTRY_SLOTS {
        return Err(CopyFault::EntryCount(slots));
    }
    Ok(())
}

fn parse_entries(entries: &[u8], entry_bytes: usize) -> Vec<Partition> {
    let used = |entry: &&[u8]| entry[..16] != [0; 16];
    let numbered = (1_u32..).zip(entries.chunks_exact(entry_bytes));
    numbered
        .filter(|(_, entry)| used(entry))
        .map(|(number, entry)| parse_entry(number, entry))
        .collect()
}

fn parse_entry(number: u32, entry: &[u8]) -> Partition {
    let units = (0..NAME_UNITS).map(|position| u16_at(entry, 56 + 2 * position));
    let name: Vec<u16> = units.take_while(|&unit| unit != 0).collect();
    Partition {
        number,
        type_guid: Guid::from_disk(bytes_at(entry, 0)),
        guid: Guid::from_disk(bytes_at(entry, 16)),
        first_lba: u64_at(entry, 32),
        last_lba: u64_at(entry, 40),
        attributes: u64_at(entry, 48),
        name: String::from_utf16_lossy(&name),
    }
}
