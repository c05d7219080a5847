//! The pause before a service is started again: it doubles with each quick failure, up to a
//! longest, and starts over after a run that was good for long enough. There is no jitter: the
//! services of one node don't compete for anything that would need it, and equal histories give
//! equal pauses.

use std::time::Duration;

use seed::manifest::Restart;

/// No pause is shorter, whatever the service says: a process that dies at once and is started ten
/// times a second costs a few percent of one processor, and a hundred times would cost the node.
pub const SHORTEST_DELAY: Duration = Duration::from_millis(100);

/// A run that was ready for this long counts as good. It is longer than what a service that limps
/// (ready, crash, ready, crash) usually lasts, so limping doesn't reset the pause.
pub const STABLE_RUN: Duration = Duration::from_mins(1);

/// How many quick failures there were since the last good run.
#[derive(Clone, Debug, Default)]
pub(crate) struct BackOff {
    failures: u32,
}

impl BackOff {
    /// The pause after one more failure of a run that was ready for `ready_for`.
    pub(crate) fn next(&mut self, restart: &Restart, ready_for: Option<Duration>) -> Duration {
        if ready_for.is_some_and(|time| time >= STABLE_RUN) {
            self.failures = 0;
        }
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        // Nothing doubled is nothing: also a first pause of zero must grow.
        let first = restart.first_delay.duration().max(SHORTEST_DELAY);
        let doubled = first.saturating_mul(factor);
        doubled.min(restart.longest_delay.duration()).max(SHORTEST_DELAY)
    }

    pub(crate) fn forget(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use seed::manifest::RestartPolicy;
    use seed::scalar::DurationText;

    use super::*;

    fn restart(first: u64, longest: u64) -> Restart {
        Restart {
            policy: RestartPolicy::Always,
            first_delay: DurationText::from_milliseconds(first),
            longest_delay: DurationText::from_milliseconds(longest),
        }
    }

    fn pauses(restart: &Restart, count: usize) -> Vec<u128> {
        let mut backoff = BackOff::default();
        (0..count).map(|_| backoff.next(restart, None).as_millis()).collect()
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let expected = [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000];
        assert_eq!(pauses(&restart(200, 30_000), 10), expected);
        assert_eq!(pauses(&restart(200, 30_000), 100).last(), Some(&30_000));
    }

    #[test]
    fn no_pause_is_shorter_than_the_shortest() {
        assert_eq!(pauses(&restart(0, 0), 40), [100; 40]);
        assert_eq!(pauses(&restart(0, 3000), 7), [100, 200, 400, 800, 1600, 3000, 3000]);
    }

    #[test]
    fn only_a_long_good_run_starts_over() {
        let restart = restart(200, 30_000);
        let mut backoff = BackOff::default();
        backoff.next(&restart, None);
        let almost = STABLE_RUN.saturating_sub(Duration::from_millis(1));
        assert_eq!(backoff.next(&restart, Some(almost)).as_millis(), 400);
        assert_eq!(backoff.next(&restart, Some(STABLE_RUN)).as_millis(), 200);
    }
}
