//! An image file in whichever form it was built, opened as the disk that it holds.
//!
//! A compressed image is unpacked into a file without a name before anything else happens. That
//! costs some hundred megabytes of temporary space and a second, and means that a damaged archive
//! is found (zstd carries a checksum) before anybody relies on it.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::formats::{self, Format};
use super::open::{OpenError, OpenImage};
use crate::progress::{Progress, readable_bytes};

/// No image of ours is near this; what unpacks to more is a bomb or a mistake.
const UNPACKED_MAX_BYTES: u64 = 64 << 30;
const CHUNK_BYTES: usize = 1 << 20;

#[derive(Debug, Error)]
pub enum PackedError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is a qcow2 image, for virtual machines: build with --format raw, or convert it \
        with `qemu-img convert -O raw`", path.display())]
    Qcow2 { path: PathBuf },
    #[error("can't unpack {}: {source}; is the file whole?", path.display())]
    Unpack { path: PathBuf, source: io::Error },
    #[error("no room to unpack {} in {}: {source}; set TMPDIR to a folder with room",
        path.display(), folder.display())]
    Room { path: PathBuf, folder: PathBuf, source: io::Error },
    #[error("{} unpacks to more than {UNPACKED_MAX_BYTES} bytes: that is no image", path.display())]
    Bomb { path: PathBuf },
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Opens an image file, or a device that one was written to, and says how the file holds the disk.
pub fn open(path: &Path, progress: &Progress) -> Result<(OpenImage, Format), PackedError> {
    let fail = |source| PackedError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(fail)?;
    let format = formats::detect(&file).map_err(fail)?;
    let file = match format {
        Format::Raw => file,
        Format::Qcow2 => return Err(PackedError::Qcow2 { path: path.to_owned() }),
        Format::RawZst => unpack(path, file, progress)?,
    };
    Ok((OpenImage::of(path, file)?, format))
}

/// Unpacks into a file that vanishes with the process; zeros become holes again.
fn unpack(path: &Path, file: File, progress: &Progress) -> Result<File, PackedError> {
    let damaged = |source| PackedError::Unpack { path: path.to_owned(), source };
    let no_room =
        |source| PackedError::Room { path: path.to_owned(), folder: env::temp_dir(), source };
    let step = progress.step("unpacking the image");
    let mut decoder = zstd::Decoder::new(file).map_err(damaged)?;
    let unpacked = tempfile::tempfile().map_err(no_room)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut position = 0;
    loop {
        let length = decoder.read(&mut chunk).map_err(damaged)?;
        if length == 0 {
            break;
        }
        let part = &chunk[..length];
        if part.iter().any(|byte| *byte != 0) {
            unpacked.write_all_at(part, position).map_err(no_room)?;
        }
        position += length as u64;
        if position > UNPACKED_MAX_BYTES {
            return Err(PackedError::Bomb { path: path.to_owned() });
        }
    }
    unpacked.set_len(position).map_err(no_room)?;
    step.finish(&readable_bytes(position));
    Ok(unpacked)
}
