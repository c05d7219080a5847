//! Everything that the agent has to say goes to the console, one line at a time.
//!
//! There may be nobody there and no console at all, so saying something never fails and never
//! waits: a serial line whose other side holds it must not hold PID 1. What the console doesn't
//! take at once waits in a bounded buffer; beyond it whole lines are dropped and counted, and the
//! count is said once there is room. Lines carry the kernel's clock in the kernel's own format.
//!
//! What was said is also kept for the journal, which takes it once it exists.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use crate::clock;

const CONSOLE: &str = "/dev/console";

/// What may wait for the console: at 115200 baud it is gone in six seconds.
const WAITING_MAX_BYTES: usize = 64 * 1024;

/// Lines that may wait for the journal. A boot says some thirty before the journal exists.
const UNRECORDED_MAX: usize = 256;

static OURS: Mutex<Console> = Mutex::new(Console::new());

/// The console and what waits for it.
#[derive(Debug)]
struct Console {
    device: Option<File>,
    waiting: VecDeque<u8>,
    dropped: u64,
    unrecorded: VecDeque<(Duration, String)>,
}

/// Writes one line; prefer [`say!`](crate::say).
pub fn line(message: fmt::Arguments<'_>) {
    let (now, text) = (clock::now(), message.to_string());
    let mut console = ours();
    console.add(&format!("{} edgepair: {text}\r\n", stamp(now)));
    // What comes too early and too much for the journal was at least on the console.
    if console.unrecorded.len() < UNRECORDED_MAX {
        console.unrecorded.push_back((now, text));
    }
}

/// Writes one line about a service, whose own journal has it already.
pub(crate) fn line_about(service: &str, text: &str) {
    ours().add(&format!("{} edgepair: {service}: {text}\r\n", stamp(clock::now())));
}

/// Writes a line that has its clock and its source already.
pub(crate) fn relay(shown: fmt::Arguments<'_>) {
    ours().add(&format!("{shown}\r\n"));
}

/// Says one line on the console, with `format!`'s syntax.
#[macro_export]
macro_rules! say {
    ($($message:tt)*) => { $crate::console::line(format_args!($($message)*)) };
}

/// Tries again to write what waits; whether some of it still does.
pub(crate) fn flush() -> bool {
    ours().flush()
}

/// Gives the console this much time for what waits, before the machine is gone.
pub(crate) fn drain(limit: Duration) {
    let until = clock::now().saturating_add(limit);
    while flush() && clock::now() < until {
        let left = until.saturating_sub(clock::now());
        let Some(device) = writable() else { return };
        let mut polls = [PollFd::from_borrowed_fd(device.as_fd(), PollFlags::OUT)];
        if poll(&mut polls, Timespec::try_from(left).ok().as_ref()).is_err() {
            return;
        }
    }
}

/// The console, if something waits for it to become writable.
pub(crate) fn writable() -> Option<File> {
    let console = ours();
    let device = console.device.as_ref().filter(|_| !console.waiting.is_empty())?;
    device.try_clone().ok()
}

/// The oldest line that the journal hasn't taken.
pub(crate) fn take_unrecorded() -> Option<(Duration, String)> {
    ours().unrecorded.pop_front()
}

fn ours() -> MutexGuard<'static, Console> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kernel's own format.
fn stamp(now: Duration) -> String {
    format!("[{:5}.{:06}]", now.as_secs(), now.subsec_micros())
}

impl Console {
    const fn new() -> Self {
        Self { device: None, waiting: VecDeque::new(), dropped: 0, unrecorded: VecDeque::new() }
    }

    fn add(&mut self, line: &str) {
        if self.waiting.len().saturating_add(line.len()) > WAITING_MAX_BYTES {
            self.dropped = self.dropped.saturating_add(1);
        } else {
            self.waiting.extend(line.as_bytes());
        }
        self.flush();
    }

    fn flush(&mut self) -> bool {
        if self.device.is_none() {
            // A test that isn't PID 1 talks to whoever runs it, and not to the machine's console.
            let path = if std::process::id() == 1 { CONSOLE } else { "/proc/self/fd/2" };
            self.device = open(path).ok();
        }
        let Some(device) = &mut self.device else {
            // A machine without a console leaves nobody to tell.
            self.waiting.clear();
            return false;
        };
        if write_waiting(device, &mut self.waiting).is_err() {
            // It was unplugged, perhaps; the next line opens it anew.
            self.device = None;
            self.waiting.clear();
        }
        if self.waiting.is_empty() && self.dropped > 0 {
            let lines = std::mem::take(&mut self.dropped);
            let remark = "lines were dropped: the console doesn't take them";
            let remark = format!("{} edgepair: {lines} {remark}\r\n", stamp(clock::now()));
            self.waiting.extend(remark.as_bytes());
        }
        !self.waiting.is_empty()
    }
}

fn open(path: &str) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC).bits().cast_signed();
    OpenOptions::new().write(true).custom_flags(flags).open(path)
}

/// Writes as much as is taken at once; an error means that nothing ever will be.
fn write_waiting(device: &mut impl Write, waiting: &mut VecDeque<u8>) -> io::Result<()> {
    while !waiting.is_empty() {
        let (front, _) = waiting.as_slices();
        match device.write(front) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => drop(waiting.drain(..count.min(front.len()))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A console that takes so many bytes and then blocks.
    struct Narrow(usize, Vec<u8>);

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.0);
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.0 -= count;
            self.1.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_console_does_not_take_waits_in_order() {
        let mut waiting: VecDeque<u8> = b"one two three".iter().copied().collect();
        let mut narrow = Narrow(5, Vec::new());
        write_waiting(&mut narrow, &mut waiting).expect("no error");
        assert_eq!(narrow.1, b"one t");
        narrow.0 = 100;
        write_waiting(&mut narrow, &mut waiting).expect("no error");
        assert_eq!(narrow.1, b"one two three");
    }

    #[test]
    fn the_clock_is_in_the_kernels_format() {
        assert_eq!(stamp(Duration::from_micros(7_512_345)), "[    7.512345]");
        assert_eq!(stamp(Duration::from_secs(123_456)), "[123456.000000]");
    }
}
