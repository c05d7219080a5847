//! The disk image: ext4, dm-verity, UKI, ESP and GPT, from a tree in memory.

pub mod assemble;
pub mod cpio;
pub mod ext4;
pub mod formats;
pub mod identity;
pub mod layout;
pub mod open;
pub mod packed;
pub mod qcow2;
pub mod region;
pub mod sparse;
pub mod uki;
pub mod verity;
