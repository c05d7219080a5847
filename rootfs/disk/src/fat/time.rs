//! Dates as FAT has them: from 1980 to 2107, in steps of two seconds, without a time zone.

/// A moment, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    pub(super) date: u16,
    pub(super) time: u16,
}

const SECONDS_PER_DAY: u64 = 86_400;
const FIRST_YEAR: u64 = 1980;
const LAST_YEAR: u64 = 2107;

impl Timestamp {
    /// The first moment that FAT knows.
    pub const EPOCH: Self = Self { date: 1 << 5 | 1, time: 0 };

    /// From seconds since 1970; what FAT can't express becomes the nearest that it can.
    pub fn from_unix(seconds: u64) -> Self {
        let (year, month, day) = civil_date(seconds / SECONDS_PER_DAY);
        if year < FIRST_YEAR {
            return Self::EPOCH;
        }
        if year > LAST_YEAR {
            // The last two seconds of that year.
            return Self { date: 0xff9f, time: 0xbf7d };
        }
        let second = seconds % SECONDS_PER_DAY;
        let date = (year - FIRST_YEAR) << 9 | month << 5 | day;
        let time = (second / 3600) << 11 | (second / 60 % 60) << 5 | (second % 60 / 2);
        Self { date: low_16(date), time: low_16(time) }
    }
}

/// The fields above are bounded so that they fill exactly 16 bits.
fn low_16(number: u64) -> u16 {
    (number & 0xffff) as u16
}

/// Year, month and day of a day counted from 1970, by Howard Hinnant's algorithm: years begin in
/// March, so that the leap day is the last of a year.
fn civil_date(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        let fields = |seconds| {
            let Timestamp { date, time } = Timestamp::from_unix(seconds);
            (1980 + (date >> 9), date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, time & 31)
        };
        assert_eq!(fields(1_700_000_000), (2023, 11, 14, 22, 13, 10));
        assert_eq!(fields(951_782_400), (2000, 2, 29, 0, 0, 0));
        assert_eq!(fields(4_107_542_400), (2100, 3, 1, 0, 0, 0));
        assert_eq!(fields(0), (1980, 1, 1, 0, 0, 0));
        assert_eq!(fields(u64::MAX / 2), (2107, 12, 31, 23, 59, 29));
    }
}
