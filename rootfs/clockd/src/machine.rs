//! The machine's clocks as one thing, so that tests can have a machine of their own.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::rand::{GetRandomFlags, getrandom};
use sys::clock::{self, ClockError, Ppb};

use crate::ntp::{Moment, Nanos};

/// What the shell needs of a machine.
pub trait Machine {
    /// All clocks at once.
    fn moment(&mut self) -> Moment;
    /// A number that nobody can guess.
    fn cookie(&mut self) -> io::Result<u64>;
    fn step(&mut self, by: Nanos) -> Result<(), ClockError>;
    fn slew(&mut self, by: Nanos) -> Result<(), ClockError>;
    fn tune(&mut self, parts_per_billion: i64) -> Result<(), ClockError>;
    fn declare(&mut self, error: Nanos) -> Result<(), ClockError>;
    /// Sets the battery-backed clock to the wall clock.
    fn set_battery(&mut self) -> Result<(), ClockError>;
}

/// The machine that we run on.
#[derive(Clone, Debug)]
pub struct Host {
    /// The battery-backed clock's device.
    pub battery: PathBuf,
}

impl Machine for Host {
    fn moment(&mut self) -> Moment {
        // The wall clock is read between two readings of the other, whose middle it belongs to.
        let (before, wall, after) = (clock::raw(), clock::wall(), clock::raw());
        let middle = before.saturating_add(after.saturating_sub(before) / 2);
        Moment { boot: clock::boot(), raw: nanos(middle), wall: nanos(wall) }
    }

    fn cookie(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        // So few bytes come at once or not at all.
        let count = getrandom(&mut bytes, GetRandomFlags::empty())?;
        if count < bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(u64::from_ne_bytes(bytes))
    }

    fn step(&mut self, by: Nanos) -> Result<(), ClockError> {
        clock::step(by)
    }

    fn slew(&mut self, by: Nanos) -> Result<(), ClockError> {
        clock::slew(by / 1000)
    }

    fn tune(&mut self, parts_per_billion: i64) -> Result<(), ClockError> {
        clock::set_frequency(Ppb(parts_per_billion))
    }

    fn declare(&mut self, error: Nanos) -> Result<(), ClockError> {
        clock::declare_synchronised(error / 1000)
    }

    fn set_battery(&mut self) -> Result<(), ClockError> {
        clock::set_battery_clock(&self.battery, clock::wall().as_secs())
    }
}

fn nanos(time: Duration) -> Nanos {
    Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX)
}
