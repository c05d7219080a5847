//! Extents: which run of blocks holds which part of a file.
//!
//! Every file is one run here, but an extent spans at most 32,768 blocks (128 MiB). Four extents
//! fit into the inode; longer files get leaf blocks, which the inode then indexes.

#![expect(
    clippy::cast_possible_truncation,
    reason = "what is cast was checked or planned to fit its field"
)]

use super::BLOCK;
use super::checksum::crc32c;

/// Longer ones would be taken for "unwritten".
const MAX_EXTENT_BLOCKS: u64 = 32_768;

const MAGIC: u16 = 0xf30a;
const RECORD_BYTES: usize = 12;
const RECORDS_IN_INODE: usize = 4;
const RECORDS_IN_BLOCK: usize = (BLOCK - RECORD_BYTES) / RECORD_BYTES;

/// What four full leaf blocks can describe: 170 GiB.
pub(super) const MAX_FILE_BLOCKS: u64 =
    MAX_EXTENT_BLOCKS * (RECORDS_IN_INODE * RECORDS_IN_BLOCK) as u64;

/// What an inode holds in place of block numbers.
pub(super) const INODE_AREA_BYTES: usize = 60;

/// One run: logical blocks from 0 on are the physical ones from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) blocks: u64,
}

struct Extent {
    logical: u32,
    length: u16,
    physical: u64,
}

/// How many leaf blocks a run of that length needs.
pub(super) fn leaf_blocks(blocks: u64) -> u64 {
    let extents = blocks.div_ceil(MAX_EXTENT_BLOCKS);
    if extents <= RECORDS_IN_INODE as u64 { 0 } else { extents.div_ceil(RECORDS_IN_BLOCK as u64) }
}

fn split(run: Run) -> Vec<Extent> {
    let mut extents = Vec::new();
    let mut logical = 0;
    while logical < run.blocks {
        let length = (run.blocks - logical).min(MAX_EXTENT_BLOCKS);
        let physical = run.first + logical;
        extents.push(Extent { logical: logical as u32, length: length as u16, physical });
        logical += length;
    }
    extents
}

fn header(entries: usize, most: usize, depth: u16) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..2].copy_from_slice(&MAGIC.to_le_bytes());
    bytes[2..4].copy_from_slice(&(entries as u16).to_le_bytes());
    bytes[4..6].copy_from_slice(&(most as u16).to_le_bytes());
    bytes[6..8].copy_from_slice(&depth.to_le_bytes());
    bytes
}

impl Extent {
    fn encode(&self) -> [u8; RECORD_BYTES] {
        let [low, high] = halves(self.physical);
        let mut bytes = [0; RECORD_BYTES];
        bytes[..4].copy_from_slice(&self.logical.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.length.to_le_bytes());
        bytes[6..8].copy_from_slice(&(high as u16).to_le_bytes());
        bytes[8..].copy_from_slice(&low.to_le_bytes());
        bytes
    }
}

/// The low and the high 32 bits.
pub(super) fn halves(number: u64) -> [u32; 2] {
    [(number & 0xffff_ffff) as u32, (number >> 32) as u32]
}

/// The inode's area for a run, and the leaf blocks that it points to, which lie in a row from
/// `leaf_start` on. `inode_seed` is the inode's own checksum seed.
pub(super) fn encode(
    run: Run,
    leaf_start: u64,
    inode_seed: u32,
) -> ([u8; INODE_AREA_BYTES], Vec<u8>) {
    let extents = split(run);
    let mut area = [0; INODE_AREA_BYTES];
    if extents.len() <= RECORDS_IN_INODE {
        area[..RECORD_BYTES].copy_from_slice(&header(extents.len(), RECORDS_IN_INODE, 0));
        for (extent, place) in extents.iter().zip(area[RECORD_BYTES..].chunks_mut(RECORD_BYTES)) {
            place.copy_from_slice(&extent.encode());
        }
        return (area, Vec::new());
    }
    let mut leaves = Vec::new();
    let chunks = extents.chunks(RECORDS_IN_BLOCK);
    area[..RECORD_BYTES].copy_from_slice(&header(chunks.len(), RECORDS_IN_INODE, 1));
    for ((chunk, place), block) in
        chunks.zip(area[RECORD_BYTES..].chunks_mut(RECORD_BYTES)).zip(leaf_start..)
    {
        let [low, high] = halves(block);
        place[..4].copy_from_slice(&chunk[0].logical.to_le_bytes());
        place[4..8].copy_from_slice(&low.to_le_bytes());
        place[8..10].copy_from_slice(&(high as u16).to_le_bytes());
        leaves.extend(encode_leaf(chunk, inode_seed));
    }
    (area, leaves)
}

fn encode_leaf(extents: &[Extent], inode_seed: u32) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK);
    block.extend(header(extents.len(), RECORDS_IN_BLOCK, 0));
    for extent in extents {
        block.extend(extent.encode());
    }
    block.resize(BLOCK - 4, 0);
    let checksum = crc32c(inode_seed, &block);
    block.extend(checksum.to_le_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaf_blocks_appear_with_the_fifth_extent() {
        assert_eq!(leaf_blocks(0), 0);
        assert_eq!(leaf_blocks(4 * MAX_EXTENT_BLOCKS), 0);
        assert_eq!(leaf_blocks(4 * MAX_EXTENT_BLOCKS + 1), 1);
        assert_eq!(leaf_blocks(340 * MAX_EXTENT_BLOCKS + 1), 2);
        assert_eq!(leaf_blocks(MAX_FILE_BLOCKS), 4);
        let run = Run { first: 7, blocks: MAX_FILE_BLOCKS };
        let (area, leaves) = encode(run, 3, 0);
        assert_eq!(leaves.len(), 4 * BLOCK);
        assert_eq!(area[2], 4, "all four index records are used");
    }

    #[test]
    fn extents_cover_the_run_without_gaps() {
        let run = Run { first: 1000, blocks: 3 * MAX_EXTENT_BLOCKS + 5 };
        let mut next = 0;
        for extent in split(run) {
            assert_eq!(u64::from(extent.logical), next);
            assert_eq!(extent.physical, run.first + next);
            next += u64::from(extent.length);
        }
        assert_eq!(next, run.blocks);
    }
}
