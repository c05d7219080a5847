//! Giving the kernel random bytes from an earlier run, and having them count.
//!
//! Writing to `/dev/urandom` mixes bytes in but counts them for nothing, so a node without any other
//! source would still wait. Only this ioctl credits them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What the kernel's generator is seeded with, and all that it can make use of.
pub const SEED_BYTES: usize = 32;
/// `_IOW('R', 0x03, int[2])`.
const RNDADDENTROPY: libc::c_ulong = 0x4008_5203;

/// `struct rand_pool_info` with its bytes behind it.
#[repr(C)]
struct Pool {
    entropy_bits: libc::c_int,
    length: libc::c_int,
    bytes: [u8; SEED_BYTES],
}

/// Mixes `seed` in and counts every bit of it; `random` is an open `/dev/random`. Only bytes that
/// nobody else has and that never served before may be given here.
pub fn credit(random: BorrowedFd<'_>, seed: &[u8; SEED_BYTES]) -> io::Result<()> {
    let length = libc::c_int::try_from(SEED_BYTES).unwrap_or(0);
    let pool = Pool { entropy_bits: 8 * length, length, bytes: *seed };
    // SAFETY: `RNDADDENTROPY` reads two integers and `length` bytes behind them, all of which `pool`
    // has; it outlives the call.
    let result = unsafe { libc::ioctl(random.as_raw_fd(), RNDADDENTROPY, &raw const pool) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::mem::size_of;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_structure_has_the_size_of_the_kernel_interface() {
        assert_eq!(size_of::<Pool>(), 8 + SEED_BYTES);
    }

    #[test]
    fn another_device_refuses() {
        let file = File::open("/dev/null").expect("open");
        assert!(credit(file.as_fd(), &[0; SEED_BYTES]).is_err());
    }
}
