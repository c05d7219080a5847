//! Sizes as people write them: `64MiB`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de::Error as _};
use thiserror::Error;

const UNITS: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

#[derive(Debug, Error)]
#[error("{0:?} is no size: write a whole number and KiB, MiB, GiB or TiB, as \"64MiB\"")]
pub struct SizeError(String);

impl ByteSize {
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let fail = || SizeError(text.to_owned());
        let (unit, factor) =
            UNITS.iter().find(|(unit, _)| text.ends_with(unit)).ok_or_else(fail)?;
        let number = text[..text.len() - unit.len()].trim();
        let count: u64 = number.parse().map_err(|_| fail())?;
        count.checked_mul(*factor).map(Self).ok_or_else(fail)
    }
}

impl fmt::Display for ByteSize {
    /// The largest unit that divides the size; for measured sizes, one decimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((unit, factor)) = UNITS.iter().find(|(_, factor)| self.0 >= *factor) else {
            return write!(f, "{} bytes", self.0);
        };
        if self.0.is_multiple_of(*factor) {
            return write!(f, "{} {unit}", self.0 / factor);
        }
        let tenths = (u128::from(self.0) * 10 + u128::from(factor / 2)) / u128::from(*factor);
        write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        let size: ByteSize = "64MiB".parse().expect("good");
        assert_eq!(size.bytes(), 64 << 20);
        assert_eq!(size.to_string(), "64 MiB");
        assert_eq!(ByteSize::new(1_600_000).to_string(), "1.5 MiB");
        assert_eq!(ByteSize::new(17).to_string(), "17 bytes");
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "",
            "MiB",
            "-1MiB",
            "64",
            "64MB",
            "1.5GiB",
            "99999999999999999999MiB",
            "20000000000TiB",
        ] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad} was taken");
        }
    }
}
