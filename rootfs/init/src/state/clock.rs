//! The floor of the clock: it is never earlier than the image, nor than the last run's end.
//!
//! A machine whose battery is empty starts in 1970, and every certificate is then not yet valid:
//! neither the site's nor that of a time server. The floor is wrong by as long as the machine was
//! off, and good enough until `clockd` has asked someone. The file is shared with it: one line with
//! the seconds since 1970.
//!
//! A time far after the image's is not believed. One that is wrong within belief comes back at every
//! boot until `clockd` hears of a server, which takes the clock back as far as the image's time.

use std::fs;
use std::path::Path;

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use sys::durable::{self, DurableError};

use crate::say;

const IMAGE: &str = "the time of the image";
const LAST_RUN: &str = "the time of the last run";
const SAVED: &str = "/state/clock";
/// Twenty digits are more than any time has; the rest of the file is not read.
const LINE_BYTES_MAX: usize = 20;
/// No image is in service for longer.
const BELIEVED_SECONDS: u64 = 30 * 365 * 86_400;

/// Sets the clock if it is before the image's time, or before a believable time of an earlier run, or
/// later than any image is in service.
/// Gives the words for whose time it is then.
pub(super) fn lift(image_time: u64, saved: Option<u64>) -> Option<&'static str> {
    let floor = floor(image_time, saved);
    let now = clock_gettime(ClockId::Realtime);
    let wanted = target(now.tv_sec, floor, image_time)?;
    if let Err(errno) = clock_settime(ClockId::Realtime, Timespec { tv_sec: wanted, tv_nsec: 0 }) {
        say!("the clock can't be set to {floor}: {errno}");
        return None;
    }
    let of = if floor == image_time { IMAGE } else { LAST_RUN };
    say!("clock set from {} to {floor} s since 1970, {of}", now.tv_sec);
    Some(of)
}

/// What the clock is to be set to, if it is before the floor, or so late that it can't be right: with a
/// time beyond all certificates nobody could even ask the node.
fn target(now: i64, floor: u64, image_time: u64) -> Option<i64> {
    let end = image_time.saturating_add(BELIEVED_SECONDS);
    let wild = u64::try_from(now).is_ok_and(|now| now >= end);
    i64::try_from(floor).ok().filter(|floor| wild || now < *floor)
}

fn floor(image_time: u64, saved: Option<u64>) -> u64 {
    let believed = image_time..image_time.saturating_add(BELIEVED_SECONDS);
    saved.filter(|saved| believed.contains(saved)).unwrap_or(image_time)
}

/// The time that an earlier run left.
pub(super) fn saved() -> Option<u64> {
    parse(&fs::read(SAVED).ok()?)
}

/// Takes the first line's number; whatever else is there was put there by nobody of ours.
fn parse(bytes: &[u8]) -> Option<u64> {
    let line = bytes.split(|byte| *byte == b'\n').next()?.trim_ascii();
    let short = line.len() <= LINE_BYTES_MAX && line.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(line).ok().filter(|_| short)?;
    text.parse().ok()
}

/// Leaves the time for the next run.
pub(super) fn save() -> Result<(), DurableError> {
    let now = clock_gettime(ClockId::Realtime).tv_sec;
    durable::write(Path::new(SAVED), format!("{now}\n").as_bytes(), 0o644)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_run_counts_if_it_is_believable() {
        let image = 1_750_000_000;
        assert_eq!(floor(image, None), image);
        assert_eq!(floor(image, Some(image + 5)), image + 5);
        assert_eq!(floor(image, Some(image - 5)), image);
        assert_eq!(floor(image, Some(image + BELIEVED_SECONDS)), image);
        assert_eq!(floor(image, Some(u64::MAX)), image);
        assert_eq!(floor(u64::MAX, Some(3)), u64::MAX);
    }

    #[test]
    fn a_clock_that_is_too_early_or_wildly_late_is_set_and_any_other_stays() {
        let image = 1_750_000_000;
        let floor = image + 5;
        let end = i64::try_from(image + BELIEVED_SECONDS).expect("small");
        for wrong in [0, -1, 1_750_000_004, end, i64::MAX] {
            assert_eq!(target(wrong, floor, image), Some(1_750_000_005), "{wrong}");
        }
        for right in [1_750_000_005, 1_800_000_000, end - 1] {
            assert_eq!(target(right, floor, image), None, "{right}");
        }
    }

    #[test]
    fn a_saved_time_is_read_as_people_and_programs_write_it() {
        assert_eq!(parse(b"1750000000\n"), Some(1_750_000_000));
        assert_eq!(parse(b" 17 \r\nmore"), Some(17));
        for bad in [&b""[..], b"\n", b"-1", b"1.5", b"+1", b"\xff\n", b"111111111111111111111"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _either = parse(&bytes);
        }

        #[test]
        fn the_floor_is_never_before_the_image(image: u64, saved: Option<u64>) {
            prop_assert!(floor(image, saved) >= image);
        }
    }
}
