//! A program with one section, as small as systemd's stub could ever be: what kernel images are
//! made from where the real stub is not the point.

#![expect(clippy::cast_possible_truncation, reason = "test data is small")]

const HEADERS_AT: usize = 64;
/// Where the optional header is, which tests change.
pub(crate) const OPTIONAL_AT: usize = HEADERS_AT + 24;
const TABLE_AT: usize = OPTIONAL_AT + 240;
pub(crate) const NX_COMPAT: u16 = 0x100;

/// The stub, with room for more sections' headers up to `headers_bytes`.
pub(crate) fn tiny_stub(headers_bytes: u32) -> Vec<u8> {
    let mut stub = vec![0; headers_bytes as usize + 512];
    let mut put = |at: usize, field: &[u8]| stub[at..at + field.len()].copy_from_slice(field);
    put(0, b"MZ");
    put(60, &(HEADERS_AT as u32).to_le_bytes());
    put(HEADERS_AT, b"PE\0\0");
    put(HEADERS_AT + 4, &0x8664_u16.to_le_bytes());
    put(HEADERS_AT + 6, &1_u16.to_le_bytes());
    put(HEADERS_AT + 20, &240_u16.to_le_bytes());
    put(OPTIONAL_AT, &0x20b_u16.to_le_bytes());
    put(OPTIONAL_AT + 8, &100_u32.to_le_bytes());
    put(OPTIONAL_AT + 32, &4096_u32.to_le_bytes());
    put(OPTIONAL_AT + 36, &512_u32.to_le_bytes());
    put(OPTIONAL_AT + 56, &0x2000_u32.to_le_bytes());
    put(OPTIONAL_AT + 60, &headers_bytes.to_le_bytes());
    put(OPTIONAL_AT + 70, &NX_COMPAT.to_le_bytes());
    put(OPTIONAL_AT + 108, &16_u32.to_le_bytes());
    put(TABLE_AT, b".text");
    put(TABLE_AT + 8, &100_u32.to_le_bytes());
    put(TABLE_AT + 12, &4096_u32.to_le_bytes());
    put(TABLE_AT + 16, &512_u32.to_le_bytes());
    put(TABLE_AT + 20, &headers_bytes.to_le_bytes());
    stub
}
