//! Reading and placing little-endian numbers in byte blocks whose length the caller has checked.
//!
//! Every block here is a sector or a record of fixed size, and every position is a constant of a
//! format, so the slice bounds are invariants and not conditions to report.

/// The `N` bytes at `position`.
pub(crate) fn bytes_at<const N: usize>(block: &[u8], position: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&block[position..position + N]);
    bytes
}

pub(crate) fn u16_at(block: &[u8], position: usize) -> u16 {
    u16::from_le_bytes(bytes_at(block, position))
}

pub(crate) fn u32_at(block: &[u8], position: usize) -> u32 {
    u32::from_le_bytes(bytes_at(block, position))
}

pub(crate) fn u64_at(block: &[u8], position: usize) -> u64 {
    u64::from_le_bytes(bytes_at(block, position))
}

/// Puts `bytes` at `position`.
pub(crate) fn put(block: &mut [u8], position: usize, bytes: &[u8]) {
    block[position..position + bytes.len()].copy_from_slice(bytes);
}
