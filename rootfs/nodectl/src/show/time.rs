//! Times and spans as text, in UTC: the site and the desk may be in different zones.

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Year, month, day of a number of days since 1970-01-01, after Howard Hinnant's `civil_from_days`.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days.saturating_add(719_468);
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

fn clock(unix_ms: u64) -> (u64, u64, u64) {
    let of_day = unix_ms % DAY;
    (of_day / HOUR, of_day % HOUR / MINUTE, of_day % MINUTE / SECOND)
}

/// `2026-11-20 12:00:00 UTC`.
pub fn utc(unix_ms: u64) -> String {
    let (year, month, day) = civil(unix_ms / DAY);
    let (hour, minute, second) = clock(unix_ms);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// `20261120T120000Z`, for file names.
pub fn compact_utc(unix_ms: u64) -> String {
    let (year, month, day) = civil(unix_ms / DAY);
    let (hour, minute, second) = clock(unix_ms);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// `2026-11-20T12:00:00.123Z`, for log lines.
pub fn log_time(unix_ms: u64) -> String {
    let (year, month, day) = civil(unix_ms / DAY);
    let (hour, minute, second) = clock(unix_ms);
    let milli = unix_ms % SECOND;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// A span by its two largest units: `3d 4h`, `5m 2s`, `0.4s`.
pub fn span(ms: u64) -> String {
    match ms {
        DAY.. => format!("{}d {}h", ms / DAY, ms % DAY / HOUR),
        HOUR.. => format!("{}h {}m", ms / HOUR, ms % HOUR / MINUTE),
        MINUTE.. => format!("{}m {}s", ms / MINUTE, ms % MINUTE / SECOND),
        10_000.. => format!("{}s", ms / SECOND),
        _ => format!("{}.{}s", ms / SECOND, ms % SECOND / 100),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, shown) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_164_800, "2024-02-29 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(seconds * 1000), shown);
        }
        assert_eq!(log_time(1_709_164_800_007), "2024-02-29T00:00:00.007Z");
        assert_eq!(compact_utc(1_709_164_800_007), "20240229T000000Z");
    }

    #[test]
    fn spans_have_two_units() {
        for (ms, shown) in [
            (400, "0.4s"),
            (12_000, "12s"),
            (302_000, "5m 2s"),
            (3_600_000, "1h 0m"),
            (273_600_000, "3d 4h"),
        ] {
            assert_eq!(span(ms), shown);
        }
    }

    proptest! {
        #[test]
        fn no_time_panics(ms in any::<u64>()) {
            let _ = (utc(ms), span(ms), log_time(ms), compact_utc(ms));
        }
    }
}
