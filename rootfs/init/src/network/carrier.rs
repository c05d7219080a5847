//! What is said about a cable, and how often.
//!
//! A change is said once. A cable that comes and goes all the time must not push everything else
//! off the console, so after each line there is a pause, twice as long as the one before while the
//! flapping lasts; at its end the present state is said, with the number of changes meanwhile.

use std::time::Duration;

/// A card needs about three seconds to agree on a speed; before that, no carrier means nothing.
const FIRST_PAUSE: Duration = Duration::from_secs(4);
/// Long enough to swallow the bounce of a plug.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// Often enough for a person to see that it still flaps.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// A cable that was still for so long after a pause starts over with the shortest one.
const CALM: Duration = Duration::from_mins(1);

/// One cable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Carrier {
    said: Option<bool>,
    now: bool,
    changes: u32,
    pause: Duration,
    pause_ends: Duration,
}

/// A line to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) carrier: bool,
    /// How often it changed since the last line.
    pub(crate) changes: u32,
}

impl Carrier {
    /// A link that just appeared; `now` is any clock that never goes back.
    pub(crate) fn new(carrier: bool, now: Duration) -> Self {
        let pause_ends = now + FIRST_PAUSE;
        Self { said: None, now: carrier, changes: 0, pause: SHORTEST_PAUSE, pause_ends }
    }

    /// Takes note of how it is now.
    pub(crate) fn observe(&mut self, carrier: bool) {
        if carrier != self.now {
            self.now = carrier;
            self.changes = self.changes.saturating_add(1);
        }
    }

    /// What is to be said now, if anything.
    pub(crate) fn report(&mut self, now: Duration) -> Option<Report> {
        match self.said {
            // A cable that is there from the start needs no second look.
            None if !self.now && now < self.pause_ends => return None,
            None => self.pause = SHORTEST_PAUSE,
            Some(_) if self.changes == 0 || now < self.pause_ends => return None,
            // It was calm for a while after the last pause: that flapping is over.
            Some(_) if now >= self.pause_ends + CALM => self.pause = SHORTEST_PAUSE,
            Some(_) => self.pause = (self.pause * 2).min(LONGEST_PAUSE),
        }
        let report = Report { carrier: self.now, changes: self.changes };
        self.said = Some(self.now);
        self.changes = 0;
        self.pause_ends = now + self.pause;
        Some(report)
    }

    /// When there may be something to say without anything else happening.
    pub(crate) fn due(&self) -> Option<Duration> {
        let waiting = self.said.is_none() || self.changes > 0;
        waiting.then_some(self.pause_ends)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_cable_that_is_there_is_said_at_once_and_once() {
        let mut carrier = Carrier::new(true, at(0));
        assert_eq!(carrier.report(at(0)), Some(Report { carrier: true, changes: 0 }));
        assert_eq!(carrier.report(at(100)), None);
        assert_eq!(carrier.due(), None);
    }

    #[test]
    fn a_missing_cable_is_said_when_a_card_should_have_found_it() {
        let mut carrier = Carrier::new(false, at(10));
        assert_eq!(carrier.report(at(13)), None);
        assert_eq!(carrier.due(), Some(at(14)));
        assert_eq!(carrier.report(at(14)), Some(Report { carrier: false, changes: 0 }));
        assert_eq!(carrier.report(at(60)), None);
    }

    #[test]
    fn each_change_of_a_calm_cable_is_said() {
        let mut carrier = Carrier::new(true, at(0));
        carrier.report(at(0));
        for minute in 1..10_u64 {
            let there = minute % 2 == 0;
            carrier.observe(there);
            let report = Report { carrier: there, changes: 1 };
            assert_eq!(carrier.report(at(minute * 180)), Some(report));
        }
    }

    #[test]
    fn a_bounce_within_the_pause_is_counted() {
        let mut carrier = Carrier::new(true, at(0));
        carrier.report(at(0));
        carrier.observe(false);
        assert!(carrier.report(at(5)).is_some());
        carrier.observe(true);
        carrier.observe(false);
        assert_eq!(carrier.report(at(6)), None);
        assert_eq!(carrier.report(at(7)), Some(Report { carrier: false, changes: 2 }));
    }

    proptest! {
        #[test]
        fn flapping_is_said_rarely_and_its_end_is_said(
            gaps in prop::collection::vec(1_u64..3000, 1..400)) {
            let mut carrier = Carrier::new(true, Duration::ZERO);
            let mut now = Duration::ZERO;
            let mut lines = 0;
            let mut last = carrier.report(now);
            let mut state = true;
            for gap in gaps {
                now += Duration::from_millis(gap);
                state = !state;
                carrier.observe(state);
                if let Some(report) = carrier.report(now) {
                    lines += 1;
                    last = Some(report);
                }
            }
            // With doubling pauses the lines grow with the logarithm of the time, and
            // with one more for each of the longest pauses.
            let seconds = now.as_secs() + 1;
            let most = 2 + u64::from(seconds.ilog2()) + seconds / LONGEST_PAUSE.as_secs();
            prop_assert!(lines <= most, "{} lines in {} s", lines, seconds);
            if let Some(due) = carrier.due() {
                last = carrier.report(due.max(now));
            }
            prop_assert_eq!(last.map(|report| report.carrier), Some(state));
        }
    }
}
