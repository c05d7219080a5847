//! Durations and sizes, written with their unit.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::problem::Wrong;
use crate::reader::{shorten, text_value};

/// The longest duration, a year: anything above is a slip of the finger.
const MAX_MILLISECONDS: u64 = 366 * 24 * 3600 * 1000;

/// Units of durations in milliseconds, the longest first, as they are printed.
const DURATION_UNITS: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Units of sizes in bytes, the largest first.
const SIZE_UNITS: &[(&str, u64)] =
    &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A duration such as `"100ms"`, `"10cs"` (hundredths, as VRRP counts), `"1s"`, `"5m"`, `"2h"`,
/// `"1d"`. It prints with the largest unit that leaves a whole number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DurationText(u64);

impl DurationText {
    /// The duration as a number of milliseconds.
    pub const fn from_milliseconds(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Milliseconds.
    pub const fn milliseconds(self) -> u64 {
        self.0
    }

    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// Splits `12ms` into its number and its unit.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

impl FromStr for DurationText {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let refuse = |why: String| {
            Wrong::new(
                "a duration is a whole number with its unit",
                why,
                "write it like \"100ms\", \"10cs\", \"1s\", \"5m\", \"2h\" or \"1d\"",
            )
        };
        let (number, unit) =
            number_and_unit(text).ok_or_else(|| refuse("is no duration".to_owned()))?;
        let factor = match unit {
            "" => return Err(refuse("has no unit".to_owned())),
            "cs" => 10,
            unit => DURATION_UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .map(|(_, factor)| *factor)
                .ok_or_else(|| refuse(format!("\"{}\" is no unit", shorten(unit))))?,
        };
        number
            .checked_mul(factor)
            .filter(|milliseconds| *milliseconds <= MAX_MILLISECONDS)
            .map(Self)
            .ok_or_else(|| refuse("is longer than a year".to_owned()))
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return out.write_str("0s");
        }
        write_largest(self.0, DURATION_UNITS, out)
    }
}

text_value!(DurationText, "duration");

/// A size such as `"512MiB"` or `"2GiB"`; units are powers of 1024.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(u64);

impl Bytes {
    /// A size from its number of bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for Bytes {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let refuse = |why: String| {
            Wrong::new(
                "a size is a whole number with its unit",
                why,
                "write it like \"512MiB\" or \"2GiB\" (B, KiB, MiB, GiB, TiB)",
            )
        };
        let (number, unit) =
            number_and_unit(text).ok_or_else(|| refuse("is no size".to_owned()))?;
        if unit.is_empty() {
            return Err(refuse("has no unit".to_owned()));
        }
        let factor = SIZE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let factor = factor.ok_or_else(|| refuse(format!("\"{}\" is no unit", shorten(unit))))?;
        number.checked_mul(factor).map(Self).ok_or_else(|| refuse("is too large".to_owned()))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return out.write_str("0B");
        }
        write_largest(self.0, SIZE_UNITS, out)
    }
}

text_value!(Bytes, "size");

/// Prints with the largest unit that divides the value; the last unit is 1 and always does.
fn write_largest(value: u64, units: &[(&str, u64)], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    match units.iter().find(|(_, factor)| value.is_multiple_of(*factor)) {
        Some((unit, factor)) => write!(out, "{}{unit}", value / factor),
        None => write!(out, "{value}"),
    }
}
