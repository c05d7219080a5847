//! CRC-32C, as ext4's metadata checksums use it: without the final inversion, so that a checksum
//! can be continued as the seed of the next.
//!
//! Only metadata is summed, one or two megabytes of a root, so a table of 256 entries (half a
//! gigabyte per second) is enough and a dependency is not.

#![expect(clippy::cast_possible_truncation, reason = "an index into 256 entries fits")]

/// The reflected Castagnoli polynomial.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// Where every checksum starts that continues no other.
pub(super) const START: u32 = !0;

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut remainder = index as u32;
        let mut bit = 0;
        while bit < 8 {
            let carry = remainder & 1;
            remainder >>= 1;
            if carry == 1 {
                remainder ^= POLYNOMIAL;
            }
            bit += 1;
        }
        table[index] = remainder;
        index += 1;
    }
    table
}

/// Continues `seed` over `bytes`.
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |crc, &byte| {
        let index = (crc ^ u32::from(byte)) & 0xff;
        crc >> 8 ^ TABLE[index as usize]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_standard() {
        assert_eq!(!crc32c(START, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_checksum_can_be_continued() {
        assert_eq!(crc32c(crc32c(START, b"1234"), b"56789"), crc32c(START, b"123456789"));
    }
}
