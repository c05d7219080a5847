//! The watchdog device: once opened it resets the machine unless it is fed in time.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

/// `struct watchdog_info` of the kernel's interface.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    options: u32,
    firmware_version: u32,
    identity: [u8; 32],
}

/// `_IOR('W', 0, struct watchdog_info)`.
const GET_SUPPORT: libc::c_ulong = 0x8028_5700;
/// `_IOR('W', 5, int)`.
const KEEP_ALIVE: libc::c_ulong = 0x8004_5705;
/// `_IOWR('W', 6, int)`.
const SET_TIMEOUT: libc::c_ulong = 0xc004_5706;
const MAGIC_CLOSE: u32 = 0x0100;

/// An open watchdog. Dropping it does not stop it: only [`Watchdog::stop`] does.
#[derive(Debug)]
pub struct Watchdog {
    device: File,
    info: Option<(String, bool)>,
    timeout: Duration,
}

impl Watchdog {
    /// Opens the device, which starts it, and asks for a timeout; the driver may choose another.
    pub fn open(path: &Path, timeout: Duration) -> io::Result<Self> {
        let device = OpenOptions::new().write(true).open(path)?;
        let mut info = Info { options: 0, firmware_version: 0, identity: [0; 32] };
        // SAFETY: the call writes one `watchdog_info`, which `info` is.
        let known = unsafe { libc::ioctl(device.as_raw_fd(), GET_SUPPORT, &raw mut info) } == 0;
        let mut seconds = libc::c_int::try_from(timeout.as_secs()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the call reads and writes one integer.
        let set = unsafe { libc::ioctl(device.as_raw_fd(), SET_TIMEOUT, &raw mut seconds) } == 0;
        let timeout =
            if set { Duration::from_secs(u64::from(seconds.unsigned_abs())) } else { timeout };
        let name = || {
            let end = info.identity.iter().position(|byte| *byte == 0).unwrap_or(32);
            String::from_utf8_lossy(&info.identity[..end]).into_owned()
        };
        let info = known.then(|| (name(), info.options & MAGIC_CLOSE != 0));
        Ok(Self { device, info, timeout })
    }

    /// What the driver calls itself.
    pub fn name(&self) -> &str {
        self.info.as_ref().map_or("unknown", |(name, _)| name)
    }

    /// How long it waits to be fed.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Feeds it.
    pub fn feed(&self) -> io::Result<()> {
        let mut unused: libc::c_int = 0;
        // SAFETY: the call writes at most one integer.
        let fed = unsafe { libc::ioctl(self.device.as_raw_fd(), KEEP_ALIVE, &raw mut unused) };
        if fed < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Stops it, if the driver can: a watchdog that runs on would start a machine that was switched
    /// off. Says whether the driver can.
    pub fn stop(mut self) -> io::Result<bool> {
        let can = self.info.as_ref().is_some_and(|(_, magic_close)| *magic_close);
        if can {
            self.device.write_all(b"V")?;
        }
        Ok(can)
    }
}
