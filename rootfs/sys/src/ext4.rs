//! Growing a mounted ext4 to the size of its partition.
//!
//! The kernel does it group by group, each in a transaction of the journal, so a power cut leaves a
//! filesystem of some size in between, which the next boot grows further.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `_IOW('f', 16, __u64)`.
const EXT4_IOC_RESIZE_FS: libc::c_ulong = 0x4008_6610;

/// Grows the filesystem that `folder` is on to so many blocks; a size that it has already, or a
/// rest too small for another group, changes nothing.
pub fn grow(folder: BorrowedFd<'_>, blocks: u64) -> io::Result<()> {
    // SAFETY: `EXT4_IOC_RESIZE_FS` reads one 64-bit number, which outlives the call.
    let result = unsafe { libc::ioctl(folder.as_raw_fd(), EXT4_IOC_RESIZE_FS, &raw const blocks) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn another_filesystem_refuses() {
        let folder = File::open("/proc").expect("open");
        assert!(grow(folder.as_fd(), 1).is_err());
    }
}
