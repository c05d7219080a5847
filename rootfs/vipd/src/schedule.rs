//! What is due when: one time for each key, the earliest first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long to wait before what failed is tried again: so long at first, and then twice as long as the
/// last time, up to a bound.
pub fn next_pause(last: Option<Duration>, first: Duration, most: Duration) -> Duration {
    last.map_or(first, |last| last.saturating_mul(2)).min(most)
}

/// Times by key. Setting a key's time replaces its earlier one, so it never grows beyond its keys.
#[derive(Debug, Clone, Default)]
pub struct Schedule<K> {
    by_time: BTreeSet<(Duration, K)>,
    by_key: BTreeMap<K, Duration>,
}

impl<K: Ord + Copy> Schedule<K> {
    pub fn new() -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }

    pub fn set(&mut self, key: K, at: Duration) {
        self.cancel(key);
        self.by_key.insert(key, at);
        self.by_time.insert((at, key));
    }

    pub fn cancel(&mut self, key: K) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    /// The earliest time of all.
    pub fn next(&self) -> Option<Duration> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the earliest key that is due, and the time at which it was.
    pub fn due(&mut self, now: Duration) -> Option<(K, Duration)> {
        let (at, key) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.cancel(key);
        Some((key, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_is_due_first_and_a_new_time_replaces_the_old() {
        let at = Duration::from_secs;
        let mut schedule = Schedule::new();
        schedule.set('a', at(3));
        schedule.set('b', at(2));
        schedule.set('c', at(1));
        schedule.set('c', at(9));
        schedule.cancel('x');
        assert_eq!(schedule.next(), Some(at(2)));
        assert_eq!(schedule.due(at(1)), None);
        assert_eq!(schedule.due(at(5)), Some(('b', at(2))));
        assert_eq!(schedule.due(at(5)), Some(('a', at(3))));
        assert_eq!(schedule.due(at(5)), None);
        schedule.cancel('c');
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn pauses_grow_up_to_their_bound() {
        let at = Duration::from_secs;
        let next = |last: Option<Duration>| next_pause(last, at(1), at(5));
        let pauses = std::iter::successors(Some(next(None)), |last| Some(next(Some(*last))));
        assert_eq!(pauses.take(5).collect::<Vec<_>>(), [1, 2, 4, 5, 5].map(at));
    }
}
