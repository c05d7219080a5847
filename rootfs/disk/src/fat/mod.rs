//! FAT volumes: the ESP that firmware reads, and SEED, which people edit on any desk machine.
//!
//! [`format`] writes a fresh volume from a list of files and touches only the clusters that it
//! uses, so a large ESP stays sparse. [`Volume`] reads what we, `mkfs.vfat`, mtools, macOS or
//! Windows wrote. There is nothing in between: to change a file is to format again, which for the
//! one file of SEED is the simplest thing that can't leave a half-updated volume behind.
//!
//! ```text
//!  boot sector │ (FAT32: information sector, copies) │ FAT │ FAT │ (FAT12/16: root) │ clusters
//! ```
//!
//! The kind follows from the size alone: FAT12 up to 4 MiB, FAT16 below 64 MiB, FAT32 from there
//! on.

mod boot_sector;
mod folder;
mod format;
mod geometry;
mod name;
mod read;
mod time;

pub use format::{FormatError, NewFile, Spec, format, format_to_vec};
pub use geometry::Kind;
pub use name::BadName;
pub use read::{DirectoryEntry, OpenFile, ReadError, Volume};
pub use time::Timestamp;

/// Directory entries, long-name parts included, are of this size.
const SLOT_BYTES: usize = 32;

const ATTRIBUTE_READ_ONLY: u8 = 0x01;
const ATTRIBUTE_HIDDEN: u8 = 0x02;
const ATTRIBUTE_SYSTEM: u8 = 0x04;
const ATTRIBUTE_VOLUME_LABEL: u8 = 0x08;
const ATTRIBUTE_DIRECTORY: u8 = 0x10;
const ATTRIBUTE_ARCHIVE: u8 = 0x20;

/// The combination that no real file has marks a part of a long name.
const ATTRIBUTE_LONG_NAME: u8 =
    ATTRIBUTE_READ_ONLY | ATTRIBUTE_HIDDEN | ATTRIBUTE_SYSTEM | ATTRIBUTE_VOLUME_LABEL;
