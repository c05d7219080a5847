//! The dm-verity hash tree: hashing a filesystem, appending the tree to it, and checking both.
//!
//! The layout and the superblock are [`disk::verity`], which PID 1 shares. Hashing a root costs
//! more time than writing it, so data blocks are hashed by as many threads as the machine has; each
//! fills its own part of the digest array, so the bytes don't depend on how many there were.

#![expect(
    clippy::cast_possible_truncation,
    reason = "digests are held in memory, so their number fits"
)]

use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::thread;

use disk::gpt::Guid;
use disk::verity::{BLOCK_BYTES, DIGEST_BYTES, RootHash, Shape, Superblock, VerityError};
use sha2::{Digest, Sha256};
use thiserror::Error;

const BLOCK: usize = 4096;

/// Data is read in pieces of this size.
const READ_BYTES: usize = 1024 * 1024;

/// More threads than this only wait for memory.
const MAX_THREADS: usize = 8;

/// A thread that hashes less than this costs more than it saves.
const MIN_BLOCKS_PER_THREAD: u64 = 2048;

/// What was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verity {
    pub root_hash: RootHash,
    pub data_blocks: u64,
    /// Where the superblock is, counted in blocks from the filesystem's start.
    pub hash_offset_blocks: u64,
    /// Filesystem, superblock and tree together.
    pub total_bytes: u64,
}

/// Why a tree can't be made, or what is wrong with one.
#[derive(Debug, Error)]
pub enum HashTreeError {
    #[error("{0} bytes are not a whole number of 4096-byte blocks")]
    NotBlocks(u64),
    #[error("reading the image at byte {offset}")]
    Read { offset: u64, source: io::Error },
    #[error("writing the hash tree at byte {offset}")]
    Write { offset: u64, source: io::Error },
    #[error(transparent)]
    Superblock(#[from] VerityError),
    #[error("the hash tree is for {found} blocks of data, not for {expected}")]
    DataBlocks { found: u64, expected: u64 },
    #[error("block {block} of the hash tree is damaged")]
    BadHashBlock { block: u64 },
    #[error("block {block} of the filesystem is damaged")]
    BadDataBlock { block: u64 },
}

/// How many bytes superblock and tree take for so many bytes of data.
pub fn tree_bytes(data_bytes: u64) -> Result<u64, HashTreeError> {
    Ok((1 + Shape::new(data_blocks(data_bytes)?)?.blocks) * BLOCK_BYTES)
}

fn data_blocks(data_bytes: u64) -> Result<u64, HashTreeError> {
    if !data_bytes.is_multiple_of(BLOCK_BYTES) {
        return Err(HashTreeError::NotBlocks(data_bytes));
    }
    Ok(data_bytes / BLOCK_BYTES)
}

/// Hashes `data_bytes` of `image` from `offset` on and writes superblock and tree behind them.
pub fn append(
    image: &File,
    offset: u64,
    data_bytes: u64,
    salt: &[u8],
    uuid: Guid,
) -> Result<Verity, HashTreeError> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    append_with_threads(image, offset, data_bytes, salt, uuid, threads)
}

fn append_with_threads(
    image: &File,
    offset: u64,
    data_bytes: u64,
    salt: &[u8],
    uuid: Guid,
    threads: usize,
) -> Result<Verity, HashTreeError> {
    let data_blocks = data_blocks(data_bytes)?;
    let shape = Shape::new(data_blocks)?;
    let superblock = Superblock { uuid: uuid.bytes(), data_blocks, salt: salt.to_vec() };
    let mut tree = superblock.encode()?;
    let hasher = Hasher::new(salt);
    let mut digests = hasher.data_digests(image, offset, data_blocks, threads)?;
    let mut levels = Vec::with_capacity(shape.levels.len());
    for _ in &shape.levels {
        digests.resize(digests.len().next_multiple_of(BLOCK), 0);
        let above = digests.chunks_exact(BLOCK).flat_map(|block| hasher.hash(block)).collect();
        levels.push(std::mem::replace(&mut digests, above));
    }
    levels.iter().rev().for_each(|level| tree.extend_from_slice(level));
    let at = offset + data_bytes;
    image.write_all_at(&tree, at).map_err(|source| HashTreeError::Write { offset: at, source })?;
    let mut root_hash = [0; DIGEST_BYTES];
    root_hash.copy_from_slice(&digests);
    let total_bytes = data_bytes + tree.len() as u64;
    Ok(Verity { root_hash, data_blocks, hash_offset_blocks: data_blocks, total_bytes })
}

/// Checks every block of the data and of the tree against `root_hash`, and names the first bad one.
/// Salt and size come from the superblock; if that was forged, the root hash does not match.
pub fn check(
    image: &File,
    offset: u64,
    data_bytes: u64,
    root_hash: &RootHash,
) -> Result<(), HashTreeError> {
    let expected = data_blocks(data_bytes)?;
    let at = offset + data_bytes;
    let superblock = Superblock::parse(&read_block(image, at)?)?;
    let found = superblock.data_blocks;
    if found != expected {
        return Err(HashTreeError::DataBlocks { found, expected });
    }
    let shape = Shape::new(expected)?;
    let hasher = Hasher::new(&superblock.salt);
    let mut trusted = root_hash.to_vec();
    for level in &shape.levels {
        let mut blocks = Vec::new();
        for block in level.first_block..level.first_block + level.blocks {
            let bytes = read_block(image, at + (1 + block) * BLOCK_BYTES)?;
            let index = (block - level.first_block) as usize * DIGEST_BYTES;
            if trusted.get(index..index + DIGEST_BYTES) != Some(&hasher.hash(&bytes)[..]) {
                return Err(HashTreeError::BadHashBlock { block });
            }
            blocks.extend(bytes);
        }
        trusted = blocks;
    }
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let digests = hasher.data_digests(image, offset, expected, threads)?;
    let pairs = digests.chunks_exact(DIGEST_BYTES).zip(trusted.chunks_exact(DIGEST_BYTES));
    match (0..).zip(pairs).find(|(_, (is, wanted))| is != wanted) {
        Some((block, _)) => Err(HashTreeError::BadDataBlock { block }),
        None => Ok(()),
    }
}

fn read_block(image: &File, offset: u64) -> Result<[u8; BLOCK], HashTreeError> {
    let mut block = [0; BLOCK];
    let read = image.read_exact_at(&mut block, offset);
    read.map_err(|source| HashTreeError::Read { offset, source })?;
    Ok(block)
}

/// SHA-256 that has already taken the salt.
struct Hasher(Sha256);

impl Hasher {
    fn new(salt: &[u8]) -> Self {
        Self(Sha256::new().chain_update(salt))
    }

    fn hash(&self, block: &[u8]) -> [u8; DIGEST_BYTES] {
        self.0.clone().chain_update(block).finalize().into()
    }

    /// The digests of all data blocks in a row.
    fn data_digests(
        &self,
        image: &File,
        offset: u64,
        data_blocks: u64,
        threads: usize,
    ) -> Result<Vec<u8>, HashTreeError> {
        let mut digests = vec![0; data_blocks as usize * DIGEST_BYTES];
        let worthwhile = data_blocks.div_ceil(MIN_BLOCKS_PER_THREAD);
        let threads = (threads.min(MAX_THREADS) as u64).min(worthwhile);
        let share = data_blocks.div_ceil(threads);
        thread::scope(|scope| {
            let parts = digests.chunks_mut(share as usize * DIGEST_BYTES);
            let workers: Vec<_> = (0..)
                .zip(parts)
                .map(|(index, part)| {
                    let start = offset + index * share * BLOCK_BYTES;
                    scope.spawn(move || self.fill_digests(image, start, part))
                })
                .collect();
            workers.into_iter().try_for_each(|worker| {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })?;
        Ok(digests)
    }

    fn fill_digests(
        &self,
        image: &File,
        mut offset: u64,
        digests: &mut [u8],
    ) -> Result<(), HashTreeError> {
        let mut buffer = vec![0; READ_BYTES];
        for part in digests.chunks_mut(READ_BYTES / BLOCK * DIGEST_BYTES) {
            let bytes = &mut buffer[..part.len() / DIGEST_BYTES * BLOCK];
            let read = image.read_exact_at(bytes, offset);
            read.map_err(|source| HashTreeError::Read { offset, source })?;
            for (block, digest) in bytes.chunks(BLOCK).zip(part.chunks_mut(DIGEST_BYTES)) {
                digest.copy_from_slice(&self.hash(block));
            }
            offset += bytes.len() as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let blocks = 3 * MIN_BLOCKS_PER_THREAD + 77;
        let image = tempfile::tempfile().expect("a temporary file");
        image.set_len(blocks * BLOCK_BYTES).expect("made longer");
        for block in 0..blocks {
            let bytes = block.to_le_bytes();
            image.write_all_at(&bytes, block * BLOCK_BYTES).expect("written");
        }
        let with_threads = |threads| {
            let data_bytes = blocks * BLOCK_BYTES;
            let verity = append_with_threads(&image, 0, data_bytes, b"salt", Guid::ZERO, threads);
            let verity = verity.expect("appended");
            let mut tree = vec![0; (verity.total_bytes - data_bytes) as usize];
            image.read_exact_at(&mut tree, data_bytes).expect("read");
            (verity, tree)
        };
        let one = with_threads(1);
        for threads in [2, 3, 4, 100] {
            assert!(with_threads(threads) == one, "{threads} threads");
        }
    }
}
