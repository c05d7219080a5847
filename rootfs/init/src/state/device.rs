//! A disk or partition that can be read, written and synced.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use disk::{AccessFailed, ReadAt, WriteAt};

use super::StateFault;

#[derive(Debug)]
pub(super) struct Device {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Device {
    pub(super) fn open(path: &Path) -> Result<Self, StateFault> {
        let open = || -> io::Result<(File, u64)> {
            let mut file = OpenOptions::new().read(true).write(true).open(path)?;
            let size = file.seek(SeekFrom::End(0))?;
            Ok((file, size))
        };
        let (file, size) =
            open().map_err(|source| StateFault::Device { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, size })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Everything written is on stable storage, behind the cache of the disk.
    pub(super) fn sync(&self) -> Result<(), StateFault> {
        let fail = |source| StateFault::Device { path: self.path.clone(), source };
        self.file.sync_all().map_err(fail)
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl ReadAt for Device {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), AccessFailed> {
        let length = buffer.len();
        let fail = |error| AccessFailed::new(offset, length, error);
        self.file.read_exact_at(buffer, offset).map_err(fail)
    }
}

impl WriteAt for Device {
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), AccessFailed> {
        let fail = |error| AccessFailed::new(offset, bytes.len(), error);
        self.file.write_all_at(bytes, offset).map_err(fail)
    }
}
