//! The GUID partition table: what is on the disk, where, and under which name.
//!
//! ```text
//!  LBA 0       protective MBR: tells old tools that the disk is taken
//!  LBA 1       primary header  ──┐ checksum over itself and over the entries
//!  LBA 2..33   entries           │
//!  …           partitions        │ each header names the other
//!  last-32..   entries again     │
//!  last        backup header  <──┘
//! ```
//!
//! [`Table`] is a plain value. [`Table::encode`] turns it into bytes with their offsets, in an
//! order in which a power cut at any moment leaves at least one good copy. [`read`] takes whichever
//! copy is good and says what it thought of both. [`Table::relocate`] and [`Table::grow_last`] are
//! what a node does at its first boot, when the image finds itself on a larger disk.

mod encode;
mod guid;
mod parse;
mod resize;
mod rewrite;
pub mod types;

use thiserror::Error;

use crate::access::AccessFailed;

pub use encode::Piece;
pub use guid::{Guid, NotAGuid};
pub use parse::{CopyFault, Found, Health, read};
pub use resize::Growth;
pub use rewrite::rewrite;

/// The only sector size that we write; disks with native 4096-byte sectors are refused by `read`.
pub const SECTOR_BYTES: u64 = 512;

/// Every tool reserves room for so many entries, and the specification asks for it.
const USUAL_ENTRY_SLOTS: u32 = 128;

/// More than any disk has; bounds what a hostile header makes us read (256 KiB).
const MAX_ENTRY_SLOTS: u32 = 2048;

const ENTRY_BYTES: u32 = 128;

/// UTF-16 code units of a partition's name.
const NAME_UNITS: usize = 36;

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// From 1 on, as in `/dev/vda1`.
    pub number: u32,
    /// What is in it; see [`types`].
    pub type_guid: Guid,
    /// The partition itself, as in `PARTUUID=`.
    pub guid: Guid,
    pub first_lba: u64,
    /// The last sector that belongs to it.
    pub last_lba: u64,
    pub attributes: u64,
    pub name: String,
}

/// A whole partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub disk_guid: Guid,
    /// All sectors of the disk that the table is for.
    pub disk_sectors: u64,
    pub first_usable_lba: u64,
    pub last_usable_lba: u64,
    /// How many entries the table has room for.
    pub entry_slots: u32,
    /// In the order of their numbers.
    pub partitions: Vec<Partition>,
}

/// Why a table can't be written or read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GptError {
    #[error("a disk of {sectors} sectors has no room for a partition table")]
    DiskTooSmall { sectors: u64 },
    #[error("partition {number}: the table has room for the numbers 1 to {slots}")]
    BadNumber { number: u32, slots: u32 },
    #[error("partition number {0} is there twice")]
    NumberTwice(u32),
    #[error("partition {number} has an all-zero type or identity: give it a GUID")]
    ZeroGuid { number: u32 },
    #[error("the partition identity {0} is there twice")]
    GuidTwice(Guid),
    #[error(
        "partition {number} (sectors {first} to {last}) is not within \
         {usable_first} to {usable_last}"
    )]
    OutOfBounds { number: u32, first: u64, last: u64, usable_first: u64, usable_last: u64 },
    #[error("partitions {one} and {other} overlap")]
    Overlap { one: u32, other: u32 },
    #[error("the name {name:?} of partition {number} is longer than 36 UTF-16 units: shorten it")]
    NameTooLong { number: u32, name: String },
    #[error("the usable sectors {first} to {last} don't fit beside the table's own sectors")]
    BadUsableRange { first: u64, last: u64 },
    #[error("{slots} entries are more than the {MAX_ENTRY_SLOTS} that we handle")]
    TooManySlots { slots: u32 },
    #[error("no good partition table: primary {primary}, backup {backup}")]
    NoTable { primary: Health, backup: Health },
    #[error("the disk can't be read")]
    Access(#[from] AccessFailed),
}

impl Partition {
    /// Where the partition starts, in bytes.
    pub fn offset_bytes(&self) -> u64 {
        self.first_lba * SECTOR_BYTES
    }

    /// How long the partition is, in bytes.
    pub fn size_bytes(&self) -> u64 {
        (self.last_lba - self.first_lba + 1) * SECTOR_BYTES
    }
}

impl Table {
    /// An empty table for a disk of so many sectors.
    pub fn new(disk_guid: Guid, disk_sectors: u64) -> Result<Self, GptError> {
        let table_sectors = entry_sectors(USUAL_ENTRY_SLOTS) + 1;
        if disk_sectors < 2 * table_sectors + 2 {
            return Err(GptError::DiskTooSmall { sectors: disk_sectors });
        }
        Ok(Self {
            disk_guid,
            disk_sectors,
            first_usable_lba: 1 + table_sectors,
            last_usable_lba: disk_sectors - 1 - table_sectors,
            entry_slots: USUAL_ENTRY_SLOTS,
            partitions: Vec::new(),
        })
    }

    /// The first partition of that type.
    pub fn find_type(&self, type_guid: Guid) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.type_guid == type_guid)
    }

    /// The partition of that name.
    pub fn find_name(&self, name: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.name == name)
    }

    /// Checks everything that a reader of the table relies on.
    pub fn check(&self) -> Result<(), GptError> {
        self.check_usable_range()?;
        let mut by_position: Vec<&Partition> = self.partitions.iter().collect();
        for partition in &by_position {
            self.check_partition(partition)?;
        }
        by_position.sort_by_key(|partition| partition.first_lba);
        for pair in by_position.windows(2) {
            if pair[1].first_lba <= pair[0].last_lba {
                let (one, other) = (pair[0].number, pair[1].number);
                return Err(GptError::Overlap { one, other });
            }
        }
        let mut numbers: Vec<u32> = self.partitions.iter().map(|one| one.number).collect();
        numbers.sort_unstable();
        if let Some(pair) = numbers.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(GptError::NumberTwice(pair[0]));
        }
        let mut guids: Vec<Guid> = self.partitions.iter().map(|one| one.guid).collect();
        guids.sort_unstable();
        match guids.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(GptError::GuidTwice(pair[0])),
            None => Ok(()),
        }
    }

    fn check_usable_range(&self) -> Result<(), GptError> {
        if self.entry_slots > MAX_ENTRY_SLOTS {
            return Err(GptError::TooManySlots { slots: self.entry_slots });
        }
        let table_sectors = entry_sectors(self.entry_slots) + 1;
        let (first, last) = (self.first_usable_lba, self.last_usable_lba);
        let after_usable = last.checked_add(table_sectors);
        if first < 1 + table_sectors
            || first > last
            || after_usable.is_none_or(|end| end >= self.disk_sectors)
        {
            return Err(GptError::BadUsableRange { first, last });
        }
        Ok(())
    }

    fn check_partition(&self, partition: &Partition) -> Result<(), GptError> {
        let number = partition.number;
        if number == 0 || number > self.entry_slots {
            return Err(GptError::BadNumber { number, slots: self.entry_slots });
        }
        if partition.type_guid == Guid::ZERO || partition.guid == Guid::ZERO {
            return Err(GptError::ZeroGuid { number });
        }
        if partition.name.encode_utf16().count() > NAME_UNITS {
            return Err(GptError::NameTooLong { number, name: partition.name.clone() });
        }
        let (first, last) = (partition.first_lba, partition.last_lba);
        if first > last || first < self.first_usable_lba || last > self.last_usable_lba {
            return Err(GptError::OutOfBounds {
                number,
                first,
                last,
                usable_first: self.first_usable_lba,
                usable_last: self.last_usable_lba,
            });
        }
        Ok(())
    }
}

/// Sectors that an array of so many entries takes.
fn entry_sectors(slots: u32) -> u64 {
    (u64::from(slots) * u64::from(ENTRY_BYTES)).div_ceil(SECTOR_BYTES)
}
