//! How much a source may say: a bucket that fills with time and is emptied by lines.

use std::time::Duration;

/// Bytes per second of one source that are kept for long. A healthy service says a few hundred; the
/// state partition of a small machine takes this much from some services at once without wear.
pub const KEEP_RATE: u64 = 64 * 1024;

/// Bytes that a source may say at once. Kubernetes starts with some hundred kilobytes.
pub const KEEP_BURST: u64 = 512 * 1024;

/// What a line costs beyond its bytes: numbers, time, and the work of whoever reads it.
pub const LINE_COST: u64 = 32;

/// Bytes per second of one source that are read at all. Looking for line ends in this much takes
/// PID 1 about a hundredth of its time.
pub const READ_RATE: u64 = 8 * 1024 * 1024;

/// Bytes that are read at once: many full pipes, so that only an endless writer ever waits.
pub const READ_BURST: u64 = 4 * 1024 * 1024;

const NANOS: u128 = 1_000_000_000;

/// A bucket of bytes that fills at a rate up to a burst.
#[derive(Clone, Debug)]
pub(crate) struct Allowance {
    level: u64,
    rate: u64,
    burst: u64,
    /// The time up to which the bucket was filled.
    at: Duration,
}

impl Allowance {
    pub(crate) fn full(rate: u64, burst: u64) -> Self {
        Self { level: burst, rate: rate.max(1), burst, at: Duration::ZERO }
    }

    /// Lets time pass. Time that runs backwards adds nothing.
    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_nanos();
        let added = passed.saturating_mul(u128::from(self.rate)) / NANOS;
        let missing = self.burst.saturating_sub(self.level);
        match u64::try_from(added) {
            Ok(added) if added < missing => {
                self.level = self.level.saturating_add(added);
                // The rest, too short for one byte, stays for the next call, else frequent calls
                // add nothing.
                let used = u128::from(added).saturating_mul(NANOS) / u128::from(self.rate);
                let used = u64::try_from(used).unwrap_or(u64::MAX);
                self.at = self.at.saturating_add(Duration::from_nanos(used));
            }
            _ => {
                self.level = self.burst;
                self.at = self.at.max(now);
            }
        }
    }

    /// Takes `bytes` if they are there.
    pub(crate) fn take(&mut self, now: Duration, bytes: u64) -> bool {
        self.fill(now);
        let rest = self.level.checked_sub(bytes);
        self.level = rest.unwrap_or(self.level);
        rest.is_some()
    }

    /// Takes as much of `bytes` as is there.
    pub(crate) fn drain(&mut self, now: Duration, bytes: u64) {
        self.fill(now);
        self.level = self.level.saturating_sub(bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.level == 0
    }

    /// When the bucket has a quarter of its burst again, if it has less. Who waits for so much
    /// doesn't come back for every single line.
    pub(crate) fn recovered_at(&self) -> Option<Duration> {
        let missing = (self.burst / 4).checked_sub(self.level).filter(|missing| *missing > 0)?;
        let nanos = u128::from(missing).saturating_mul(NANOS) / u128::from(self.rate);
        // One more: a division that cuts must not give a time at which a byte is still missing.
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX).saturating_add(1);
        Some(self.at.saturating_add(Duration::from_nanos(nanos)))
    }

    /// Whether the bucket has a quarter of its burst now.
    pub(crate) fn has_recovered(&mut self, now: Duration) -> bool {
        self.fill(now);
        self.recovered_at().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Allowance::full(10, 100);
        assert!(bucket.take(Duration::ZERO, 100));
        assert!(!bucket.take(Duration::ZERO, 1));
        assert!(bucket.take(SECOND, 10));
        assert!(!bucket.take(SECOND, 1));
    }

    #[test]
    fn moments_too_short_for_a_byte_add_up() {
        let mut bucket = Allowance::full(10, 100);
        assert!(bucket.take(Duration::ZERO, 100));
        for step in 1..=1000 {
            bucket.fill(Duration::from_millis(step));
        }
        assert!(bucket.take(SECOND, 10));
    }

    #[test]
    fn it_recovers_when_it_says() {
        let mut bucket = Allowance::full(7, 100);
        bucket.drain(Duration::ZERO, 1000);
        let when = bucket.recovered_at().expect("empty");
        assert!(!bucket.has_recovered(when.saturating_sub(Duration::from_millis(2))));
        assert!(bucket.has_recovered(when));
    }

    #[test]
    fn time_that_runs_backwards_adds_nothing() {
        let mut bucket = Allowance::full(10, 100);
        bucket.drain(SECOND * 10, 1000);
        assert!(!bucket.take(SECOND, 1));
    }
}
