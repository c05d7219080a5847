//! The disk image: ext4, dm-verity, UKI, ESP and GPT, from a tree in memory.

pub mod cpio;
pub mod ext4;
pub mod uki;
pub mod verity;
