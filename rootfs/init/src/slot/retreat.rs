//! What a boot that failed does next: pure.
//!
//! ```text
//!  failed ─┬─ the other slot may work ─> start it ─┬─ the first failure in a row: at once
//!          └─ there is no other ───> the same again ┴─ after 10 s, 20 s, 40 s … 5 min
//! ```
//! Failures in a row are counted in a variable of the firmware, because nothing else survives a
//! restart here: STATE is not mounted, and the boot loader's own count ends after three. A count
//! that stands still at its highest value is not written again, so the flash is worn by a handful
//! of writes. Where there is no such firmware, which is QEMU starting a kernel itself, every failure
//! is the first.

use std::time::Duration;

/// Long enough for a person to read the reason from a screen, or for a camera to catch it.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// A node that can't boot tries this often for as long as it has power: someone may have put the
/// disk back.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// From here on the pause doesn't grow, so the count need not either.
pub(crate) const FAILURES_MAX: u8 = 8;

/// What is known of the other slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    /// It has a kernel and a root partition.
    Complete,
    Absent,
    /// The boot partition can't be read from here.
    Unknown,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retreat {
    pub(crate) start_other: bool,
    pub(crate) pause: Duration,
    /// What the count of failures is now.
    pub(crate) failures: u8,
}

/// Decides after a failure that follows `before` others.
pub(crate) fn decide(before: u8, has_firmware: bool, other: Other) -> Retreat {
    // Asking the boot loader for a slot that isn't there does no harm: it starts its first choice.
    let start_other = has_firmware && other != Other::Absent;
    let failures = before.saturating_add(1).min(FAILURES_MAX);
    let at_once = start_other && other == Other::Complete && before == 0;
    let doublings = u32::from(before).saturating_sub(u32::from(start_other));
    let grown = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings));
    let pause = if at_once { Duration::ZERO } else { grown.min(LONGEST_PAUSE) };
    Retreat { start_other, pause, failures }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(has_firmware: bool, other: Other) -> Vec<u64> {
        (0..8).map(|before| decide(before, has_firmware, other).pause.as_secs()).collect()
    }

    #[test]
    fn the_other_slot_is_tried_at_once_and_then_less_and_less_often() {
        assert_eq!(pauses(true, Other::Complete), [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(pauses(true, Other::Absent), [10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(pauses(true, Other::Unknown), [10, 10, 20, 40, 80, 160, 300, 300]);
        assert!(decide(0, true, Other::Unknown).start_other);
        assert!(!decide(0, true, Other::Absent).start_other);
        assert!(!decide(0, false, Other::Complete).start_other, "nobody could start it");
    }

    #[test]
    fn every_count_has_an_answer_within_the_bounds() {
        for before in 0..=u8::MAX {
            for other in [Other::Complete, Other::Absent, Other::Unknown] {
                let retreat = decide(before, true, other);
                assert!(retreat.failures <= FAILURES_MAX && retreat.pause <= LONGEST_PAUSE);
                assert!(before == 0 || retreat.pause >= FIRST_PAUSE);
            }
        }
        assert_eq!(decide(FAILURES_MAX, true, Other::Absent).pause, LONGEST_PAUSE);
    }
}
