//! The bytes of a file: held in memory, or a slice of a file in the cache that is read when needed.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Large enough that the system-call cost vanishes, small enough to stay in the CPU's cache.
const COPY_CHUNK_BYTES: usize = 256 * 1024;

/// What a regular file holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes that we made ourselves or read whole.
    Bytes(Arc<[u8]>),
    /// A range of a larger file, such as the unpacked data member of a package.
    Slice { file: Arc<File>, offset: u64, length: u64 },
}

/// Two contents of equal identity are the same bytes without looking at them, so a writer may
/// store them once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId {
    address: usize,
    offset: u64,
    length: u64,
}

impl Content {
    /// Content held in memory.
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::Bytes(bytes.into())
    }

    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Slice { length, .. } => *length,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names the storage behind this content; see [`ContentId`].
    pub fn id(&self) -> ContentId {
        match self {
            Self::Bytes(bytes) => ContentId {
                address: Arc::as_ptr(bytes).cast::<u8>() as usize,
                offset: 0,
                length: bytes.len() as u64,
            },
            Self::Slice { file, offset, length } => {
                ContentId { address: Arc::as_ptr(file) as usize, offset: *offset, length: *length }
            }
        }
    }

    /// Fills `buffer` from `position`; reading past the end is an error.
    pub fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let end = position.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match self {
            Self::Bytes(bytes) => {
                let start = usize::try_from(position).map_err(io::Error::other)?;
                buffer.copy_from_slice(&bytes[start..start + buffer.len()]);
                Ok(())
            }
            Self::Slice { file, offset, .. } => file.read_exact_at(buffer, offset + position),
        }
    }

    /// All bytes, in memory.
    pub fn to_vec(&self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.len()).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Writes all bytes to `out`, in chunks.
    pub fn copy_to(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Self::Bytes(bytes) = self {
            return out.write_all(bytes);
        }
        let mut chunk = vec![0; COPY_CHUNK_BYTES];
        let mut position = 0;
        while position < self.len() {
            let step = (self.len() - position).min(COPY_CHUNK_BYTES as u64);
            let part = &mut chunk[..usize::try_from(step).map_err(io::Error::other)?];
            self.read_exact_at(part, position)?;
            out.write_all(part)?;
            position += step;
        }
        Ok(())
    }
}
