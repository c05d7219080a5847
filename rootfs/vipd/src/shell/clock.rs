//! The two clocks, and the alarm that wakes the loop.
//!
//! Everything is timed by the boot clock, which nobody can set and which counts the time that the
//! machine slept: an Active that was suspended must know that it is late. The time of day is asked
//! for signatures alone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

/// The time since the machine booted.
pub(super) fn boot() -> Duration {
    duration(clock_gettime(ClockId::Boottime))
}

/// The time since 1970.
pub(super) fn wall() -> Duration {
    duration(clock_gettime(ClockId::Realtime))
}

fn duration(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// A descriptor that becomes readable at a time of the boot clock, to the nanosecond.
#[derive(Debug)]
pub(super) struct Alarm {
    descriptor: OwnedFd,
    set: Option<Duration>,
}

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let descriptor = timerfd_create(TimerfdClockId::Boottime, flags)?;
        Ok(Self { descriptor, set: None })
    }

    /// Wakes at this time, or not at all. Setting it also takes back an earlier alarm.
    pub(super) fn set(&mut self, at: Option<Duration>) -> io::Result<()> {
        if self.set == at {
            return Ok(());
        }
        // Zero would switch it off; a time in the past wakes at once.
        let at_least = at.map(|at| at.max(Duration::from_nanos(1)));
        let value = at_least.map_or(Timespec { tv_sec: 0, tv_nsec: 0 }, |at| Timespec {
            tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(at.subsec_nanos()),
        });
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = Itimerspec { it_interval: never, it_value: value };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::ABSTIME, &setting)?;
        self.set = at;
        Ok(())
    }

    /// After it woke the loop: it has to be set anew.
    pub(super) fn rang(&mut self) {
        self.set = None;
        let mut count = [0; 8];
        // Nothing to read means that it was set again in the meantime, which is as good.
        let _ = rustix::io::read(&self.descriptor, &mut count);
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
