//! A part of an image file, for the formats that read and write through `disk`'s traits.

use std::fs::File;
use std::os::unix::fs::FileExt;

use disk::{AccessFailed, ReadAt, WriteAt};

/// The bytes of `file` from `offset` on, `length` of them.
#[derive(Clone, Copy, Debug)]
pub struct Region<'a> {
    file: &'a File,
    offset: u64,
    length: u64,
}

impl<'a> Region<'a> {
    pub fn new(file: &'a File, offset: u64, length: u64) -> Self {
        Self { file, offset, length }
    }

    /// Where `length` bytes at `offset` lie in the file, if they lie within the region.
    fn place(&self, offset: u64, length: usize) -> Result<u64, AccessFailed> {
        let end = offset.checked_add(length as u64);
        if end.is_none_or(|end| end > self.length) {
            let reason = format!("the partition has {} bytes", self.length);
            return Err(AccessFailed::new(offset, length, reason));
        }
        Ok(self.offset + offset)
    }
}

impl ReadAt for Region<'_> {
    fn size(&self) -> u64 {
        self.length
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), AccessFailed> {
        let place = self.place(offset, buffer.len())?;
        let length = buffer.len();
        let failed = |error| AccessFailed::new(offset, length, error);
        self.file.read_exact_at(buffer, place).map_err(failed)
    }
}

impl WriteAt for Region<'_> {
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), AccessFailed> {
        let place = self.place(offset, bytes.len())?;
        let failed = |error| AccessFailed::new(offset, bytes.len(), error);
        self.file.write_all_at(bytes, place).map_err(failed)
    }
}
