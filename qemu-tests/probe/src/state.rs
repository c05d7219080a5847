//! The node's state partition, filled and freed.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use thiserror::Error;

use crate::place;

/// Where PID 1's root shows the partition.
const FILLER: &str = "proc/1/root/state/filler-of-the-rig";
const PIECE_BYTES: usize = 64 << 10;

#[derive(Debug, Error)]
#[error("{}: {source}", path.display())]
pub struct StateError {
    path: PathBuf,
    source: io::Error,
}

/// Writes until there is no room; says how many bytes it took.
pub fn fill() -> Result<u64, StateError> {
    let path = place::path(FILLER);
    let fail = |source| StateError { path: path.clone(), source };
    let mut file = OpenOptions::new().append(true).create(true).open(&path).map_err(fail)?;
    let mut piece = vec![0x5a_u8; PIECE_BYTES];
    let mut written = 0;
    // Smaller and smaller pieces, until not even one byte fits.
    while !piece.is_empty() {
        match file.write(&piece) {
            Ok(count) => written += count as u64,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                piece.truncate(piece.len() / 2);
            }
            Err(error) => return Err(fail(error)),
        }
    }
    // Blocks are given out when they are written back, and what doesn't fit is said then.
    match file.sync_all() {
        Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(fail(error)),
        _ => Ok(written),
    }
}

/// Gives the room back.
pub fn free() -> Result<(), StateError> {
    let path = place::path(FILLER);
    fs::remove_file(&path).map_err(|source| StateError { path, source })
}
