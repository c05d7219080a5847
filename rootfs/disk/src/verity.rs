//! Where a dm-verity hash tree lies, and how the kernel is told about it.
//!
//! The hash tree follows the filesystem in the same partition:
//!
//! ```text
//!  block 0 … data_blocks-1 │ data_blocks │ data_blocks+1 …
//!  the filesystem          │ superblock  │ top of the tree, then one level after the other
//! ```
//!
//! The superblock (version 1, as `veritysetup` writes it) says how much data there is and with
//! which salt it was hashed. It is *not* trusted: only the root hash of the signed command line is,
//! and a forged superblock can only make that hash wrong.
//!
//! The hashing itself is the builder's, and the kernel's; here is only what both must agree about.

#![expect(clippy::cast_possible_truncation, reason = "constants and hexadecimal digits fit")]

use std::fmt::Write;

use thiserror::Error;

use crate::little_endian::{bytes_at, put, u16_at, u32_at, u64_at};

/// Data and hash blocks alike; the page size, which is what the kernel checks at once.
pub const BLOCK_BYTES: u64 = 4096;

/// SHA-256.
pub const DIGEST_BYTES: usize = 32;

/// How many digests one hash block holds.
pub const DIGESTS_PER_BLOCK: u64 = BLOCK_BYTES / DIGEST_BYTES as u64;

/// What the superblock has room for.
pub const MAX_SALT_BYTES: usize = 256;

/// 16 TiB of data: far above any image, and low enough that no product here can overflow.
pub const MAX_DATA_BLOCKS: u64 = 1 << 32;

const BLOCK: usize = 4096;
const SUPERBLOCK_BYTES: usize = 512;
const SIGNATURE: &[u8; 8] = b"verity\0\0";
const ALGORITHM: &[u8; 7] = b"sha256\0";
const SECTORS_PER_BLOCK: u64 = BLOCK_BYTES / 512;

/// The trusted hash over everything.
pub type RootHash = [u8; DIGEST_BYTES];

/// Why a superblock or a hash can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VerityError {
    #[error("no dm-verity superblock: the root was not built with a hash tree")]
    NoSuperblock,
    #[error("dm-verity superblock with {what} {value}: only what the builder writes is taken")]
    Unsupported { what: &'static str, value: u64 },
    #[error("{0} data blocks are not between 1 and 2^32")]
    DataBlocks(u64),
    #[error("a salt of {0} bytes is longer than 256")]
    SaltTooLong(usize),
    #[error("{0:?} is not a root hash: it must be 64 hexadecimal digits")]
    NotARootHash(String),
}

/// What stands before the hash tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// In written order.
    pub uuid: [u8; 16],
    pub data_blocks: u64,
    pub salt: Vec<u8>,
}

/// One level of the tree: consecutive hash blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Counted from the first block after the superblock.
    pub first_block: u64,
    pub blocks: u64,
}

/// The shape of a hash tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The top, which is one block, comes first: so they lie on the disk. Empty if there is only
    /// one data block, whose digest then is the root hash.
    pub levels: Vec<Level>,
    /// All levels together, without the superblock.
    pub blocks: u64,
}

/// What the kernel's verity target needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Path or `major:minor` of the partition.
    pub device: &'a str,
    pub data_blocks: u64,
    /// The first block of the tree, after the superblock; see [`Superblock::hash_start_block`].
    pub hash_start_block: u64,
    pub root_hash: &'a RootHash,
    pub salt: &'a [u8],
    /// Optional arguments such as `panic_on_corruption`.
    pub options: &'a [&'a str],
}

impl Superblock {
    /// The block that the superblock occupies, padded with zeros.
    pub fn encode(&self) -> Result<Vec<u8>, VerityError> {
        check_data_blocks(self.data_blocks)?;
        let salt_bytes = u16::try_from(self.salt.len()).unwrap_or(u16::MAX);
        if self.salt.len() > MAX_SALT_BYTES {
            return Err(VerityError::SaltTooLong(self.salt.len()));
        }
        let block_bytes = (BLOCK as u32).to_le_bytes();
        let mut block = vec![0; BLOCK];
        put(&mut block, 0, SIGNATURE);
        put(&mut block, 8, &1_u32.to_le_bytes());
        put(&mut block, 12, &1_u32.to_le_bytes());
        put(&mut block, 16, &self.uuid);
        put(&mut block, 32, ALGORITHM);
        put(&mut block, 64, &block_bytes);
        put(&mut block, 68, &block_bytes);
        put(&mut block, 72, &self.data_blocks.to_le_bytes());
        put(&mut block, 80, &salt_bytes.to_le_bytes());
        put(&mut block, 88, &self.salt);
        Ok(block)
    }

    /// Reads a superblock from the start of `block`.
    pub fn parse(block: &[u8]) -> Result<Self, VerityError> {
        if block.len() < SUPERBLOCK_BYTES || block[..8] != *SIGNATURE {
            return Err(VerityError::NoSuperblock);
        }
        let expect = |what, position, wanted: u64| {
            let value = u64::from(u32_at(block, position));
            if value == wanted { Ok(()) } else { Err(VerityError::Unsupported { what, value }) }
        };
        expect("version", 8, 1)?;
        expect("hash type", 12, 1)?;
        expect("data block size", 64, BLOCK_BYTES)?;
        expect("hash block size", 68, BLOCK_BYTES)?;
        if block[32..32 + ALGORITHM.len()] != *ALGORITHM {
            let value = u64_at(block, 32);
            return Err(VerityError::Unsupported { what: "algorithm", value });
        }
        let data_blocks = u64_at(block, 72);
        check_data_blocks(data_blocks)?;
        let salt_bytes = usize::from(u16_at(block, 80));
        if salt_bytes > MAX_SALT_BYTES {
            return Err(VerityError::SaltTooLong(salt_bytes));
        }
        let salt = block[88..88 + salt_bytes].to_vec();
        Ok(Self { uuid: bytes_at(block, 16), data_blocks, salt })
    }

    /// The first block of the tree, if the superblock directly follows the data.
    pub fn hash_start_block(&self) -> u64 {
        self.data_blocks + 1
    }
}

fn check_data_blocks(data_blocks: u64) -> Result<(), VerityError> {
    if data_blocks == 0 || data_blocks > MAX_DATA_BLOCKS {
        return Err(VerityError::DataBlocks(data_blocks));
    }
    Ok(())
}

impl Shape {
    /// The tree over so many data blocks.
    pub fn new(data_blocks: u64) -> Result<Self, VerityError> {
        check_data_blocks(data_blocks)?;
        let mut sizes = Vec::new();
        let mut below = data_blocks;
        while below > 1 {
            below = below.div_ceil(DIGESTS_PER_BLOCK);
            sizes.push(below);
        }
        let mut first_block = 0;
        let mut levels = Vec::with_capacity(sizes.len());
        for blocks in sizes.into_iter().rev() {
            levels.push(Level { first_block, blocks });
            first_block += blocks;
        }
        Ok(Self { levels, blocks: first_block })
    }
}

impl Target<'_> {
    /// The parameters of the device-mapper table.
    pub fn parameters(&self) -> String {
        let Self { device, data_blocks, hash_start_block, .. } = self;
        let root = to_hex(self.root_hash);
        let salt = if self.salt.is_empty() { "-".to_owned() } else { to_hex(self.salt) };
        let mut line = format!(
            "1 {device} {device} {BLOCK_BYTES} {BLOCK_BYTES} {data_blocks} {hash_start_block} \
             sha256 {root} {salt}"
        );
        if !self.options.is_empty() {
            let (count, options) = (self.options.len(), self.options.join(" "));
            write!(line, " {count} {options}").expect("writing to a string does not fail");
        }
        line
    }

    /// How long the mapped device is, in 512-byte sectors.
    pub fn sectors(&self) -> u64 {
        self.data_blocks * SECTORS_PER_BLOCK
    }
}

/// Lower-case hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

/// The root hash as the command line spells it.
pub fn parse_root_hash(text: &str) -> Result<RootHash, VerityError> {
    let not_a_hash = || VerityError::NotARootHash(text.chars().take(80).collect());
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).map(|value| value as u8)).collect();
    let digits = digits.filter(|all| all.len() == 2 * DIGEST_BYTES).ok_or_else(not_a_hash)?;
    let mut hash = [0; DIGEST_BYTES];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_shape_is_top_down_and_ends_in_one_block() {
        let shape = |data| Shape::new(data).expect("a shape");
        assert_eq!(shape(1).levels, []);
        assert_eq!(shape(2).levels, [Level { first_block: 0, blocks: 1 }]);
        assert_eq!(shape(128).blocks, 1);
        let two = shape(129);
        let top = Level { first_block: 0, blocks: 1 };
        assert_eq!(two.levels, [top, Level { first_block: 1, blocks: 2 }]);
        assert_eq!(shape(40_960).blocks, 320 + 3 + 1);
        assert!(Shape::new(0).is_err());
        assert!(Shape::new(u64::MAX).is_err());
    }

    #[test]
    fn the_table_line_is_the_kernels() {
        let target = Target {
            device: "/dev/vda2",
            data_blocks: 10,
            hash_start_block: 11,
            root_hash: &[0xab; 32],
            salt: &[1, 2],
            options: &["panic_on_corruption"],
        };
        let root = "ab".repeat(32);
        let wanted = format!(
            "1 /dev/vda2 /dev/vda2 4096 4096 10 11 sha256 {root} 0102 1 panic_on_corruption"
        );
        assert_eq!(target.parameters(), wanted);
        assert_eq!(target.sectors(), 80);
        assert_eq!(parse_root_hash(&root), Ok([0xab; 32]));
        assert!(parse_root_hash(&root[1..]).is_err());
        assert!(parse_root_hash(&"xy".repeat(32)).is_err());
    }

    proptest! {
        #[test]
        fn superblocks_round_trip(
            uuid: [u8; 16],
            data_blocks in 1..=MAX_DATA_BLOCKS,
            salt in prop::collection::vec(any::<u8>(), 0..=MAX_SALT_BYTES),
        ) {
            let superblock = Superblock { uuid, data_blocks, salt };
            let block = superblock.encode().expect("encoded");
            prop_assert_eq!(Superblock::parse(&block), Ok(superblock));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..600),
            real: bool,
            at: prop::sample::Index,
        ) {
            let good = Superblock { uuid: [7; 16], data_blocks: 9, salt: vec![3; 32] };
            if real {
                let mutated = bytes.first().copied().unwrap_or(0);
                bytes = good.encode().expect("encoded");
                *at.get_mut(&mut bytes) ^= mutated;
            }
            if let Ok(parsed) = Superblock::parse(&bytes) {
                prop_assert!(Shape::new(parsed.data_blocks).is_ok());
            }
        }
    }
}
