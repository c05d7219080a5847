//! One inode as bytes.

#![expect(
    clippy::cast_possible_truncation,
    reason = "what is cast was checked or planned to fit its field"
)]

use super::checksum::crc32c;
use super::extents::{self, INODE_AREA_BYTES, Run, halves, leaf_blocks};
use super::layout::INODE_BYTES;
use super::plan::{Body, INLINE_TARGET_BYTES, Planned};

const TYPE_DIRECTORY: u16 = 0o040_000;
const TYPE_FILE: u16 = 0o100_000;
const TYPE_SYMLINK: u16 = 0o120_000;
const PERMISSIONS: u16 = 0o7777;

const FLAG_EXTENTS: u32 = 0x8_0000;

/// The fields behind the first 128 bytes that we fill.
pub(super) const EXTRA_BYTES: u16 = 32;

/// `i_blocks` counts these, whatever the block size.
const SECTORS_PER_BLOCK: u64 = 8;

/// Everything that belongs to an inode is summed starting from this.
pub(super) fn seed(filesystem_seed: u32, number: u32) -> u32 {
    let generation = 0_u32;
    let with_number = crc32c(filesystem_seed, &number.to_le_bytes());
    crc32c(with_number, &generation.to_le_bytes())
}

/// The inode, and its extent leaf blocks. `data_start` makes the plan's positions absolute.
pub(super) fn encode(
    planned: &Planned<'_>,
    data_start: u64,
    filesystem_seed: u32,
    time: u32,
) -> ([u8; INODE_BYTES], Vec<u8>) {
    let own_seed = seed(filesystem_seed, planned.number);
    let run = Run { first: planned.run.first + data_start, blocks: planned.run.blocks };
    let (area, leaves, flags) = match &planned.body {
        Body::Symlink(target) if target.len() <= INLINE_TARGET_BYTES => {
            let mut area = [0; INODE_AREA_BYTES];
            area[..target.len()].copy_from_slice(target.as_bytes());
            (area, Vec::new(), 0)
        }
        _ => {
            let leaf_start = planned.leaf_start + data_start;
            let (area, leaves) = extents::encode(run, leaf_start, own_seed);
            (area, leaves, FLAG_EXTENTS)
        }
    };
    let kind = match planned.body {
        Body::Directory { .. } => TYPE_DIRECTORY,
        Body::File { .. } => TYPE_FILE,
        Body::Symlink(_) => TYPE_SYMLINK,
    };
    let sectors = (run.blocks + leaf_blocks(run.blocks)) * SECTORS_PER_BLOCK;
    let mut bytes = [0; INODE_BYTES];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    let [size_low, size_high] = halves(planned.size);
    let [sectors_low, sectors_high] = halves(sectors);
    let (uid, gid) = (planned.uid.to_le_bytes(), planned.gid.to_le_bytes());
    put(0x00, &(kind | planned.mode & PERMISSIONS).to_le_bytes());
    put(0x02, &uid[..2]);
    put(0x04, &size_low.to_le_bytes());
    put(0x18, &gid[..2]);
    put(0x1a, &(planned.links as u16).to_le_bytes());
    put(0x1c, &sectors_low.to_le_bytes());
    put(0x20, &flags.to_le_bytes());
    put(0x28, &area);
    put(0x6c, &size_high.to_le_bytes());
    put(0x74, &(sectors_high as u16).to_le_bytes());
    put(0x78, &uid[2..]);
    put(0x7a, &gid[2..]);
    put(0x80, &EXTRA_BYTES.to_le_bytes());
    // Access, change, modification and creation, each with its extension.
    for (at, extra_at) in [(0x08, 0x8c), (0x0c, 0x84), (0x10, 0x88), (0x90, 0x94)] {
        put(at, &time.to_le_bytes());
        put(extra_at, &epoch_bits(time).to_le_bytes());
    }
    let checksum = crc32c(own_seed, &bytes).to_le_bytes();
    bytes[0x7c..0x7e].copy_from_slice(&checksum[..2]);
    bytes[0x82..0x84].copy_from_slice(&checksum[2..]);
    (bytes, leaves)
}

/// The 32-bit time is signed; from 2038 on the extension says how often it wrapped.
fn epoch_bits(time: u32) -> u32 {
    time >> 31
}
