//! The state partition of a node that is off, looked at from outside.

use std::cell::RefCell;

use builder::image::layout::Part;
use disk::gpt::{self, GptError};
use disk::{AccessFailed, ReadAt};
use thiserror::Error;
use vdisk::server::Server;
use vdisk::store::{SECTOR, Store};

/// Where ext4 keeps its superblock, and in it whether all was written when it was unmounted.
const SUPERBLOCK_AT: u64 = 1024;
const MAGIC_AT: usize = 0x38;
const MAGIC: u16 = 0xef53;
const STATE_AT: usize = 0x3a;
const STATE_CLEAN: u16 = 1;
const INCOMPATIBLE_AT: usize = 0x60;
const NEEDS_RECOVERY: u8 = 4;

#[derive(Debug, Error)]
pub enum StateError {
    #[error("the disk's table: {0}")]
    Table(#[from] GptError),
    #[error("the disk has no state partition")]
    None,
    #[error("the state partition: {0}")]
    Read(#[from] AccessFailed),
}

/// A disk as pure code reads it.
struct View<'s>(RefCell<&'s mut Store>);

impl ReadAt for View<'_> {
    fn size(&self) -> u64 {
        self.0.borrow().bytes()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), AccessFailed> {
        let length = buffer.len() as u64;
        let fail = |reason: String| AccessFailed { offset, length, reason };
        let first = offset / SECTOR * SECTOR;
        let skip = usize::try_from(offset - first).map_err(|error| fail(error.to_string()))?;
        let whole = (length + (offset - first)).next_multiple_of(SECTOR);
        let mut sectors = vec![0; usize::try_from(whole).map_err(|e| fail(e.to_string()))?];
        let read = self.0.borrow_mut().read(first, &mut sectors);
        read.map_err(|fault| fail(format!("{fault:?}")))?;
        buffer.copy_from_slice(&sectors[skip..skip + buffer.len()]);
        Ok(())
    }
}

/// Whether the filesystem of STATE was unmounted in good order: nothing is left in its journal.
pub fn is_clean(disk: &Server) -> Result<bool, StateError> {
    disk.with_store(|store| {
        let view = View(RefCell::new(store));
        let found = gpt::read(&view)?;
        let state = found.table.find_name(Part::State.name()).ok_or(StateError::None)?;
        let mut superblock = [0; 1024];
        view.read_exact_at(state.offset_bytes() + SUPERBLOCK_AT, &mut superblock)?;
        let word = |at: usize| u16::from_le_bytes([superblock[at], superblock[at + 1]]);
        let recovery = superblock[INCOMPATIBLE_AT] & NEEDS_RECOVERY != 0;
        Ok(word(MAGIC_AT) == MAGIC && word(STATE_AT) == STATE_CLEAN && !recovery)
    })
}
