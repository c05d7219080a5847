//! How late the desk is: a thread that wants to wake up often, and notes when it could not.
//!
//! A guest's processor is a thread of the desk. When the desk is too busy to wake this one in time,
//! it was too busy for a guest as well, and what a guest did late then says nothing about it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_millis(5);
/// Smaller lags are every desk's.
const WORTH_NOTING: Duration = Duration::from_millis(5);

/// A time at which the desk was late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// When it woke, since the run's beginning.
    pub at: Duration,
    pub by: Duration,
}

/// Measures until it is dropped.
#[derive(Debug)]
pub struct LagMeter {
    lags: Arc<Mutex<Vec<Lag>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LagMeter {
    pub fn start(origin: Instant) -> Self {
        let lags = Arc::<Mutex<Vec<Lag>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let (of_thread, ended) = (Arc::clone(&lags), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let before = Instant::now();
                thread::sleep(PERIOD);
                let by = before.elapsed().saturating_sub(PERIOD);
                if by >= WORTH_NOTING {
                    let lag = Lag { at: origin.elapsed(), by };
                    of_thread.lock().unwrap_or_else(PoisonError::into_inner).push(lag);
                }
            }
        });
        Self { lags, stop, thread: Some(thread) }
    }

    /// The worst lag since a time.
    pub fn worst_since(&self, time: Duration) -> Duration {
        let lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        let new = lags.iter().filter(|lag| lag.at >= time);
        new.map(|lag| lag.by).max().unwrap_or_default()
    }
}

impl Drop for LagMeter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
