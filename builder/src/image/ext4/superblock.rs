//! The superblock, the group descriptors and the bitmaps.

#![expect(
    clippy::cast_possible_truncation,
    reason = "what is cast was checked or planned to fit its field"
)]

use super::checksum::{START, crc32c};
use super::extents::halves;
use super::inode::EXTRA_BYTES;
use super::layout::{BLOCKS_PER_GROUP, DESCRIPTOR_BYTES, INODE_BYTES, Layout};
use super::plan::LOST_FOUND_INODE;
use super::{BLOCK, Spec};

const SUPERBLOCK_BYTES: usize = 1024;
const SUPERBLOCK_OFFSET: usize = 1024;
const MAGIC: u16 = 0xef53;
pub(super) const LABEL_BYTES: usize = 16;

/// Backup superblocks only where `s_backup_bgs` says, which is nowhere.
const COMPAT_SPARSE_SUPER2: u32 = 0x200;

const INCOMPAT_FILETYPE: u32 = 0x2;
const INCOMPAT_EXTENTS: u32 = 0x40;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_FLEX_BG: u32 = 0x200;
const INCOMPAT: u32 = INCOMPAT_FILETYPE | INCOMPAT_EXTENTS | INCOMPAT_64BIT | INCOMPAT_FLEX_BG;

const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
const RO_COMPAT_LARGE_FILE: u32 = 0x2;
const RO_COMPAT_HUGE_FILE: u32 = 0x8;
const RO_COMPAT_DIR_NLINK: u32 = 0x20;
const RO_COMPAT_EXTRA_ISIZE: u32 = 0x40;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;
/// The kernel mounts it read-only, whatever was asked: one write would break the hash tree.
const RO_COMPAT_READONLY: u32 = 0x1000;
const RO_COMPAT: u32 = RO_COMPAT_SPARSE_SUPER
    | RO_COMPAT_LARGE_FILE
    | RO_COMPAT_HUGE_FILE
    | RO_COMPAT_DIR_NLINK
    | RO_COMPAT_EXTRA_ISIZE
    | RO_COMPAT_METADATA_CSUM
    | RO_COMPAT_READONLY;

const STATE_CLEAN: u16 = 1;
const ON_ERROR_REMOUNT_READ_ONLY: u16 = 2;
const REVISION_DYNAMIC: u32 = 1;
const HASH_HALF_MD4: u8 = 1;
const FLAG_UNSIGNED_HASH: u32 = 2;
const CHECKSUM_CRC32C: u8 = 1;
/// What `mke2fs` uses at least; our one flexible group holds all groups.
const MIN_LOG_GROUPS_PER_FLEX: u8 = 4;

const GROUP_INODE_TABLE_ZEROED: u16 = 0x4;

/// Every checksum but the superblock's own starts from the filesystem's identity.
pub(super) fn checksum_seed(spec: &Spec) -> u32 {
    crc32c(START, &spec.uuid.bytes())
}

/// Block 0, with the superblock in its second kilobyte.
pub(super) fn encode(layout: &Layout, spec: &Spec) -> Vec<u8> {
    let mut bytes = vec![0; SUPERBLOCK_BYTES];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    let inodes = layout.inodes_per_group * layout.groups;
    let [blocks_low, blocks_high] = halves(layout.blocks);
    let [free_low, free_high] = halves(layout.blocks - layout.used_blocks);
    let log_block_size = BLOCK.trailing_zeros() - 10;
    let blocks_per_group = BLOCKS_PER_GROUP as u32;
    let time = spec.time.to_le_bytes();
    put(0x00, &inodes.to_le_bytes());
    put(0x04, &blocks_low.to_le_bytes());
    put(0x0c, &free_low.to_le_bytes());
    put(0x10, &(inodes - layout.used_inodes).to_le_bytes());
    put(0x18, &log_block_size.to_le_bytes());
    put(0x1c, &log_block_size.to_le_bytes());
    put(0x20, &blocks_per_group.to_le_bytes());
    put(0x24, &blocks_per_group.to_le_bytes());
    put(0x28, &layout.inodes_per_group.to_le_bytes());
    put(0x30, &time);
    put(0x36, &u16::MAX.to_le_bytes());
    put(0x38, &MAGIC.to_le_bytes());
    put(0x3a, &STATE_CLEAN.to_le_bytes());
    put(0x3c, &ON_ERROR_REMOUNT_READ_ONLY.to_le_bytes());
    put(0x40, &time);
    put(0x4c, &REVISION_DYNAMIC.to_le_bytes());
    put(0x54, &LOST_FOUND_INODE.to_le_bytes());
    put(0x58, &(INODE_BYTES as u16).to_le_bytes());
    put(0x5c, &COMPAT_SPARSE_SUPER2.to_le_bytes());
    put(0x60, &INCOMPAT.to_le_bytes());
    put(0x64, &RO_COMPAT.to_le_bytes());
    put(0x68, &spec.uuid.bytes());
    put(0x78, spec.label.as_bytes());
    put(0xec, &spec.hash_seed.bytes());
    put(0xfc, &[HASH_HALF_MD4]);
    put(0xfe, &(DESCRIPTOR_BYTES as u16).to_le_bytes());
    put(0x108, &time);
    put(0x150, &blocks_high.to_le_bytes());
    put(0x158, &free_high.to_le_bytes());
    put(0x15c, &EXTRA_BYTES.to_le_bytes());
    put(0x15e, &EXTRA_BYTES.to_le_bytes());
    put(0x160, &FLAG_UNSIGNED_HASH.to_le_bytes());
    put(0x174, &[log_groups_per_flex(layout.groups), CHECKSUM_CRC32C]);
    let checksum = crc32c(START, &bytes[..SUPERBLOCK_BYTES - 4]);
    bytes[SUPERBLOCK_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());

    let mut block = vec![0; BLOCK];
    block[SUPERBLOCK_OFFSET..SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES].copy_from_slice(&bytes);
    block
}

fn log_groups_per_flex(groups: u32) -> u8 {
    let log = groups.next_power_of_two().trailing_zeros() as u8;
    log.max(MIN_LOG_GROUPS_PER_FLEX)
}

/// A bitmap whose first `used` bits are set, and those from `valid` on, which stand for nothing.
fn bitmap(used: u32, valid: u32) -> Vec<u8> {
    let mut bytes = vec![0; BLOCK];
    let mut set = |bits: std::ops::Range<u32>| {
        for bit in bits {
            bytes[bit as usize / 8] |= 1 << (bit % 8);
        }
    };
    set(0..used);
    set(valid..BLOCK as u32 * 8);
    bytes
}

/// Group descriptors padded to whole blocks, all block bitmaps, all inode bitmaps: what lies
/// between the superblock and the inode tables. `directories` counts those of each group.
pub(super) fn encode_groups(layout: &Layout, directories: &[u16], seed: u32) -> Vec<u8> {
    let mut descriptors = Vec::new();
    let mut block_bitmaps = Vec::new();
    let mut inode_bitmaps = Vec::new();
    for (group, &directories) in (0..layout.groups).zip(directories) {
        let used_blocks = layout.used_blocks_in_group(group);
        let blocks = bitmap(used_blocks, layout.blocks_in_group(group));
        let inodes = bitmap(layout.used_inodes_in_group(group), layout.inodes_per_group);
        let sums = BitmapSums {
            blocks: crc32c(seed, &blocks),
            inodes: crc32c(seed, &inodes[..layout.inodes_per_group as usize / 8]),
        };
        descriptors.extend(encode_descriptor(layout, group, directories, &sums, seed));
        block_bitmaps.extend(blocks);
        inode_bitmaps.extend(inodes);
    }
    descriptors.resize(layout.descriptor_blocks as usize * BLOCK, 0);
    descriptors.extend(block_bitmaps);
    descriptors.extend(inode_bitmaps);
    descriptors
}

struct BitmapSums {
    blocks: u32,
    inodes: u32,
}

fn encode_descriptor(
    layout: &Layout,
    group: u32,
    directories: u16,
    sums: &BitmapSums,
    seed: u32,
) -> [u8; DESCRIPTOR_BYTES] {
    let free_blocks = layout.blocks_in_group(group) - layout.used_blocks_in_group(group);
    let free_inodes = layout.inodes_per_group - layout.used_inodes_in_group(group);
    let table_blocks = u64::from(group) * u64::from(layout.inode_table_blocks());
    let mut bytes = [0; DESCRIPTOR_BYTES];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    let places = [
        layout.block_bitmaps_start() + u64::from(group),
        layout.inode_bitmaps_start() + u64::from(group),
        layout.inode_tables_start() + table_blocks,
    ];
    for (index, place) in places.into_iter().enumerate() {
        let [low, high] = halves(place);
        put(4 * index, &low.to_le_bytes());
        put(0x20 + 4 * index, &high.to_le_bytes());
    }
    // None of these counts is above 32,768, so their high halves stay zero.
    put(0x0c, &(free_blocks as u16).to_le_bytes());
    put(0x0e, &(free_inodes as u16).to_le_bytes());
    put(0x10, &directories.to_le_bytes());
    put(0x12, &GROUP_INODE_TABLE_ZEROED.to_le_bytes());
    let (blocks, inodes) = (sums.blocks.to_le_bytes(), sums.inodes.to_le_bytes());
    put(0x18, &blocks[..2]);
    put(0x1a, &inodes[..2]);
    // Inodes are used from the front, so all free ones are at the end of the table.
    put(0x1c, &(free_inodes as u16).to_le_bytes());
    put(0x38, &blocks[2..]);
    put(0x3a, &inodes[2..]);
    let checksum = crc32c(crc32c(seed, &group.to_le_bytes()), &bytes);
    bytes[0x1e..0x20].copy_from_slice(&checksum.to_le_bytes()[..2]);
    bytes
}
