//! Changing a table that is on a disk, so that power may fail at any instant.
//!
//! A change goes to the disk in stages, and the disk is synced after each of them. A stage touches
//! one copy only, while the other one is whole and on stable storage:
//!
//! ```text
//!              primary   backup
//!   found      bad       old       ─ stage "restore": the primary, as the backup has it
//!   found      old       any       ─ stage "backup":  the new table, at the disk's end
//!              old       new       ─ stage "primary": the new table, at the disk's start
//!              new       new
//! ```
//! Within a stage the disk may write its sectors in any order, tear one of them, or lose some: the
//! copy that is being written is then bad or still the old one, and a reader takes the other. Which
//! table holds changes at one point only, where the primary header becomes good.
//!
//! Pieces that the disk has already are left out: a table that is as it should be costs no write.
//! [`super::read`] finds a backup without its primary at the disk's end alone, which is where every
//! stage puts it. An old backup that the change leaves behind inside of a partition is never looked
//! for again.

use super::encode::Piece;
use super::{Found, GptError, Health, SECTOR_BYTES, Table};
use crate::access::ReadAt;

/// The first sectors of a disk, where the primary copy lies, end before any backup begins.
fn is_primary(piece: &Piece, table: &Table) -> bool {
    piece.offset < table.first_usable_lba * SECTOR_BYTES
}

/// What to write so that a disk, on which `found` was read, has the table `wanted`: stages, after
/// each of which the disk must be synced. None if everything is in its place.
pub fn rewrite(
    disk: &(impl ReadAt + ?Sized),
    found: &Found,
    wanted: &Table,
) -> Result<Vec<Vec<Piece>>, GptError> {
    let mut stages = Vec::new();
    let mut restored = Vec::new();
    if found.primary != Health::Good {
        let pieces = found.table.encode()?;
        restored = changed(disk, pieces.into_iter().filter(|piece| is_primary(piece, wanted)))?;
        stages.push(restored.clone());
    }
    let (primary, backup): (Vec<Piece>, Vec<Piece>) =
        wanted.encode()?.into_iter().partition(|piece| is_primary(piece, wanted));
    stages.push(changed(disk, backup.into_iter())?);
    // What the first stage wrote is on the disk by then, whatever the disk has now.
    let mut primary_stage = Vec::new();
    for piece in primary {
        let earlier = restored.iter().find(|earlier| earlier.offset == piece.offset);
        let is_there = match earlier {
            Some(earlier) => earlier.bytes == piece.bytes,
            None => is_on(disk, &piece)?,
        };
        if !is_there {
            primary_stage.push(piece);
        }
    }
    stages.push(primary_stage);
    stages.retain(|stage| !stage.is_empty());
    Ok(stages)
}

fn changed(
    disk: &(impl ReadAt + ?Sized),
    pieces: impl Iterator<Item = Piece>,
) -> Result<Vec<Piece>, GptError> {
    let mut changed = Vec::new();
    for piece in pieces {
        if !is_on(disk, &piece)? {
            changed.push(piece);
        }
    }
    Ok(changed)
}

fn is_on(disk: &(impl ReadAt + ?Sized), piece: &Piece) -> Result<bool, GptError> {
    let mut now = vec![0; piece.bytes.len()];
    disk.read_exact_at(piece.offset, &mut now)?;
    Ok(now == piece.bytes)
}
