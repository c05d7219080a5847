//! CRC-32C without the final inversion, as ext4 sums its superblock. One kilobyte per superblock is
//! summed, so bits are shifted one by one and no table is carried.

/// The reflected Castagnoli polynomial.
const POLYNOMIAL: u32 = 0x82f6_3b78;

pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ ((crc & 1) * POLYNOMIAL))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_check_value_of_the_standard() {
        assert_eq!(!super::crc32c(b"123456789"), 0xe306_9283);
    }
}
