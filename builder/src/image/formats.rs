//! The files that an image can be: raw, qcow2 for virtual machines, or raw compressed for the way.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use clap::ValueEnum;
use serde::Serialize;

use super::qcow2;
use super::sparse::{Run, runs};

/// The level is part of the format, since equal images shall be equal files. Beyond it the time
/// grows faster than the gain.
const ZSTD_LEVEL: i32 = 9;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The compressor sees the disk in pieces of this size at fixed places, wherever its holes are.
const CHUNK_BYTES: u64 = 1 << 20;

/// How a file holds a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
pub enum Format {
    /// The disk's own bytes, sparse
    #[default]
    #[value(name = "raw")]
    #[serde(rename = "raw")]
    Raw,
    /// For QEMU, libvirt, Proxmox
    #[value(name = "qcow2")]
    #[serde(rename = "qcow2")]
    Qcow2,
    /// Raw, compressed with zstd; `builder flash` takes it
    #[value(name = "raw.zst")]
    #[serde(rename = "raw.zst")]
    RawZst,
}

impl Format {
    /// What the names of such files end with.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::RawZst => "raw.zst",
        }
    }

    /// What makes a raw image of such a file.
    pub fn unpacking(self) -> &'static str {
        match self {
            Self::Raw => "it is one",
            Self::Qcow2 => "convert it with `qemu-img convert -O raw`",
            Self::RawZst => "unpack it with `zstd -d`",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension())
    }
}

/// What a file is, by its first bytes; anything unknown is taken for raw.
pub fn detect(file: &File) -> io::Result<Format> {
    let mut start = [0; 4];
    match file.read_exact_at(&mut start, 0) {
        Ok(()) if qcow2::is_qcow2(&start) => Ok(Format::Qcow2),
        Ok(()) if start == ZSTD_MAGIC => Ok(Format::RawZst),
        Ok(()) => Ok(Format::Raw),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Format::Raw),
        Err(error) => Err(error),
    }
}

/// Writes the raw disk in `from` to `to`, which must be new and empty.
pub fn write(from: &File, to: &File, format: Format) -> io::Result<()> {
    match format {
        Format::Raw => super::sparse::copy(from, to),
        Format::Qcow2 => qcow2::write(from, to),
        Format::RawZst => compress(from, to),
    }
}

fn compress(from: &File, to: &File) -> io::Result<()> {
    let size = from.metadata()?.len();
    let runs = runs(from)?;
    let mut encoder = zstd::Encoder::new(to, ZSTD_LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(size))?;
    let mut chunk = vec![0; usize::try_from(CHUNK_BYTES).map_err(io::Error::other)?];
    let mut offset = 0;
    while offset < size {
        let length = CHUNK_BYTES.min(size - offset);
        let part = &mut chunk[..usize::try_from(length).map_err(io::Error::other)?];
        if is_stored(&runs, offset, length) {
            from.read_exact_at(part, offset)?;
        } else {
            part.fill(0);
        }
        encoder.write_all(part)?;
        offset += length;
    }
    encoder.finish()?;
    Ok(())
}

/// Whether any run reaches into this part of the disk.
fn is_stored(runs: &[Run], offset: u64, length: u64) -> bool {
    // The runs are in order, so the first that ends behind the start decides.
    let first = runs.partition_point(|run| run.offset + run.length <= offset);
    runs.get(first).is_some_and(|run| run.offset < offset + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_stored_if_any_run_reaches_into_it() {
        let runs = [Run { offset: 10, length: 5 }, Run { offset: 30, length: 1 }];
        let found: Vec<bool> =
            [0, 9, 14, 15, 25, 31].into_iter().map(|at| is_stored(&runs, at, 6)).collect();
        assert_eq!(found, [false, true, true, false, true, false]);
    }

    #[test]
    fn files_are_known_by_their_first_bytes() {
        for (bytes, format) in [
            (&b"QFI\xfb\0\0\0\x03"[..], Format::Qcow2),
            (&ZSTD_MAGIC[..], Format::RawZst),
            (&[0; 512][..], Format::Raw),
            (&b""[..], Format::Raw),
        ] {
            let file = tempfile::tempfile().expect("a file");
            file.write_all_at(bytes, 0).expect("written");
            assert_eq!(detect(&file).expect("read"), format);
        }
    }
}
