//! Writing according to a plan, and reading back what was written.
//!
//! ```text
//!  wipe head, tail ─> sync ─> pieces ─> sync ─> forget ─> compare ─> tail ─> sync ─> head ─> sync
//! ```
//!
//! The partition table is wiped first and written last, after everything else was read back and
//! found equal. So Ctrl-C, a pulled stick or a bad sector in between leave a disk without
//! partitions, which no firmware boots, rather than one that looks good and is not.
//!
//! Comparing asks the device, not the page cache: after the sync the kernel is told to forget the
//! cached pages (`POSIX_FADV_DONTNEED`), and it drops clean pages that nobody else uses. What a
//! device answers from a cache of its own can't be seen from here. Making the kernel read the new
//! partition table is left to the kernel: it does so when the device is plugged in again, or by
//! `blockdev --rereadpt`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Instant;

use disk::gpt::Guid;
use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{Advice, fadvise};
use thiserror::Error;

use super::plan::{Piece, PieceContent, Plan, PlanError};
use super::source::Source;
use super::target::{Target, TargetError};
use crate::image::sparse::{self, Run};
use crate::progress::{Bytes, Progress, readable_bytes};

/// Writes are as large as this and end at its multiples: several erase blocks of any flash.
const CHUNK_BYTES: u64 = 4 << 20;
/// So much may wait in memory: progress stays honest on a slow stick, and Ctrl-C quick.
const SYNC_BYTES: u64 = 64 << 20;

#[derive(Debug, Error)]
pub enum FlashError {
    #[error("reading the image: {0}; is the file still there and whole?")]
    Image(io::Error),
    #[error("{}: writing at byte {offset}: {source}{}", path.display(), mend(source))]
    Write { path: PathBuf, offset: u64, source: io::Error },
    #[error("{}: reading back at byte {offset}: {source}; the device is failing: take another",
        path.display())]
    ReadBack { path: PathBuf, offset: u64, source: io::Error },
    #[error("{}: {source}{}", path.display(), mend(source))]
    Sync { path: PathBuf, source: io::Error },
    #[error("{}: byte {offset} is not what was written: the device is failing, or pretends to be \
        larger than it is: take another", path.display())]
    Differs { path: PathBuf, offset: u64 },
    #[error("the system gives no random bytes for the disk's identity; nothing was written")]
    Random,
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Target(#[from] TargetError),
}

/// What was done.
#[derive(Clone, Copy, Debug)]
pub struct Flashed {
    /// Written and read back alike.
    pub bytes: u64,
    pub disk_bytes: u64,
    pub seconds: f64,
}

fn mend(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "; there is no room: choose another place",
        io::ErrorKind::PermissionDenied => "; is it write-protected?",
        _ => "; is the device still plugged in, and sound?",
    }
}

/// Writes an image to a target of `disk_bytes` (none: as large as the image) and checks it.
pub fn flash(
    source: &Source,
    target: Target,
    disk_bytes: Option<u64>,
    progress: &Progress,
) -> Result<Flashed, FlashError> {
    let begun = Instant::now();
    let image = &source.image;
    let runs = sparse::runs(&image.file).map_err(FlashError::Image)?;
    let disk_size = disk_bytes.unwrap_or(image.bytes);
    let plan = Plan::new(&image.table.table, &runs, disk_size, mark()?)?;
    if disk_bytes.is_none() {
        let sized = target.file().set_len(plan.disk_bytes);
        sized.map_err(|source| FlashError::Sync { path: target.path.clone(), source })?;
    }
    write_planned(&plan, &image.file, &target, progress)?;
    target.finish()?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Flashed { bytes: plan.bytes(), disk_bytes: plan.disk_bytes, seconds })
}

/// What tells this disk's boot partition from that of every other disk with this image.
fn mark() -> Result<Guid, FlashError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| FlashError::Random)?;
    Ok(Guid::from_bytes(bytes).as_version_4())
}

/// The part of [`flash`] that needs no more than two files and a plan.
pub fn write_planned(
    plan: &Plan,
    image: &File,
    target: &Target,
    progress: &Progress,
) -> Result<(), FlashError> {
    let mut disk = Disk { target, unsynced: 0 };
    if !target.fresh {
        disk.write(&vec![0; plan.head.len()], 0)?;
        disk.write(&vec![0; plan.tail.len()], plan.tail_offset)?;
        disk.sync()?;
    }
    let is_needed = |piece: &&Piece| !(target.fresh && piece.content == PieceContent::Zeros);
    let pieces: Vec<&Piece> = plan.pieces.iter().filter(is_needed).collect();
    let total = pieces.iter().map(|piece| piece.run.length).sum();

    let bar = progress.bytes("writing", Some(total));
    each_chunk(image, &pieces, &bar, |part, offset| disk.write(part, offset))?;
    disk.sync()?;
    drop(bar);
    progress.note(&format!("wrote {}", readable_bytes(total)));

    disk.forget()?;
    let bar = progress.bytes("reading back", Some(total));
    each_chunk(image, &pieces, &bar, |part, offset| disk.compare(part, offset))?;
    drop(bar);
    progress.note(&format!("read back {}", readable_bytes(total)));

    let ends = [(&plan.tail, plan.tail_offset), (&plan.head, 0)];
    for (bytes, offset) in ends {
        disk.write(bytes, offset)?;
        disk.sync()?;
    }
    disk.forget()?;
    ends.into_iter().try_for_each(|(bytes, offset)| disk.compare(bytes, offset))
}

/// Gives the bytes of all pieces in order, cut at multiples of [`CHUNK_BYTES`].
fn each_chunk(
    image: &File,
    pieces: &[&Piece],
    bar: &Bytes<'_>,
    mut each: impl FnMut(&[u8], u64) -> Result<(), FlashError>,
) -> Result<(), FlashError> {
    let mut buffer = vec![0; usize::try_from(CHUNK_BYTES).unwrap_or(0)];
    for piece in pieces {
        for Run { offset, length } in chunks(piece.run) {
            let part = &mut buffer[..usize::try_from(length).unwrap_or(0)];
            match piece.content {
                PieceContent::Zeros => part.fill(0),
                PieceContent::Stored => {
                    image.read_exact_at(part, offset).map_err(FlashError::Image)?;
                }
            }
            each(part, offset)?;
            bar.add(length);
        }
    }
    Ok(())
}

fn chunks(run: Run) -> impl Iterator<Item = Run> {
    let end = run.offset + run.length;
    let mut offset = run.offset;
    std::iter::from_fn(move || {
        let next = end.min((offset / CHUNK_BYTES + 1) * CHUNK_BYTES);
        let chunk = Run { offset, length: next - offset };
        offset = next;
        (chunk.length > 0).then_some(chunk)
    })
}

/// The target while it is written.
struct Disk<'t> {
    target: &'t Target,
    unsynced: u64,
}

impl Disk<'_> {
    fn write(&mut self, bytes: &[u8], offset: u64) -> Result<(), FlashError> {
        let path = || self.target.path.clone();
        self.target.file().write_all_at(bytes, offset).map_err(|source| FlashError::Write {
            path: path(),
            offset,
            source,
        })?;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_BYTES { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), FlashError> {
        self.unsynced = 0;
        let path = || self.target.path.clone();
        self.target.file().sync_all().map_err(|source| FlashError::Sync { path: path(), source })
    }

    fn forget(&self) -> Result<(), FlashError> {
        let path = || self.target.path.clone();
        fadvise(self.target.file(), 0, None, Advice::DontNeed)
            .map_err(|errno| FlashError::Sync { path: path(), source: errno.into() })
    }

    fn compare(&self, wanted: &[u8], offset: u64) -> Result<(), FlashError> {
        let path = || self.target.path.clone();
        let mut found = vec![0; wanted.len()];
        self.target
            .file()
            .read_exact_at(&mut found, offset)
            .map_err(|source| FlashError::ReadBack { path: path(), offset, source })?;
        if wanted == found {
            return Ok(());
        }
        let at = wanted.iter().zip(&found).take_while(|(one, other)| one == other).count();
        Err(FlashError::Differs { path: path(), offset: offset + at as u64 })
    }
}
