//! The clocks of the machine: read, stepped, slewed, and written to the battery-backed clock.
//!
//! Who calls what changes the time of the whole machine is for the caller to judge; here are only
//! the calls. Nothing but `clockd` and PID 1's start of the clock uses the ones that change it.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;

/// The kernel slews so much at most: 500 microseconds per second.
pub const LARGEST_FREQUENCY: Ppb = Ppb(500_000);

/// `_IOW('p', 0x0a, struct rtc_time)`: sets the battery-backed clock.
const RTC_SET_TIME: libc::c_ulong = 0x4024_700a;
const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

#[derive(Debug, Error)]
pub enum ClockError {
    #[error("can't {deed} the system's clock: {source}; the service needs CAP_SYS_TIME")]
    System { deed: &'static str, source: io::Error },
    #[error("can't set the battery-backed clock {}: {source}", path.display())]
    Battery { path: PathBuf, source: io::Error },
}

/// A frequency's deviation in parts per billion; positive runs faster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ppb(pub i64);

/// Time since 1970; zero for a clock before it.
pub fn wall() -> Duration {
    let now = clock_gettime(ClockId::Realtime);
    Duration::try_from(now).unwrap_or_default()
}

/// Time since boot, which no step and no slew changes by much and none turns back.
pub fn boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::try_from(now).unwrap_or_default()
}

/// The oscillator's own count since some moment; nobody ever corrects it.
pub fn raw() -> Duration {
    let now = clock_gettime(ClockId::MonotonicRaw);
    Duration::try_from(now).unwrap_or_default()
}

/// Moves the clock at once by so many nanoseconds. A reading and a setting in two calls would lose
/// the time between them.
pub fn step(nanos: i64) -> Result<(), ClockError> {
    let mut request = empty();
    request.modes = libc::ADJ_SETOFFSET | libc::ADJ_NANO;
    request.time.tv_sec = nanos.div_euclid(NANOS_PER_SECOND);
    // With ADJ_NANO the field counts nanoseconds.
    request.time.tv_usec = nanos.rem_euclid(NANOS_PER_SECOND);
    adjust("step", &mut request)
}

/// Lets the clock gain or lose so many microseconds, 500 of them per second; a former wish that
/// isn't finished is forgotten.
pub fn slew(micros: i64) -> Result<(), ClockError> {
    let mut request = empty();
    request.modes = libc::ADJ_OFFSET_SINGLESHOT;
    request.offset = micros;
    adjust("slew", &mut request)
}

/// Lets the clock run faster or slower for good, within [`LARGEST_FREQUENCY`].
pub fn set_frequency(frequency: Ppb) -> Result<(), ClockError> {
    let largest = LARGEST_FREQUENCY.0;
    let mut request = empty();
    request.modes = libc::ADJ_FREQUENCY;
    // The kernel's unit is a part per million, divided by 2^16.
    request.freq = frequency.0.clamp(-largest, largest).saturating_mul(1 << 16) / 1000;
    adjust("tune", &mut request)
}

/// Tells the kernel, and by it every program, that the time is good to so many microseconds.
pub fn declare_synchronised(error_micros: i64) -> Result<(), ClockError> {
    let mut request = empty();
    request.modes = libc::ADJ_STATUS | libc::ADJ_MAXERROR | libc::ADJ_ESTERROR;
    request.maxerror = error_micros;
    request.esterror = error_micros;
    adjust("declare", &mut request)
}

/// The frequency that the kernel applies now.
pub fn frequency() -> Result<Ppb, ClockError> {
    let mut request = empty();
    adjust("read", &mut request)?;
    Ok(Ppb(request.freq.saturating_mul(1000) >> 16))
}

fn empty() -> libc::timex {
    // SAFETY: the structure consists of integers only, for which all zeros are valid.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

fn adjust(deed: &'static str, request: &mut libc::timex) -> Result<(), ClockError> {
    // SAFETY: the kernel reads and writes one `timex`, which is ours alone.
    let result = unsafe { libc::adjtimex(&raw mut *request) };
    if result < 0 {
        return Err(ClockError::System { deed, source: io::Error::last_os_error() });
    }
    Ok(())
}

/// `struct rtc_time` of the kernel's interface.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct BatteryTime {
    second: i32,
    minute: i32,
    hour: i32,
    day: i32,
    /// From zero.
    month: i32,
    /// Since 1900.
    year: i32,
    /// The kernel ignores these three.
    unused: [i32; 3],
}

/// Sets the battery-backed clock, such as `/dev/rtc0`, to a time in seconds since 1970.
pub fn set_battery_clock(path: &Path, seconds: u64) -> Result<(), ClockError> {
    let fail = |source| ClockError::Battery { path: path.to_owned(), source };
    let device = OpenOptions::new().read(true).open(path).map_err(fail)?;
    let time = battery_time(Civil::from_unix(seconds));
    // SAFETY: the request reads one `rtc_time`, which lives until the call returns.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), RTC_SET_TIME, &raw const time) };
    if result < 0 { Err(fail(io::Error::last_os_error())) } else { Ok(()) }
}

fn battery_time(civil: Civil) -> BatteryTime {
    BatteryTime {
        second: i32::from(civil.second),
        minute: i32::from(civil.minute),
        hour: i32::from(civil.hour),
        day: i32::from(civil.day),
        month: i32::from(civil.month) - 1,
        year: i32::try_from(civil.year).unwrap_or(i32::MAX).saturating_sub(1900),
        unused: [0; 3],
    }
}

/// A second as people write it, in UTC: `2026-11-20T11:29:37`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    pub year: u64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
}

impl Civil {
    /// Seconds since 1970, by the proleptic Gregorian calendar.
    pub fn from_unix(seconds: u64) -> Self {
        // Years start in March here, so that the leap day is the last of its year.
        let days = seconds / SECONDS_PER_DAY + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let second_of_day = seconds % SECONDS_PER_DAY;
        let small = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
        Self {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month: small(month),
            day: small(day),
            hour: small(second_of_day / 3600),
            minute: small(second_of_day / 60 % 60),
            second: small(second_of_day % 60),
        }
    }
}

impl fmt::Display for Civil {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second } = self;
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_dates() {
        // Each as `date --utc --date=@SECONDS` says.
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_709_251_199, "2024-02-29T23:59:59"),
            (1_795_174_177, "2026-11-20T11:29:37"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (253_402_300_799, "9999-12-31T23:59:59"),
        ] {
            assert_eq!(Civil::from_unix(seconds).to_string(), date);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = Civil::from_unix(0);
        for day in 1..150_000 {
            let next = Civil::from_unix(day * SECONDS_PER_DAY);
            let same_month = (next.year, next.month) == (last.year, last.month);
            assert!(same_month && next.day == last.day + 1 || !same_month && next.day == 1);
            last = next;
        }
    }

    #[test]
    fn the_structure_and_its_request_are_the_kernels() {
        assert_eq!(size_of::<BatteryTime>(), 36);
        let request = 1 << 30 | 36 << 16 | libc::c_ulong::from(b'p') << 8 | 0x0a;
        assert_eq!(RTC_SET_TIME, request);
        let time = battery_time(Civil::from_unix(951_782_399));
        assert_eq!((time.year, time.month, time.day), (100, 1, 28));
    }

    #[test]
    fn clocks_are_read_without_being_touched() {
        assert!(wall() > boot());
        let (before, after) = (boot(), boot());
        assert!(before > Duration::ZERO && after >= before);
        assert!(frequency().is_ok_and(|frequency| frequency <= LARGEST_FREQUENCY));
    }

    #[test]
    fn an_absent_battery_clock_is_named() {
        let error = set_battery_clock(Path::new("/nonexistent/rtc"), 0).expect_err("absent");
        assert!(error.to_string().contains("/nonexistent/rtc"), "{error}");
    }
}
