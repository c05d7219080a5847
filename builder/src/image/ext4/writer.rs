//! The second pass: everything goes to the image from front to back.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use super::layout::{INODE_BYTES, Layout};
use super::plan::{Body, INLINE_TARGET_BYTES, Plan, Planned, plan};
use super::{BLOCK, BLOCK_BYTES, Ext4Error, Spec, Written, directory, inode, superblock};
use crate::root::tree::{Tree, TreePath};

/// Large enough that system calls cost nothing; a multiple of the block size.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Runs of zeros at least this long are skipped, so that they become holes.
const HOLE_BYTES: usize = 64 * 1024;

/// Writes `tree` as a filesystem into `image` from byte `offset` on.
///
/// That range must read as zeros before, as a fresh sparse file does: what is zero is not written.
pub fn write(image: &File, offset: u64, tree: &Tree, spec: &Spec) -> Result<Written, Ext4Error> {
    if spec.label.len() > superblock::LABEL_BYTES {
        return Err(Ext4Error::LabelTooLong(spec.label.clone()));
    }
    let plan = plan(tree)?;
    let layout = Layout::new(plan.used_inodes, plan.data_blocks, spec)?;
    let bytes = layout.blocks * BLOCK_BYTES;
    let failed = |source| Ext4Error::Image { offset, source };
    if image.metadata().map_err(failed)?.len() < offset + bytes {
        image.set_len(offset + bytes).map_err(failed)?;
    }
    let mut out = Front::new(image, offset);
    write_metadata(&mut out, &plan, &layout, spec).map_err(|source| out.error(source))?;
    for planned in &plan.inodes {
        if let Body::File { path, content } = planned.body {
            write_content(&mut out, path, |out| content.copy_to(out))?;
        }
    }
    out.finish().map_err(|source| out.error(source))?;
    let used_bytes = layout.used_blocks * BLOCK_BYTES;
    Ok(Written { bytes, used_bytes, inodes: plan.used_inodes })
}

/// Everything before the contents of files.
fn write_metadata(
    out: &mut Front<'_>,
    plan: &Plan<'_>,
    layout: &Layout,
    spec: &Spec,
) -> io::Result<()> {
    let seed = superblock::checksum_seed(spec);
    let mut directories = vec![0; layout.groups as usize];
    for planned in plan.inodes.iter().filter(|planned| planned.is_directory()) {
        directories[((planned.number - 1) / layout.inodes_per_group) as usize] += 1;
    }
    out.write_all(&superblock::encode(layout, spec))?;
    out.write_all(&superblock::encode_groups(layout, &directories, seed))?;

    let inodes = layout.inodes_per_group as usize * layout.groups as usize;
    let mut tables = vec![0; inodes * INODE_BYTES];
    let mut blocks = Vec::new();
    for planned in &plan.inodes {
        let (bytes, leaves) = inode::encode(planned, layout.data_start, seed, spec.time);
        let at = (planned.number - 1) as usize * INODE_BYTES;
        tables[at..at + INODE_BYTES].copy_from_slice(&bytes);
        blocks.extend(own_blocks(planned, seed));
        blocks.extend(leaves);
    }
    out.write_all(&tables)?;
    out.write_all(&blocks)
}

/// The blocks of an inode that is not a file.
fn own_blocks(planned: &Planned<'_>, seed: u32) -> Vec<u8> {
    match &planned.body {
        Body::Directory { parent, entries } => {
            let inode_seed = inode::seed(seed, planned.number);
            directory::encode(planned.number, *parent, entries, inode_seed)
        }
        Body::Symlink(target) if target.len() > INLINE_TARGET_BYTES => {
            let mut block = target.as_bytes().to_vec();
            block.resize(BLOCK, 0);
            block
        }
        Body::Symlink(_) | Body::File { .. } => Vec::new(),
    }
}

/// Tells a content that can't be read from an image that can't be written.
fn write_content(
    out: &mut Front<'_>,
    path: &TreePath,
    copy: impl FnOnce(&mut Front<'_>) -> io::Result<()>,
) -> Result<(), Ext4Error> {
    let copied = copy(out).and_then(|()| out.pad_to_block());
    copied.map_err(|source| {
        if out.has_failed {
            out.error(source)
        } else {
            Ext4Error::Content { path: path.clone(), source }
        }
    })
}

/// Writes from front to back, in large pieces, leaving out what is zero.
struct Front<'a> {
    image: &'a File,
    /// Where the buffer's first byte belongs.
    position: u64,
    buffer: Vec<u8>,
    has_failed: bool,
}

impl<'a> Front<'a> {
    fn new(image: &'a File, position: u64) -> Self {
        Self { image, position, buffer: Vec::with_capacity(BUFFER_BYTES), has_failed: false }
    }

    fn error(&self, source: io::Error) -> Ext4Error {
        Ext4Error::Image { offset: self.position, source }
    }

    /// Positions relative to the filesystem are block-aligned, and so is every flush.
    fn pad_to_block(&mut self) -> io::Result<()> {
        let padding = self.buffer.len().next_multiple_of(BLOCK) - self.buffer.len();
        self.write_all(&[0; BLOCK][..padding])
    }

    fn finish(&mut self) -> io::Result<()> {
        static ZEROS: [u8; HOLE_BYTES] = [0; HOLE_BYTES];
        for piece in self.buffer.chunks(HOLE_BYTES) {
            if piece != &ZEROS[..piece.len()] {
                let written = self.image.write_all_at(piece, self.position);
                self.has_failed |= written.is_err();
                written?;
            }
            self.position += piece.len() as u64;
        }
        self.buffer.clear();
        Ok(())
    }
}

impl Write for Front<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == BUFFER_BYTES {
            self.finish()?;
        }
        let step = bytes.len().min(BUFFER_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..step]);
        Ok(step)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.finish()
    }
}
