//! GUIDs as a GPT stores them: the first three groups little-endian, the rest as written.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A GUID, held in the order in which it is written down.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid([u8; 16]);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a GUID: write it as c12a7328-f81f-11d2-ba4b-00a0c93ec93b")]
pub struct NotAGuid(String);

/// Where the hyphens stand in the text form.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
const TEXT_BYTES: usize = 36;

impl Guid {
    /// All zero: an unused entry.
    pub const ZERO: Self = Self([0; 16]);

    /// From the bytes in written order, as a UUID library gives them.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The same GUID from the number that its hexadecimal digits spell.
    pub const fn from_u128(number: u128) -> Self {
        Self(number.to_be_bytes())
    }

    /// The bytes in written order.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Makes the variant and version bits those of a random (version 4) UUID, so that tools take
    /// a GUID which was derived from a hash.
    #[must_use]
    pub const fn as_version_4(self) -> Self {
        let mut bytes = self.0;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    pub(crate) const fn from_disk(bytes: [u8; 16]) -> Self {
        Self(swap_groups(bytes))
    }

    pub(crate) const fn to_disk(self) -> [u8; 16] {
        swap_groups(self.0)
    }
}

/// Mixed-endian is its own inverse.
const fn swap_groups(b: [u8; 16]) -> [u8; 16] {
    [
        b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13],
        b[14], b[15],
    ]
}

impl FromStr for Guid {
    type Err = NotAGuid;

    fn from_str(text: &str) -> Result<Self, NotAGuid> {
        let not_a_guid = || NotAGuid(text.chars().take(TEXT_BYTES + 4).collect());
        let characters = text.as_bytes();
        if characters.len() != TEXT_BYTES || HYPHENS.iter().any(|&at| characters[at] != b'-') {
            return Err(not_a_guid());
        }
        let mut number = 0_u128;
        for (position, &character) in characters.iter().enumerate() {
            if HYPHENS.contains(&position) {
                continue;
            }
            let digit = char::from(character).to_digit(16).ok_or_else(not_a_guid)?;
            number = number << 4 | u128::from(digit);
        }
        Ok(Self::from_u128(number))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_form_is_mixed_endian() {
        let guid: Guid = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b".parse().expect("a GUID");
        let disk = [
            0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9,
            0x3b,
        ];
        assert_eq!(guid.to_disk(), disk);
        assert_eq!(Guid::from_disk(disk), guid);
        assert_eq!(guid.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
        assert_eq!("C12A7328-F81F-11D2-BA4B-00A0C93EC93B".parse(), Ok(guid));
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in ["", "c12a7328", "c12a7328f81f-11d2-ba4b-00a0c93ec93b-", "ä"] {
            assert!(bad.parse::<Guid>().is_err(), "{bad:?} was taken");
        }
        assert!("g12a7328-f81f-11d2-ba4b-00a0c93ec93b".parse::<Guid>().is_err());
        assert!("+12a7328-f81f-11d2-ba4b-00a0c93ec93b".parse::<Guid>().is_err());
    }
}
