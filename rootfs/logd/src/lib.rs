//! logd: copies what services say from PID 1's memory to bounded files on the state partition.
//!
//! ```text
//!   PID 1 ──control socket──> Feed ──> Entry ──> Writer ──> /state/logs/NAME.log, NAME.log.1 …
//!                                                  │ asks
//!                                               Rotation (crate `logs`): write, rotate, delete, drop
//! ```
//!
//! It is a program of its own because a disk can hang: then logd hangs, PID 1's rings keep the last
//! lines, and nobody else notices.
//!
//! # A file's line
//!
//! ```text
//! 2026-11-20T11:29:37.042Z 6f1d02ab:1234 123.042 the text
//! └ the node's clock       │        │    └ seconds since that boot
//!                          │        └ the line's number in that boot
//!                          └ start of the kernel's boot id
//! ```
//!
//! The numbers say where to go on after logd was restarted; nothing else is stored for that.
//!
//! # When lines reach the disk
//!
//! All that was written is synced [`SYNC_EVERY`] after the first unsynced line; a line that
//! warns is synced at once, but no more often than [`SYNC_AT_MOST_EVERY`]; and everything is synced
//! at the end, what was said up to then included: PID 1 stops logd last. A power cut loses at most
//! that much, and a line that it tore is closed at the next start. Syncing each line would wear out
//! the flash for lines that nobody misses.
//!
//! # What can never happen
//!
//! 1. It ends because of a disk that is full, read-only, broken or absent: it deletes its own old
//!    files, then drops lines and counts them, and tries again later.
//! 2. Its files take more than [`LIMITS`] say.
//! 3. A file has half a line in the middle: a write that failed halfway is cut back.
//! 4. A name from elsewhere leads out of the folder.

mod disk;
mod entry;
mod feed;
mod sync;
mod writer;

use std::time::Duration;

use logs::LogLimits;

pub use disk::{Disk, FolderDisk};
pub use entry::{BOOT_ID_CHARS, Entry, NODE_SOURCE};
pub use feed::{Feed, FeedError, Reconnect};
pub use sync::SyncPlan;
pub use writer::{Outcome, Writer};

/// Where the files are.
pub const FOLDER: &str = "/state/logs";

/// How much of the state partition logs may take: some days of a busy node, and little of the
/// smallest disk that the image fits on.
pub const LIMITS: LogLimits =
    LogLimits { file_bytes: 4 * 1024 * 1024, files: 4, total_bytes: 128 * 1024 * 1024 };

/// How long a line may wait for the disk.
pub const SYNC_EVERY: Duration = Duration::from_secs(5);

/// How often warnings may sync: a service that warns without end must not cost a sync per line.
pub const SYNC_AT_MOST_EVERY: Duration = Duration::from_secs(1);
