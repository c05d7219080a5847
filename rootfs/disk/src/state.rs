//! What a node has to do with its STATE partition: decisions only, taken from what was read.
//!
//! Two questions are answered here. *The table*: does STATE reach to the disk's end, and is the
//! backup of the table there? *The filesystem*: is it to be made, checked, or left alone?
//!
//! Making a filesystem destroys whatever was there, so it must never be guessed from the bytes of
//! the partition. A partition that starts with zeros may be a database whose first megabyte a
//! controller lost; one that doesn't may be blank, on a disk that had another life. The builder says
//! it instead: it sets [`ATTRIBUTE_UNMADE`] in the table, whose two copies have checksums, and the
//! node clears the bit after its filesystem is whole on the disk and before anything is put into
//! it. So:
//!
//! ```text
//!   marked unmade    first superblock       a copy    what is done
//!   ──────────────   ────────────────────   ───────   ─────────────────────────────────────────
//!   yes              good, was mounted      any       checked: the bit came back, the data counts
//!   yes              anything else          any       made; half-made before a power cut: again
//!   no               good                   any       checked
//!   no               zeros or damaged       good      checked with the copy, which restores it
//!   no               zeros or damaged       none      refused: nobody can know what this was
//! ```
//! The first line is for a table that was put back by hand, or by a disk that lied about a flush:
//! a filesystem that carries our label and was once mounted is never formatted, whatever the bit
//! says. A stale copy from the disk's former life stands in no one's way, since lines with the
//! bit don't look at copies.

use thiserror::Error;

use crate::ext4;
use crate::gpt::types::{ATTRIBUTE_UNMADE, LINUX_GENERIC};
use crate::gpt::{Found, GptError, Growth, Partition, Table};

/// The name of the partition, and of the filesystem in it.
pub const STATE_NAME: &str = "STATE";
/// STATE ends at a whole mebibyte, a multiple of every flash's block size.
const ALIGNMENT_SECTORS: u64 = 2048;

/// Why nothing can be done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StateError {
    #[error("no partition named {STATE_NAME} of the type for Linux data: flash the image anew")]
    NoPartition,
    #[error("partitions {one} and {other} are both named {STATE_NAME}: rename the wrong one")]
    TwoPartitions { one: u32, other: u32 },
    #[error("the partition table can't be changed: {0}")]
    Table(#[from] GptError),
}

/// The table as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePlan {
    pub table: Table,
    /// STATE with its new size.
    pub state: Partition,
    /// None if STATE is as large as it can be.
    pub growth: Option<Growth>,
}

/// Why a partition is not touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error(
        "it starts with zeros and holds no copy of a superblock, but it was in use: the disk lost \
         what was on it"
    )]
    Lost,
    #[error("neither its first superblock nor any copy is that of a sound ext4")]
    Foreign,
}

/// What is to be done with the filesystem before it can be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Make it, sync, then clear the mark.
    Make,
    /// Let e2fsck look at it, beginning with the superblock in this block if the first one is bad.
    Check {
        backup: Option<u64>,
    },
    Refuse(Refusal),
}

/// The STATE partition of a table.
pub fn find(table: &Table) -> Result<&Partition, StateError> {
    let is_state = |one: &&Partition| one.name == STATE_NAME && one.type_guid == LINUX_GENERIC;
    let mut all = table.partitions.iter().filter(is_state);
    match (all.next(), all.next()) {
        (Some(one), None) => Ok(one),
        (Some(one), Some(other)) => {
            Err(StateError::TwoPartitions { one: one.number, other: other.number })
        }
        (None, _) => Err(StateError::NoPartition),
    }
}

/// Whether the partition is marked as one that has no filesystem yet.
pub fn is_unmade(partition: &Partition) -> bool {
    partition.attributes & ATTRIBUTE_UNMADE != 0
}

/// The table for a disk of so many sectors: its backup at the end, STATE grown if it is last.
pub fn plan_table(found: &Found, disk_sectors: u64) -> Result<TablePlan, StateError> {
    let mut table = found.table.clone();
    let number = find(&table)?.number;
    if disk_sectors != table.disk_sectors {
        table.relocate(disk_sectors)?;
    }
    let last = table.partitions.iter().max_by_key(|partition| partition.last_lba);
    let is_last = last.is_some_and(|last| last.number == number);
    let growth = if is_last { table.grow_last(ALIGNMENT_SECTORS) } else { None };
    let state = find(&table)?.clone();
    Ok(TablePlan { table, state, growth })
}

/// The table once the filesystem is made.
#[must_use]
pub fn mark_made(table: &Table, number: u32) -> Table {
    let mut made = table.clone();
    let all = made.partitions.iter_mut().filter(|partition| partition.number == number);
    all.for_each(|partition| partition.attributes &= !ATTRIBUTE_UNMADE);
    made
}

/// What to do with the filesystem; `backup` is asked only when it matters.
pub fn plan_filesystem(
    unmade: bool,
    first: &ext4::Found,
    backup: impl FnOnce() -> Option<u64>,
) -> Treatment {
    match (unmade, first) {
        (true, ext4::Found::Good(superblock)) if is_in_use(superblock) => {
            Treatment::Check { backup: None }
        }
        (true, _) => Treatment::Make,
        (false, ext4::Found::Good(_)) => Treatment::Check { backup: None },
        (false, first) => match (backup(), first) {
            (Some(block), _) => Treatment::Check { backup: Some(block) },
            (None, ext4::Found::Zeros) => Treatment::Refuse(Refusal::Lost),
            (None, _) => Treatment::Refuse(Refusal::Foreign),
        },
    }
}

fn is_in_use(superblock: &ext4::Superblock) -> bool {
    superblock.was_mounted() && superblock.label == STATE_NAME.as_bytes()
}
