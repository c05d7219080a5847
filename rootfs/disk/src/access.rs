//! How this crate reaches bytes: positioned reads and writes that the caller implements.
//!
//! The builder implements these traits for image files, PID 1 for block devices, and the tests use
//! plain memory, so that the formats themselves need no file and no device.

use thiserror::Error;

/// A positioned read or write that did not happen.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{length} bytes at offset {offset}: {reason}")]
pub struct AccessFailed {
    pub offset: u64,
    pub length: u64,
    pub reason: String,
}

/// Bytes that can be read at any position.
pub trait ReadAt {
    /// How many bytes there are.
    fn size(&self) -> u64;

    /// Fills `buffer` from `offset`, or fails.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), AccessFailed>;
}

/// Bytes that can be written at any position.
pub trait WriteAt {
    /// Writes all of `bytes` at `offset`, or fails.
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), AccessFailed>;
}

/// A part of something readable, such as one partition of a disk.
#[derive(Clone, Copy, Debug)]
pub struct Window<R> {
    inner: R,
    start: u64,
    length: u64,
}

impl AccessFailed {
    /// Names the range that could not be reached and why.
    #[expect(clippy::needless_pass_by_value, reason = "a caller has no more use for its error")]
    pub fn new(offset: u64, length: usize, reason: impl ToString) -> Self {
        Self { offset, length: length as u64, reason: reason.to_string() }
    }

    fn outside(offset: u64, length: usize, size: u64) -> Self {
        Self::new(offset, length, format!("there are only {size} bytes"))
    }
}

impl ReadAt for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), AccessFailed> {
        let outside = || AccessFailed::outside(offset, buffer.len(), self.size());
        let start = usize::try_from(offset).map_err(|_| outside())?;
        let end = start.checked_add(buffer.len()).ok_or_else(outside)?;
        let source = self.get(start..end).ok_or_else(outside)?;
        buffer.copy_from_slice(source);
        Ok(())
    }
}

impl<R: ReadAt + ?Sized> ReadAt for &R {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), AccessFailed> {
        (**self).read_exact_at(offset, buffer)
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.as_slice().size()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), AccessFailed> {
        self.as_slice().read_exact_at(offset, buffer)
    }
}

impl WriteAt for [u8] {
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), AccessFailed> {
        let size = self.len() as u64;
        let outside = || AccessFailed::outside(offset, bytes.len(), size);
        let start = usize::try_from(offset).map_err(|_| outside())?;
        let end = start.checked_add(bytes.len()).ok_or_else(outside)?;
        self.get_mut(start..end).ok_or_else(outside)?.copy_from_slice(bytes);
        Ok(())
    }
}

impl WriteAt for Vec<u8> {
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), AccessFailed> {
        self.as_mut_slice().write_all_at(offset, bytes)
    }
}

impl<R: ReadAt> Window<R> {
    /// The `length` bytes of `inner` from `start` on; fails if `inner` ends earlier.
    pub fn new(inner: R, start: u64, length: u64) -> Result<Self, AccessFailed> {
        let size = inner.size();
        if start.checked_add(length).is_none_or(|end| end > size) {
            let reason = format!("there are only {size} bytes");
            return Err(AccessFailed { offset: start, length, reason });
        }
        Ok(Self { inner, start, length })
    }
}

impl<R: ReadAt> ReadAt for Window<R> {
    fn size(&self) -> u64 {
        self.length
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), AccessFailed> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(AccessFailed::outside(offset, buffer.len(), self.length));
        }
        self.inner.read_exact_at(self.start + offset, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_shows_only_its_own_bytes() {
        let bytes: Vec<u8> = (0..10).collect();
        let window = Window::new(&bytes, 4, 3).expect("inside");
        let mut three = [0; 3];
        window.read_exact_at(0, &mut three).expect("read");
        assert_eq!(three, [4, 5, 6]);
        assert!(window.read_exact_at(1, &mut three).is_err());
        assert!(window.read_exact_at(u64::MAX, &mut three).is_err());
        assert!(Window::new(&bytes, 8, 3).is_err());
        assert!(Window::new(&bytes, u64::MAX, 3).is_err());
    }

    #[test]
    fn memory_refuses_positions_outside() {
        let mut bytes = vec![0; 4];
        assert!(bytes.write_all_at(3, &[1, 2]).is_err());
        assert!(bytes.write_all_at(u64::MAX, &[1]).is_err());
        bytes.write_all_at(2, &[1, 2]).expect("inside");
        assert_eq!(bytes, [0, 0, 1, 2]);
    }
}
