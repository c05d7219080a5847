//! Signals as a file descriptor.
//!
//! PID 1 must not run code in a signal handler: whatever a handler does can interrupt whatever
//! PID 1 was doing. The signals are blocked instead and read like any other input of the loop.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::Signal;

/// A non-blocking descriptor that becomes readable when one of its signals is pending.
#[derive(Debug)]
pub struct SignalFd {
    descriptor: OwnedFd,
}

impl SignalFd {
    /// Blocks `signals` for this process and reads them here from now on.
    pub fn new(signals: &[Signal]) -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `sigemptyset` initialises the set that it is given and can't fail.
        let mut set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            set.assume_init()
        };
        for signal in signals {
            // SAFETY: `set` is initialised; the number is a signal's, so the call can't fail.
            unsafe { libc::sigaddset(&raw mut set, signal.as_raw()) };
        }
        // SAFETY: `set` is initialised and outlives the call; a null old set is allowed.
        let blocked =
            unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if blocked != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `set` is initialised and outlives the call; -1 asks for a new descriptor.
        let raw =
            unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor and nobody else owns it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(raw) };
        Ok(Self { descriptor })
    }

    /// The next pending signal, or none when all were read.
    pub fn next(&self) -> io::Result<Option<Signal>> {
        let mut record = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        let raw = self.descriptor.as_raw_fd();
        // SAFETY: the buffer is exactly `size` bytes of writable memory.
        let count = unsafe { libc::read(raw, record.as_mut_ptr().cast(), size) };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
        }
        if usize::try_from(count) != Ok(size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // SAFETY: the kernel filled the whole record, as checked just above.
        let record = unsafe { record.assume_init() };
        Ok(i32::try_from(record.ssi_signo).ok().and_then(Signal::from_named_raw))
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_is_read_once() {
        let signals = SignalFd::new(&[Signal::USR1]).expect("signalfd");
        assert_eq!(signals.next().expect("nothing yet"), None);
        // The signal must go to this very thread: others of the test runner don't block it.
        // SAFETY: raising a signal that this thread blocks only marks it pending.
        unsafe { libc::raise(libc::SIGUSR1) };
        assert_eq!(signals.next().expect("one"), Some(Signal::USR1));
        assert_eq!(signals.next().expect("no more"), None);
    }
}
