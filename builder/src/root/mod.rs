//! The root tree: overlays and packages composed into one file tree in memory.

pub mod accounts;
pub mod closure;
pub mod compose;
pub mod content;
pub mod definition;
pub mod elf;
pub mod modinfo;
pub mod modules;
pub mod origins;
pub mod overlay;
pub mod pick;
pub mod size;
pub mod tree;
