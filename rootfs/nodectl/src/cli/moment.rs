//! A moment as an operator writes it: `2026-11-20 11:59:30`, in UTC, as everything else is shown.

use std::str::FromStr;

/// Milliseconds in a day.
const DAY_MS: u64 = 86_400_000;
/// Moments after this year are slips.
const LAST_YEAR: u64 = 9999;

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Milliseconds since 1970.
    pub(crate) unix_ms: u64,
}

/// A text that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write the time in UTC, like \"2026-11-20 11:59:30\"")]
pub(crate) struct BadMoment;

/// Days since 1970-01-01, after Howard Hinnant's `days_from_civil`.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let from_march = (month + 9) % 12;
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    (era * 146_097 + day_of_era).saturating_sub(719_468)
}

fn month_days(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl FromStr for Moment {
    type Err = BadMoment;

    fn from_str(text: &str) -> Result<Self, BadMoment> {
        let text = text.strip_suffix(" UTC").or_else(|| text.strip_suffix('Z')).unwrap_or(text);
        let (date, time) = text.split_once([' ', 'T']).ok_or(BadMoment)?;
        let [year, month, day] = numbers(date, '-')?;
        let (time, milli) = match time.split_once('.') {
            Some((time, part)) if (1..=3).contains(&part.len()) => {
                (time, number(&format!("{part:0<3}"))?)
            }
            Some(_) => return Err(BadMoment),
            None => (time, 0),
        };
        let [hour, minute, second] = numbers(time, ':')?;
        let sound = (1970..=LAST_YEAR).contains(&year)
            && (1..=12).contains(&month)
            && (1..=month_days(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !sound {
            return Err(BadMoment);
        }
        let of_day = ((hour * 60 + minute) * 60 + second) * 1000 + milli;
        Ok(Self { unix_ms: days(year, month, day) * DAY_MS + of_day })
    }
}

fn numbers(text: &str, between: char) -> Result<[u64; 3], BadMoment> {
    let parts: Result<Vec<u64>, BadMoment> = text.split(between).map(number).collect();
    parts?.try_into().map_err(|_| BadMoment)
}

fn number(text: &str) -> Result<u64, BadMoment> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().map_err(|_| BadMoment) } else { Err(BadMoment) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::show::{log_time, utc};

    #[test]
    fn what_is_no_moment_is_refused() {
        for bad in [
            "",
            "now",
            "2026-11-20",
            "2026-02-29 00:00:00",
            "2026-13-01 00:00:00",
            "2026-11-20 24:00:00",
            "2026-11-20 11:59",
            "2026-11-20 11:59:30 CET",
            "1-1-1 1:1:1",
            "+026-11-20 11:59:30",
        ] {
            assert_eq!(bad.parse::<Moment>(), Err(BadMoment), "{bad}");
        }
    }

    proptest! {
        /// Every moment that we show can be written back, in either of our forms.
        #[test]
        fn moments_round_trip(unix_ms in 0..253_402_300_800_000_u64) {
            let shown: Moment = log_time(unix_ms).parse().unwrap();
            prop_assert_eq!(shown.unix_ms, unix_ms);
            let shown: Moment = utc(unix_ms).parse().unwrap();
            prop_assert_eq!(shown.unix_ms, unix_ms / 1000 * 1000);
        }

        #[test]
        fn no_text_panics(text in "[0-9TZ :.-]{0,30}") {
            let _ = text.parse::<Moment>();
        }
    }
}
