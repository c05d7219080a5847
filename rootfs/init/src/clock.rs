//! The one clock of PID 1: time since the kernel's start, as on its own console lines. It never
//! jumps, whatever becomes of the time of day.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The time since the kernel's start.
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    // The clock counts from zero upwards, so neither part can be negative.
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanoseconds)
}
