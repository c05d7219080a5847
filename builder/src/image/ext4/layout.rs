//! How large the filesystem is and where its fixed parts lie: arithmetic only.

#![expect(
    clippy::cast_possible_truncation,
    reason = "what is cast was checked or planned to fit its field"
)]

use super::{BLOCK, BLOCK_BYTES, Ext4Error, Spec};

/// One block of bitmap describes so many blocks or inodes.
pub(super) const BLOCKS_PER_GROUP: u64 = BLOCK_BYTES * 8;
const MAX_INODES_PER_GROUP: u32 = BLOCKS_PER_GROUP as u32;

/// Room for 32-bit owners, nanoseconds and the checksum.
pub(super) const INODE_BYTES: usize = 256;
pub(super) const INODES_PER_BLOCK: u32 = (BLOCK / INODE_BYTES) as u32;

pub(super) const DESCRIPTOR_BYTES: usize = 64;
const DESCRIPTORS_PER_BLOCK: u64 = (BLOCK / DESCRIPTOR_BYTES) as u64;

/// Sizes and positions, in blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) blocks: u64,
    pub(super) groups: u32,
    pub(super) inodes_per_group: u32,
    /// Inodes 1 to this one are in use.
    pub(super) used_inodes: u32,
    /// Blocks 0 to just before this one are in use.
    pub(super) used_blocks: u64,
    pub(super) descriptor_blocks: u64,
    /// Where directories and contents begin.
    pub(super) data_start: u64,
}

impl Layout {
    /// For inodes 1 to `used_inodes` and so many blocks of directories and contents.
    pub(super) fn new(used_inodes: u32, data_blocks: u64, spec: &Spec) -> Result<Self, Ext4Error> {
        let round_blocks = spec.round_to_bytes.div_ceil(BLOCK_BYTES).max(1);
        let max_blocks = spec.max_bytes / BLOCK_BYTES;
        let mut groups = used_inodes.div_ceil(MAX_INODES_PER_GROUP).max(1);
        loop {
            let per_group = used_inodes.div_ceil(groups).next_multiple_of(INODES_PER_BLOCK);
            let mut layout = Self {
                blocks: 0,
                groups,
                inodes_per_group: per_group,
                used_inodes,
                used_blocks: 0,
                descriptor_blocks: u64::from(groups).div_ceil(DESCRIPTORS_PER_BLOCK),
                data_start: 0,
            };
            layout.data_start = layout.inode_tables_start()
                + u64::from(groups) * u64::from(layout.inode_table_blocks());
            layout.used_blocks = layout.data_start + data_blocks;
            let into_last_group = u64::from(groups - 1) * BLOCKS_PER_GROUP + 1;
            let needed = layout.used_blocks.max(into_last_group);
            let too_big = || {
                let needed = needed.saturating_mul(BLOCK_BYTES);
                Ext4Error::TooBig { needed, max: spec.max_bytes }
            };
            if needed > max_blocks {
                return Err(too_big());
            }
            let rounded = needed.div_ceil(round_blocks).saturating_mul(round_blocks);
            layout.blocks = rounded.min(max_blocks);
            let wanted = layout.blocks.div_ceil(BLOCKS_PER_GROUP);
            let wanted = u32::try_from(wanted).map_err(|_| too_big())?;
            if wanted == groups {
                return Ok(layout);
            }
            // More groups need more metadata, never less, so this ends.
            groups = wanted;
        }
    }

    pub(super) fn block_bitmaps_start(&self) -> u64 {
        1 + self.descriptor_blocks
    }

    pub(super) fn inode_bitmaps_start(&self) -> u64 {
        self.block_bitmaps_start() + u64::from(self.groups)
    }

    pub(super) fn inode_tables_start(&self) -> u64 {
        self.inode_bitmaps_start() + u64::from(self.groups)
    }

    /// Of one group.
    pub(super) fn inode_table_blocks(&self) -> u32 {
        self.inodes_per_group / INODES_PER_BLOCK
    }

    /// How many blocks group `group` has; only the last may be short.
    pub(super) fn blocks_in_group(&self, group: u32) -> u32 {
        let start = u64::from(group) * BLOCKS_PER_GROUP;
        (self.blocks - start).min(BLOCKS_PER_GROUP) as u32
    }

    pub(super) fn used_blocks_in_group(&self, group: u32) -> u32 {
        let start = u64::from(group) * BLOCKS_PER_GROUP;
        self.used_blocks.saturating_sub(start).min(BLOCKS_PER_GROUP) as u32
    }

    pub(super) fn used_inodes_in_group(&self, group: u32) -> u32 {
        let before = group * self.inodes_per_group;
        self.used_inodes.saturating_sub(before).min(self.inodes_per_group)
    }
}

#[cfg(test)]
mod tests {
    use disk::gpt::Guid;

    use super::*;

    fn layout(inodes: u32, data_blocks: u64, max_bytes: u64) -> Result<Layout, Ext4Error> {
        let spec = Spec {
            uuid: Guid::ZERO,
            hash_seed: Guid::ZERO,
            label: String::new(),
            time: 0,
            round_to_bytes: 1 << 20,
            max_bytes,
        };
        Layout::new(inodes, data_blocks, &spec)
    }

    #[test]
    fn everything_fits_and_nothing_is_wasted() {
        for inodes in [12, 500, 32_768, 32_769, 200_000] {
            for data_blocks in [2, 100, 32_700, 32_768, 40_000, 1_000_000] {
                let layout = layout(inodes, data_blocks, u64::MAX).expect("a layout");
                assert_eq!(u64::from(layout.groups), layout.blocks.div_ceil(BLOCKS_PER_GROUP));
                assert_eq!(layout.used_blocks, layout.data_start + data_blocks);
                assert!(layout.used_blocks <= layout.blocks);
                assert!(layout.inodes_per_group <= MAX_INODES_PER_GROUP);
                assert!(layout.inodes_per_group * layout.groups >= inodes);
                assert_eq!(layout.blocks % 256, 0, "rounded to a mebibyte");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_need() {
        let needed = layout(100, 1000, u64::MAX).expect("a layout").used_blocks * BLOCK_BYTES;
        let exact = layout(100, 1000, needed).expect("it fits exactly");
        assert_eq!(exact.blocks * BLOCK_BYTES, needed, "rounding gives way to the slot");
        match layout(100, 1000, needed - 1) {
            Err(Ext4Error::TooBig { needed: said, .. }) => assert_eq!(said, needed),
            other => panic!("{other:?}"),
        }
    }
}
