//! Token buckets: so many at once, then one each time some time has passed.

use std::time::Duration;

/// What a bucket holds, and how fast it fills.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// So many at once.
    pub burst: u32,
    /// Then one each time this much has passed.
    pub every: Duration,
}

/// A token bucket, kept as the time at which it will be full again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    full_at: Duration,
}

impl Bucket {
    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, rate: Rate, now: Duration) -> bool {
        let from = self.full_at.max(now);
        let room = rate.every.saturating_mul(rate.burst.saturating_sub(1));
        if from.saturating_sub(now) > room {
            return false;
        }
        self.full_at = from.saturating_add(rate.every);
        true
    }

    pub(crate) fn give_back(&mut self, rate: Rate) {
        self.full_at = self.full_at.saturating_sub(rate.every);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Over any stretch of time, a bucket gives no more than its burst and its rate.
        #[test]
        fn a_bucket_never_gives_too_much(steps in prop::collection::vec(0_u64..4000, 1..200)) {
            let rate = Rate { burst: 5, every: Duration::from_millis(700) };
            let mut bucket = Bucket::default();
            let mut now = Duration::from_secs(100);
            let mut given = Vec::new();
            for step in steps {
                now += Duration::from_millis(step);
                if bucket.take(rate, now) {
                    given.push(now);
                }
            }
            for (first, start) in given.iter().enumerate() {
                for (last, end) in given.iter().enumerate().skip(first) {
                    let count = u128::try_from(last - first + 1).unwrap();
                    let span = end.saturating_sub(*start);
                    let allowed = 5 + span.as_nanos() / rate.every.as_nanos();
                    prop_assert!(count <= allowed, "{} in {:?}", count, span);
                }
            }
        }
    }
}
