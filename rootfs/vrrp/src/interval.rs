//! Versions, advertisement intervals, and the two waits that are computed from them.
//!
//! The RFCs count in centiseconds and write the skew as a fraction of 256. Rounding that fraction
//! to whole centiseconds would give every backup the same skew at fast intervals, and with it the
//! collision that the skew exists to avoid. So an interval is a whole number of centiseconds, and
//! what is derived from it is exact to the nanosecond below.

use std::time::Duration;
use thiserror::Error;

use crate::Priority;

/// The two versions of the protocol that exist in the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// RFC 3768: IPv4, whole seconds, eight bytes of authentication data.
    V2,
    /// RFC 9568 and RFC 5798: both families, centiseconds, no authentication.
    V3,
}

/// Version 2 counts intervals in seconds, in one byte.
pub const V2_SECONDS_MAX: u16 = 255;
/// Version 3 has twelve bits for its centiseconds.
pub const V3_CENTISECONDS_MAX: u16 = 4095;
/// A centisecond, the unit of both RFCs' arithmetic, in nanoseconds.
const CENTISECOND_NANOS: u64 = 10_000_000;
/// What the RFCs divide the skew by: one more than the highest priority.
const SKEW_DIVISOR: u64 = 256;
/// How many intervals of silence make an Active dead, before the skew.
const MISSED_ADVERTS: u64 = 3;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IntervalError {
    #[error("an interval of {0} centiseconds does not fit version 3: choose 1 to 4095")]
    Centiseconds(u16),
    #[error("an interval of {0} seconds does not fit version 2: choose 1 to 255")]
    Seconds(u16),
}

/// The time between two adverts of an Active: never zero, never more than a packet can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    centiseconds: u16,
}

impl Interval {
    /// What both RFCs give to a router that was configured with no interval.
    pub const DEFAULT: Self = Self { centiseconds: 100 };

    /// An interval as version 3 carries it.
    pub fn from_centiseconds(centiseconds: u16) -> Result<Self, IntervalError> {
        match centiseconds {
            1..=V3_CENTISECONDS_MAX => Ok(Self { centiseconds }),
            _ => Err(IntervalError::Centiseconds(centiseconds)),
        }
    }

    /// An interval as version 2 carries it.
    pub fn from_seconds(seconds: u16) -> Result<Self, IntervalError> {
        match seconds {
            1..=V2_SECONDS_MAX => Ok(Self { centiseconds: seconds * 100 }),
            _ => Err(IntervalError::Seconds(seconds)),
        }
    }

    pub fn centiseconds(self) -> u16 {
        self.centiseconds
    }

    /// The whole seconds of version 2; none when this interval has a fraction of a second.
    pub fn whole_seconds(self) -> Option<u8> {
        let whole = self.centiseconds.is_multiple_of(100);
        u8::try_from(self.centiseconds / 100).ok().filter(|_| whole)
    }

    pub fn duration(self) -> Duration {
        Duration::from_nanos(u64::from(self.centiseconds) * CENTISECOND_NANOS)
    }

    /// `Skew_Time`: how much longer than the best a backup of this priority waits.
    ///
    /// Version 2 skews by up to a second whatever the interval is; version 3 by up to one interval.
    pub fn skew(self, version: Version, priority: Priority) -> Duration {
        let unit = match version {
            Version::V2 => 100,
            Version::V3 => u64::from(self.centiseconds),
        };
        let share = SKEW_DIVISOR - u64::from(priority.get());
        Duration::from_nanos(share * unit * CENTISECOND_NANOS / SKEW_DIVISOR)
    }

    /// `Active_Down_Interval` (version 2: `Master_Down_Interval`): the silence that ends an Active.
    pub fn down(self, version: Version, priority: Priority) -> Duration {
        let silence = MISSED_ADVERTS * u64::from(self.centiseconds) * CENTISECOND_NANOS;
        Duration::from_nanos(silence) + self.skew(version, priority)
    }
}
