//! The end of a run: what asks for it, and how it is done.
//!
//! ```text
//!   power button, SIGTERM, SIGUSR2 ──> power off ┐
//!   Ctrl-Alt-Del (SIGINT), SIGUSR1 ──> restart   ┴─> services stop ─> finish ─> reboot(2)
//! ```
//! The button is an input device that reports one key; PID 1 reads it like any other input.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::process::Signal;
use rustix::system::RebootCommand;
use thiserror::Error;

use crate::console;
use crate::say;

/// How long a slow console may take for the last line.
const CONSOLE_LIMIT: Duration = Duration::from_secs(1);

/// `struct input_event` of 64-bit kernels: time (16 bytes), type, code, value.
const INPUT_EVENT_BYTES: usize = 24;
const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;
const KEY_PRESSED: i32 = 1;

#[derive(Debug, Error)]
#[error("can't {action}: {source}")]
pub(crate) struct PowerError {
    action: &'static str,
    source: io::Error,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    PowerOff,
    Restart,
}

/// The signals by which the kernel and the operator ask PID 1 for an ending.
pub(crate) const SIGNALS: &[Signal] =
    &[Signal::INT, Signal::TERM, Signal::USR1, Signal::USR2, Signal::CHILD];

impl Ending {
    /// What a signal asks for, if anything.
    pub(crate) fn asked_by(signal: Signal) -> Option<Self> {
        match signal {
            Signal::TERM | Signal::USR2 => Some(Self::PowerOff),
            Signal::INT | Signal::USR1 => Some(Self::Restart),
            _ => None,
        }
    }

    /// For the console.
    pub fn words(self) -> &'static str {
        match self {
            Self::PowerOff => "power off",
            Self::Restart => "restart",
        }
    }
}

/// Lets Ctrl-Alt-Del reach us as a signal instead of resetting the machine at once.
pub(crate) fn take_over_keystroke() -> Result<(), PowerError> {
    rustix::system::reboot(RebootCommand::CadOff)
        .map_err(|errno| PowerError { action: "take over Ctrl-Alt-Del", source: errno.into() })
}

/// The power buttons of the machine.
#[derive(Debug, Default)]
pub(crate) struct Buttons {
    devices: Vec<File>,
}

/// Key events that are read in one turn from one device.
const EVENTS_PER_TURN: usize = 64;

impl Buttons {
    /// Opens every input device that reports the power key.
    pub(crate) fn open(class: &Path, devices: &Path) -> Self {
        let mut found = Self::default();
        let Ok(entries) = fs::read_dir(class) else { return found };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if !name.to_string_lossy().starts_with("event") {
                continue;
            }
            let keys = entry.path().join("device/capabilities/key");
            if !fs::read_to_string(keys).is_ok_and(|keys| reports_power_key(&keys)) {
                continue;
            }
            if let Ok(device) = open_without_blocking(&devices.join(&name)) {
                found.devices.push(device);
            }
        }
        found
    }

    /// For the poll loop.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.devices.iter().map(AsFd::as_fd)
    }

    /// Reads what is pending; true when the key went down.
    pub(crate) fn pressed(&mut self) -> bool {
        let mut pressed = false;
        // One that was unplugged would be ready for ever, with nothing but an error to read.
        self.devices.retain_mut(|device| read_presses(device, &mut pressed));
        pressed
    }
}

/// Reads what is pending of one device; whether it is still there.
fn read_presses(device: &mut impl Read, pressed: &mut bool) -> bool {
    let mut event = [0; INPUT_EVENT_BYTES];
    for _ in 0..EVENTS_PER_TURN {
        match device.read_exact(&mut event) {
            Ok(()) => *pressed |= is_power_press(&event),
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    true
}

fn open_without_blocking(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// The capability file lists 64-bit words in hexadecimal, the most significant first.
fn reports_power_key(capabilities: &str) -> bool {
    let word = usize::from(KEY_POWER / 64);
    let bit = KEY_POWER % 64;
    capabilities
        .split_whitespace()
        .rev()
        .nth(word)
        .and_then(|text| u64::from_str_radix(text, 16).ok())
        .is_some_and(|bits| bits >> bit & 1 == 1)
}

fn is_power_press(event: &[u8; INPUT_EVENT_BYTES]) -> bool {
    let kind = u16::from_ne_bytes([event[16], event[17]]);
    let code = u16::from_ne_bytes([event[18], event[19]]);
    let value = i32::from_ne_bytes([event[20], event[21], event[22], event[23]]);
    (kind, code, value) == (EV_KEY, KEY_POWER, KEY_PRESSED)
}

/// Ends the run. Returns only when the kernel refuses, which leaves nothing else to try.
pub(crate) fn end(ending: Ending) -> PowerError {
    let (command, said) = match ending {
        Ending::PowerOff => (RebootCommand::PowerOff, "powering off"),
        Ending::Restart => (RebootCommand::Restart, "restarting"),
    };
    say!("{said}");
    console::drain(CONSOLE_LIMIT);
    let action = ending.words();
    match rustix::system::reboot(command) {
        Ok(()) => PowerError { action, source: io::Error::other("the kernel came back") },
        Err(errno) => PowerError { action, source: errno.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_power_key_is_found_in_a_capability_file() {
        assert!(reports_power_key("10000000000000 0\n"));
        assert!(!reports_power_key("0 10000000000000\n"));
        assert!(!reports_power_key("not hexadecimal"));
        assert!(!reports_power_key(""));
    }

    #[test]
    fn only_the_press_counts_not_the_release() {
        let mut event = [0; INPUT_EVENT_BYTES];
        event[16] = 1;
        event[18] = 116;
        assert!(!is_power_press(&event));
        event[20] = 1;
        assert!(is_power_press(&event));
    }

    #[test]
    fn a_device_that_is_gone_is_forgotten() {
        let mut press = [0; INPUT_EVENT_BYTES];
        (press[16], press[18], press[20]) = (1, 116, 1);
        let mut pressed = false;
        // It ends after one event, which an input device that is there never does.
        assert!(!read_presses(&mut &press[..], &mut pressed));
        assert!(pressed);
    }

    #[test]
    fn every_signal_that_we_read_has_a_meaning_or_is_about_children() {
        for signal in SIGNALS {
            assert!(Ending::asked_by(*signal).is_some() || *signal == Signal::CHILD);
        }
    }
}
