//! Making use of a disk that is larger than the image that was written to it.

use super::{GptError, Table, entry_sectors};

/// What happened to the last partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    pub number: u32,
    pub old_last_lba: u64,
    pub new_last_lba: u64,
}

impl Table {
    /// Makes the table one for a disk of `disk_sectors`: the backup moves to the disk's end and the
    /// usable range follows. Partitions stay; if one no longer fits, the table is left as it was.
    pub fn relocate(&mut self, disk_sectors: u64) -> Result<(), GptError> {
        let table_sectors = entry_sectors(self.entry_slots) + 1;
        let too_small = GptError::DiskTooSmall { sectors: disk_sectors };
        let last_usable_lba = disk_sectors.checked_sub(1 + table_sectors).ok_or(too_small)?;
        let moved = Self { disk_sectors, last_usable_lba, ..self.clone() };
        moved.check()?;
        *self = moved;
        Ok(())
    }

    /// Extends the partition that lies last on the disk to the end of the usable range, so that it
    /// ends just before a multiple of `alignment_sectors`. None if there is nothing to gain.
    pub fn grow_last(&mut self, alignment_sectors: u64) -> Option<Growth> {
        let end = self.last_usable_lba.checked_add(1)?;
        let aligned_end = end - end.checked_rem(alignment_sectors)?;
        let new_last_lba = aligned_end.checked_sub(1)?;
        let last = self.partitions.iter_mut().max_by_key(|partition| partition.last_lba)?;
        let old_last_lba = last.last_lba;
        if new_last_lba <= old_last_lba {
            return None;
        }
        last.last_lba = new_last_lba;
        Some(Growth { number: last.number, old_last_lba, new_last_lba })
    }
}
