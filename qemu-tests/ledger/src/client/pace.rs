//! A steady pace that can be stopped, and numbers that nobody else uses.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tells all workers that it is over.
#[derive(Debug, Default)]
pub(super) struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(super) fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits until a time; says whether to go on.
    pub(super) fn wait_until(&self, time: Instant) -> bool {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = time.saturating_duration_since(Instant::now());
            if *stopped || left.is_zero() {
                return !*stopped;
            }
            let waited = self.changed.wait_timeout(stopped, left);
            stopped = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// When a worker acts: at its own places in time, which it never makes up for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    next: Instant,
    period: Duration,
}

impl Pace {
    /// The pace of one of several workers who take turns, so that one of them acts `every` so
    /// often.
    pub(super) fn of_worker(start: Instant, every: Duration, worker: u32, workers: u32) -> Self {
        Self { next: start + every * worker, period: every * workers.max(1) }
    }

    /// The next time to act, which is not in the past.
    pub(super) fn next(&mut self, now: Instant) -> Instant {
        while self.next < now {
            self.next += self.period;
        }
        let next = self.next;
        self.next += self.period;
        next
    }
}

/// Numbers of processes and values.
#[derive(Debug)]
pub(super) struct Numbers {
    processes: AtomicU32,
    values: AtomicU64,
}

impl Numbers {
    /// Numbers from the one after this on.
    pub(super) fn after(last: u32) -> Self {
        Self { processes: AtomicU32::new(last), values: AtomicU64::new(last.into()) }
    }

    pub(super) fn process(&self) -> u32 {
        self.processes.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_take_turns_and_make_up_for_nothing() {
        let (start, every) = (Instant::now(), Duration::from_millis(50));
        let mut pace = Pace::of_worker(start, every, 1, 4);
        assert_eq!(pace.next(start), start + every);
        assert_eq!(pace.next(start + every), start + every * 5);
        let late = start + every * 5 + Duration::from_secs(2);
        let next = pace.next(late);
        assert!(next >= late && next < late + every * 4);
        assert_eq!(next.duration_since(start + every).as_millis() % 200, 0, "still at its places");
    }

    #[test]
    fn later_numbers_are_none_of_the_earlier_ones() {
        let (first, later) = (Numbers::after(0), Numbers::after(7));
        assert_eq!((first.process(), first.value()), (0, 1));
        assert_eq!((later.process(), later.value()), (7, 8));
    }

    #[test]
    fn a_stop_ends_every_wait() {
        let stop = Stop::default();
        assert!(stop.wait_until(Instant::now() + Duration::from_millis(1)));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| stop.wait_until(Instant::now() + Duration::from_mins(1)));
            stop.stop();
            assert!(!waiting.join().unwrap());
        });
    }
}
