//! Content that no packer makes smaller by much, and that is the same in every run.

/// Bytes that don't repeat.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let word = |index: u64| index.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    (1..).flat_map(word).take(length).collect()
}
