//! The superblock of ext4, read to judge what a partition holds.
//!
//! Nothing here reads files. A node asks: is this an ext4 that is believable, was it ever in use,
//! how long is it, and if its first superblock is damaged, where is a good copy of it?
//!
//! Copies stand at the start of block groups 1 and the powers of 3, 5 and 7 (`sparse_super`). Our
//! filesystems have blocks of 4 KiB and so groups of 128 MiB; others are not looked for.

use crate::access::{AccessFailed, ReadAt};
use crate::crc32c::crc32c;
use crate::little_endian::{bytes_at, u16_at, u32_at};

/// The block size that the node formats with.
pub const BLOCK_BYTES: u64 = 4096;
/// A bitmap of one block has a bit for each block of its group.
const BLOCKS_PER_GROUP: u64 = 8 * BLOCK_BYTES;
/// The first superblock leaves room for a boot sector; copies start with their block.
const FIRST_AT: u64 = 1024;
const BYTES: usize = 1024;
const MAGIC: u16 = 0xef53;
/// `metadata_csum`, in the features that a filesystem may be mounted read-only without knowing.
const CHECKSUMS: u32 = 0x400;
const SIXTY_FOUR_BIT: u32 = 0x80;
/// Groups beyond this hold copies, too, but on no partition below 30 TiB is there a need for more.
const BACKUP_GROUPS_MAX: usize = 16;

/// A superblock whose magic and checksum are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    pub blocks: u64,
    pub block_bytes: u64,
    pub uuid: [u8; 16],
    /// The volume's name, up to its first zero byte.
    pub label: Vec<u8>,
    /// When it was last mounted, in Unix seconds; 0 if never.
    pub last_mount: u32,
    /// In which block group this copy says that it stands.
    pub group: u16,
}

/// What stands where a superblock should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Good(Superblock),
    /// Nothing but zeros.
    Zeros,
    /// Something that is no ext4 superblock, or one that is damaged.
    Other,
}

impl Superblock {
    fn parse(bytes: &[u8; BYTES]) -> Option<Self> {
        let checksum_is_right = || crc32c(&bytes[..BYTES - 4]) == u32_at(bytes, BYTES - 4);
        // Every filesystem of ours has checksums; without them nothing tells damage from data.
        let believable = u16_at(bytes, 56) == MAGIC
            && u32_at(bytes, 100) & CHECKSUMS != 0
            && checksum_is_right();
        let block_bytes = 1024_u64.checked_shl(u32_at(bytes, 24)).filter(|size| *size <= 65536)?;
        let high = if u32_at(bytes, 96) & SIXTY_FOUR_BIT == 0 { 0 } else { u32_at(bytes, 336) };
        let label = bytes[120..136].split(|byte| *byte == 0).next().unwrap_or_default();
        believable.then(|| Self {
            blocks: u64::from(high) << 32 | u64::from(u32_at(bytes, 4)),
            block_bytes,
            uuid: bytes_at(bytes, 104),
            label: label.to_owned(),
            last_mount: u32_at(bytes, 44),
            group: u16_at(bytes, 90),
        })
    }

    /// Whether it was ever mounted: nothing is written to a filesystem before that.
    pub fn was_mounted(&self) -> bool {
        self.last_mount != 0
    }
}

/// The superblock at the start of a partition.
pub fn first(partition: &(impl ReadAt + ?Sized)) -> Result<Found, AccessFailed> {
    read_at(partition, FIRST_AT)
}

fn read_at(partition: &(impl ReadAt + ?Sized), offset: u64) -> Result<Found, AccessFailed> {
    let mut bytes = [0; BYTES];
    partition.read_exact_at(offset, &mut bytes)?;
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(Found::Zeros);
    }
    Ok(Superblock::parse(&bytes).map_or(Found::Other, Found::Good))
}

/// The block in which the first good copy of the superblock stands. A place that can't be read is
/// passed over: another copy may be readable.
pub fn backup(partition: &(impl ReadAt + ?Sized)) -> Option<u64> {
    backup_groups().find_map(|group| {
        let block = group.checked_mul(BLOCKS_PER_GROUP)?;
        let found = read_at(partition, block.checked_mul(BLOCK_BYTES)?).ok()?;
        let Found::Good(copy) = found else { return None };
        // A file may hold an image of a filesystem; its superblocks are of another group.
        (u64::from(copy.group) == group && copy.block_bytes == BLOCK_BYTES).then_some(block)
    })
}

/// Group 1 and the powers of 3, 5 and 7, in ascending order.
fn backup_groups() -> impl Iterator<Item = u64> {
    let is_power = |group: u64, base: u64| {
        let mut power = base;
        while power < group {
            power *= base;
        }
        power == group
    };
    let has_copy = move |group: &u64| *group == 1 || [3, 5, 7].iter().any(|b| is_power(*group, *b));
    (1..u64::from(u16::MAX)).filter(has_copy).take(BACKUP_GROUPS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn copies_are_where_sparse_super_puts_them() {
        let groups: Vec<u64> = backup_groups().take(10).collect();
        assert_eq!(groups, [1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let _either = first(&bytes);
            prop_assert_eq!(backup(&bytes), None);
        }
    }
}
