//! On-disk formats that both sides must agree about: the builder writes them, PID 1 reads them.
//!
//! - [`boot`]: what the kernel's command line tells stage 1;
//! - [`gpt`]: the partition table, with its backup, and growing the last partition;
//! - [`ext4`]: superblocks, read to judge what a partition holds;
//! - [`state`]: what a node has to do with its STATE partition;
//! - [`iso`]: NoCloud volumes, read;
//! - [`fat`]: the ESP and the SEED volume, written fresh and read back;
//! - [`verity`]: where a dm-verity hash tree lies and how the kernel is told about it.
//!
//! Nothing here opens a file, asks a device or reads a clock. Bytes come and go through
//! [`ReadAt`] and [`WriteAt`], so everything can be tested in memory, and everything that parses
//! takes hostile bytes without a panic, an endless loop or an unbounded allocation.

mod access;
pub mod boot;
mod crc32c;
pub mod ext4;
pub mod fat;
pub mod gpt;
pub mod iso;
mod little_endian;
pub mod state;
pub mod verity;

pub use access::{AccessFailed, ReadAt, Window, WriteAt};
