//! Who feeds the hardware watchdog, and when not.
//!
//! The device is opened once the boot is over, since a phase such as the check of a filesystem may
//! take longer than its timeout. From then on it is fed once a second while the supervisor says
//! that all who must be alive are; else the console says because of whom it isn't fed any more, and
//! the machine is reset, which is the last fence.

use std::path::Path;
use std::time::Duration;

use sys::watchdog::Watchdog;

use crate::say;

const DEVICE: &str = "/dev/watchdog0";

/// The device's timeout: long enough for a loop that is starved by a machine busy beyond measure,
/// short enough that a peer which waits for this node's end needn't wait a minute.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Time between two meals; also between two looks for a device whose driver comes late.
const INTERVAL: Duration = Duration::from_secs(1);

/// Time between two tries to open a device that is there and can't be opened: somebody may have it,
/// or its driver isn't done with it. Short enough to be forgotten soon, long enough for a console.
const OPEN_AGAIN: Duration = Duration::from_secs(30);

/// The watchdog, if the machine has one.
#[derive(Debug, Default)]
pub(crate) struct Feeder {
    device: Option<Watchdog>,
    fed_at: Duration,
    /// Because of whom it isn't fed, as the console said.
    stale: Option<String>,
    failing: bool,
    /// No other try to open it before.
    open_from: Duration,
}

impl Feeder {
    /// Opens the device if it has come, and feeds it if it may be fed: `stale` says because of whom
    /// not.
    pub(crate) fn tend(&mut self, now: Duration, stale: Option<String>) {
        if now.saturating_sub(self.fed_at) < INTERVAL {
            return;
        }
        self.fed_at = now;
        if self.device.is_none() {
            self.open(now);
        }
        let Some(device) = &self.device else { return };
        match (&stale, &self.stale) {
            (None, Some(_)) => say!("watchdog: fed again"),
            (Some(names), told) if Some(names) != told.as_ref() => {
                let seconds = device.timeout().as_secs();
                say!("watchdog: not fed because of {names}; it resets the machine in {seconds} s");
            }
            _ => {}
        }
        if stale.is_none() {
            let fed = device.feed();
            if let Err(error) = &fed
                && !self.failing
            {
                say!("watchdog: can't be fed: {error}");
            }
            self.failing = fed.is_err();
        }
        self.stale = stale;
    }

    /// What it is and whether it is fed, for `nodectl`.
    pub(crate) fn status(&self) -> control::Watchdog {
        let device = self.device.as_ref().map(|device| device.name().to_owned());
        let fed = device.is_some() && self.stale.is_none() && !self.failing;
        let stale = self.stale.as_ref().map(|names| format!("{names} did not say it is alive"));
        let failing = self.failing.then(|| "the device can't be opened or fed".to_owned());
        control::Watchdog { device, fed, because: stale.or(failing) }
    }

    /// Lets it go before the machine is switched off, lest it start it again.
    pub(crate) fn stop(&mut self) {
        if let Some(device) = self.device.take() {
            match device.stop() {
                Ok(true) => {}
                Ok(false) => say!("watchdog: this one can't be stopped"),
                Err(error) => say!("watchdog: can't be stopped: {error}"),
            }
        }
    }

    fn open(&mut self, now: Duration) {
        // A test must never arm the watchdog of the machine that it runs on.
        if std::process::id() != 1 {
            return;
        }
        let path = Path::new(DEVICE);
        // Most machines have it from the start, some never; neither is worth a line each second.
        if !path.exists() || now < self.open_from {
            return;
        }
        match Watchdog::open(path, TIMEOUT) {
            Ok(device) => {
                say!("watchdog: {}, {} s", device.name(), device.timeout().as_secs());
                self.device = Some(device);
                self.failing = false;
            }
            Err(error) => {
                if !self.failing {
                    say!("watchdog: {DEVICE}: {error}; tried again from time to time");
                }
                self.failing = true;
                self.open_from = now.saturating_add(OPEN_AGAIN);
            }
        }
    }
}
