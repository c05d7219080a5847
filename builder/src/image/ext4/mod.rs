//! ext4, written once and never changed again.
//!
//! The image's root is read-only and covered by a hash tree, so most of ext4 is not needed: no
//! journal, no free space worth managing, no backups of the superblock. What is left is small:
//!
//! ```text
//!  block 0      superblock (at byte 1024)
//!  then         group descriptors, block bitmaps, inode bitmaps, inode tables of all groups
//!  then         directories, long symlink targets, extent blocks
//!  then         the contents of files, in path order, each in one piece
//!  then         free blocks, never written
//! ```
//!
//! With `flex_bg` the metadata of all groups may lie at the front, and with `sparse_super2` there
//! are no backup superblocks in between. So the used blocks are one run, and so are the used
//! inodes: every bitmap follows from two numbers.
//!
//! Writing has two passes. `plan` decides every number and position from the tree alone; `writer`
//! then streams. Equal trees give equal bytes: the only inputs are the tree and the [`Spec`].
//!
//! Why our own: the crates that can write ext4 either don't compile on stable Rust, write the clock
//! into the image, or produce what `e2fsck` rejects; and `mke2fs` would be a tool that the user has
//! to have in the right version. Directories are linear, without hash trees: the kernel scans them
//! block by block, which is at most a few dozen blocks for the largest directory of a root and then
//! cached.

mod checksum;
mod directory;
mod extents;
mod inode;
mod layout;
mod plan;
pub mod read;
mod superblock;
mod writer;

use std::io;

use disk::gpt::Guid;
use thiserror::Error;

use crate::root::tree::TreePath;

pub use writer::write;

/// The page size, and the only block size that every kernel mounts on every page size we meet.
pub const BLOCK_BYTES: u64 = 4096;

const BLOCK: usize = 4096;

/// What the filesystem is to be, beside the tree.
#[derive(Clone, Debug)]
pub struct Spec {
    pub uuid: Guid,
    /// Seeds directory hashes; unused by linear directories, but every tool shows it.
    pub hash_seed: Guid,
    /// At most 16 bytes.
    pub label: String,
    /// All times of all inodes, in seconds since 1970.
    pub time: u32,
    /// The size is the smallest multiple of this that holds the tree.
    pub round_to_bytes: u64,
    /// The filesystem must not be larger than this.
    pub max_bytes: u64,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The size of the filesystem.
    pub bytes: u64,
    /// How much of it is in use; the rest was left as it was.
    pub used_bytes: u64,
    pub inodes: u32,
}

/// Why a tree can't become a filesystem.
#[derive(Debug, Error)]
pub enum Ext4Error {
    #[error(
        "the tree needs {needed} bytes as ext4 but the slot has {max}: make the slot larger in the \
         image definition, or drop files"
    )]
    TooBig { needed: u64, max: u64 },
    #[error("label {0:?} is longer than 16 bytes: shorten it")]
    LabelTooLong(String),
    #[error("{path} has {size} bytes; files end at {max} here")]
    FileTooLarge { path: TreePath, size: u64, max: u64 },
    #[error(
        "the symlink {path} has a target that is empty, has a zero byte or is longer than 4095"
    )]
    BadTarget { path: TreePath },
    #[error("more than {0} entries: no ext4 has so many inodes")]
    TooManyEntries(u32),
    #[error("{0} must be a directory: every ext4 has it for `e2fsck`")]
    LostFound(TreePath),
    #[error("the content of {path} can't be read")]
    Content { path: TreePath, source: io::Error },
    #[error("the image can't be written at byte {offset}")]
    Image { offset: u64, source: io::Error },
}
