//! Telling the kernel that a partition of a busy disk has another size.
//!
//! Reading a partition table anew (`BLKRRPART`) is refused while any partition of the disk is in
//! use, and the root always is. `BLKPG` changes one partition and leaves the others alone.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `_IO(0x12, 105)`.
const BLKPG: libc::c_ulong = 0x1269;
const BLKPG_RESIZE_PARTITION: libc::c_int = 3;

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct Argument {
    operation: libc::c_int,
    flags: libc::c_int,
    data_length: libc::c_int,
    data: *mut Partition,
}

/// `struct blkpg_partition`; the two names have been unused since Linux 2.4.
#[repr(C)]
struct Partition {
    start: libc::c_longlong,
    length: libc::c_longlong,
    number: libc::c_int,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// Gives partition `number` of an open disk a new length; its start must be the one that it has.
pub fn resize_partition(
    disk: BorrowedFd<'_>,
    number: u32,
    start_bytes: u64,
    length_bytes: u64,
) -> io::Result<()> {
    let too_large = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut partition = Partition {
        start: start_bytes.try_into().map_err(too_large)?,
        length: length_bytes.try_into().map_err(too_large)?,
        number: number.try_into().map_err(too_large)?,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let mut argument = Argument {
        operation: BLKPG_RESIZE_PARTITION,
        flags: 0,
        data_length: libc::c_int::try_from(size_of::<Partition>()).map_err(too_large)?,
        data: &raw mut partition,
    };
    // SAFETY: `BLKPG` reads an argument of this layout and the partition that it points to; both
    // outlive the call, and the kernel keeps neither.
    let result = unsafe { libc::ioctl(disk.as_raw_fd(), BLKPG, &raw mut argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_structures_have_the_sizes_of_the_kernel_interface() {
        assert_eq!(size_of::<Partition>(), 152);
        assert_eq!(size_of::<Argument>(), 24);
    }

    #[test]
    fn what_is_no_disk_is_refused_by_the_kernel() {
        let file = File::open("/proc/self/exe").expect("open");
        assert!(resize_partition(file.as_fd(), 5, 0, 512).is_err());
        assert!(resize_partition(file.as_fd(), 5, 0, u64::MAX).is_err());
    }
}
