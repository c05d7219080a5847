//! Time as NTP writes it: seconds since 1900 with a binary fraction, starting over every 136 years.

/// Nanoseconds: since 1970, since boot, or between two moments.
pub type Nanos = i64;

pub const NANOS_PER_SECOND: Nanos = 1_000_000_000;

/// Seconds between 1900 and 1970.
const SECONDS_TO_1970: i64 = 2_208_988_800;

/// A timestamp of 32 bits for seconds and 32 for the fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The stamp of a time since 1970.
    pub fn from_unix(nanos: Nanos) -> Self {
        let seconds = nanos.div_euclid(NANOS_PER_SECOND).wrapping_add(SECONDS_TO_1970);
        let fraction =
            (i128::from(nanos.rem_euclid(NANOS_PER_SECOND)) << 32) / i128::from(NANOS_PER_SECOND);
        let low = |number: i128| u64::try_from(number & 0xffff_ffff).unwrap_or(0);
        Self(low(i128::from(seconds)) << 32 | low(fraction))
    }

    /// The time since 1970 in the era that brings it nearest to `pivot`: the image's time, since our
    /// own clock may show anything, and no image is in service for sixty-eight years.
    pub fn to_unix(self, pivot: Nanos) -> Nanos {
        let pivot_seconds = pivot.div_euclid(NANOS_PER_SECOND);
        let ours = i128::from(pivot_seconds.saturating_add(SECONDS_TO_1970));
        let era = 1_i128 << 32;
        let apart = (i128::from(self.0 >> 32) - ours).rem_euclid(era);
        let apart = if apart >= era / 2 { apart - era } else { apart };
        let fraction = (i128::from(self.0 & 0xffff_ffff) * i128::from(NANOS_PER_SECOND)) >> 32;
        let seconds = i128::from(pivot_seconds) + apart;
        let nanos = seconds * i128::from(NANOS_PER_SECOND) + fraction;
        Nanos::try_from(nanos).unwrap_or(Nanos::MAX)
    }
}

/// A short format of 16 bits for seconds and 16 for the fraction.
pub(crate) fn short_nanos(short: u32) -> Nanos {
    (Nanos::from(short) * NANOS_PER_SECOND) >> 16
}

/// For calculations that no integer does; the numbers are differences, for which this is exact
/// enough by far.
#[allow(clippy::cast_precision_loss, reason = "differences of some hours at most")]
pub(crate) fn to_float(nanos: Nanos) -> f64 {
    nanos as f64
}

/// Back again; beyond the range it is the range's end.
#[allow(clippy::cast_possible_truncation, reason = "the conversion saturates")]
pub(crate) fn to_nanos(float: f64) -> Nanos {
    float as Nanos
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2036-02-07T06:28:16Z, when the seconds start over.
    const NEXT_ERA: Nanos = 2_085_978_496 * NANOS_PER_SECOND;

    #[test]
    fn known_stamps() {
        assert_eq!(Stamp::from_unix(0).0, 2_208_988_800 << 32);
        assert_eq!(Stamp::from_unix(NANOS_PER_SECOND / 2).0 & 0xffff_ffff, 1 << 31);
        assert_eq!(Stamp::from_unix(NEXT_ERA).0, 0);
        assert_eq!(Stamp(0).to_unix(NEXT_ERA - NANOS_PER_SECOND), NEXT_ERA);
        assert_eq!(Stamp(0).to_unix(0), NEXT_ERA, "nearer than 1900");
        assert_eq!(short_nanos(0x0001_8000), 1_500_000_000);
    }

    proptest! {
        #[test]
        fn a_stamp_near_our_clock_is_read_as_it_was_written(
            time in 0..8_000_000_000_000_000_000_i64, apart in -2_000_000_000..2_000_000_000_i64,
        ) {
            let pivot = time.saturating_add(apart * NANOS_PER_SECOND);
            let read = Stamp::from_unix(time).to_unix(pivot);
            prop_assert!((read - time).abs() <= 1, "{read}");
        }

        #[test]
        fn no_stamp_panics(stamp: u64, pivot: i64) {
            Stamp(stamp).to_unix(pivot);
            Stamp::from_unix(pivot);
        }
    }
}
