//! The Internet checksum of RFC 1071, which VRRP and `ICMPv6` share.

/// The running ones' complement sum of big-endian 16-bit words.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds bytes that start at an even offset of what is summed; an odd last byte is padded.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            self.0 += u64::from(u16::from_be_bytes([pair[0], low]));
        }
    }

    /// Adds the length that ends a pseudo-header.
    pub(crate) fn add_length(&mut self, length: usize) {
        self.0 += u64::try_from(length).expect("a packet's length fits 64 bits");
    }

    /// The complement, as it stands in a packet.
    pub(crate) fn folded(self) -> u16 {
        let mut sum = self.0;
        while let high @ 1.. = sum >> 16 {
            sum = (sum & 0xffff) + high;
        }
        let folded = u16::try_from(sum).expect("folded until nothing stands above 16 bits");
        !folded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_adds_up() {
        let mut sum = Sum::default();
        sum.add(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.folded(), !0xddf2);
    }

    #[test]
    fn an_odd_last_byte_counts_as_the_high_one() {
        let mut sum = Sum::default();
        sum.add(&[0x00, 0x01, 0x12]);
        assert_eq!(sum.folded(), !0x1201);
    }
}
