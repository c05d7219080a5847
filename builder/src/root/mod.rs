//! The root tree: overlays and packages composed into one file tree in memory.

pub mod content;
pub mod tree;
