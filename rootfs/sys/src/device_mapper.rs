//! Device-mapper: creates one read-only device from one target line.
//!
//! The kernel's interface is an ioctl on `/dev/mapper/control` whose argument starts with a fixed
//! header, followed by data. A device is made in three calls: create it, load its table, resume it.
//! No maintained crate does this without libdevmapper, which a static binary can't have.

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Where devtmpfs puts the control device: misc device 10:236.
pub const CONTROL_PATH: &str = "/dev/mapper/control";

/// The interface version that we speak; the kernel accepts any older minor.
const VERSION: [u32; 3] = [4, 0, 0];
const DM_TYPE: u8 = 0xfd;
const DM_DEV_CREATE: u8 = 3;
const DM_DEV_REMOVE: u8 = 4;
const DM_DEV_SUSPEND: u8 = 6;
const DM_TABLE_LOAD: u8 = 9;
const DM_READONLY_FLAG: u32 = 1;
/// The header's own fields end here; the last seven bytes of its 312 are padding.
const NAME_BYTES: usize = 128;
const UUID_BYTES: usize = 129;
const TARGET_TYPE_BYTES: usize = 16;

#[derive(Debug, Error)]
pub enum DeviceMapperError {
    #[error("{}: {source}", path.display())]
    Control { path: PathBuf, source: io::Error },
    #[error("device-mapper name {name:?} is empty or longer than {} bytes", NAME_BYTES - 1)]
    Name { name: String },
    #[error("device-mapper can't {step} {name:?}: {source}")]
    Step { step: &'static str, name: String, source: io::Error },
}

/// `struct dm_ioctl` of the kernel's interface, version 4.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_nr: u32,
    padding: u32,
    dev: u64,
    name: [u8; NAME_BYTES],
    uuid: [u8; UUID_BYTES],
    data: [u8; 7],
}

/// `struct dm_target_spec`; its parameters follow as text that ends with a zero byte.
#[repr(C)]
#[derive(Clone, Copy)]
struct TargetSpec {
    sector_start: u64,
    length: u64,
    status: i32,
    next: u32,
    target_type: [u8; TARGET_TYPE_BYTES],
}

/// A device to be made: one target over all of its sectors.
#[derive(Debug)]
pub struct ReadOnlyDevice<'a> {
    pub name: &'a str,
    /// Length in sectors of 512 bytes.
    pub sectors: u64,
    /// The target's name, for example `verity`.
    pub target: &'a str,
    pub parameters: &'a str,
}

/// Makes the device and returns its number, major and minor.
pub fn create(device: &ReadOnlyDevice<'_>) -> Result<(u32, u32), DeviceMapperError> {
    let control = open_control(Path::new(CONTROL_PATH))?;
    let name = device.name;
    let fail = |step| move |source| DeviceMapperError::Step { step, name: name.to_owned(), source };
    let mut header = header_for(name)?;
    call(&control, DM_DEV_CREATE, &mut header, &[]).map_err(fail("create"))?;
    let number = header.dev;

    let mut header = header_for(name)?;
    header.flags = DM_READONLY_FLAG;
    header.target_count = 1;
    let loaded = call(&control, DM_TABLE_LOAD, &mut header, &target_bytes(device));
    if let Err(source) = loaded {
        // A device without a table serves nobody and would keep its name taken.
        let mut header = header_for(name)?;
        call(&control, DM_DEV_REMOVE, &mut header, &[]).map_err(fail("remove"))?;
        return Err(fail("load the table of")(source));
    }
    let mut header = header_for(name)?;
    call(&control, DM_DEV_SUSPEND, &mut header, &[]).map_err(fail("resume"))?;
    Ok(split_device_number(number))
}

fn open_control(path: &Path) -> Result<File, DeviceMapperError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|source| DeviceMapperError::Control { path: path.to_owned(), source })
}

fn header_for(name: &str) -> Result<Header, DeviceMapperError> {
    if name.is_empty() || name.len() >= NAME_BYTES || name.contains('\0') {
        return Err(DeviceMapperError::Name { name: name.to_owned() });
    }
    let mut header = Header {
        version: VERSION,
        data_size: 0,
        data_start: HEADER_BYTES_U32,
        target_count: 0,
        open_count: 0,
        flags: 0,
        event_nr: 0,
        padding: 0,
        dev: 0,
        name: [0; NAME_BYTES],
        uuid: [0; UUID_BYTES],
        data: [0; 7],
    };
    header.name[..name.len()].copy_from_slice(name.as_bytes());
    Ok(header)
}

const HEADER_BYTES: usize = size_of::<Header>();
#[allow(clippy::cast_possible_truncation, reason = "the header is 312 bytes")]
const HEADER_BYTES_U32: u32 = HEADER_BYTES as u32;

/// The target specification as the kernel reads it, padded to eight bytes.
fn target_bytes(device: &ReadOnlyDevice<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(0_u64.to_ne_bytes());
    bytes.extend(device.sectors.to_ne_bytes());
    bytes.extend(0_i32.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    let mut kind = [0; TARGET_TYPE_BYTES];
    let length = device.target.len().min(TARGET_TYPE_BYTES - 1);
    kind[..length].copy_from_slice(&device.target.as_bytes()[..length]);
    bytes.extend(kind);
    debug_assert_eq!(bytes.len(), size_of::<TargetSpec>());
    bytes.extend(device.parameters.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn call(control: &File, command: u8, header: &mut Header, data: &[u8]) -> io::Result<()> {
    let total = HEADER_BYTES + data.len();
    header.data_size = u32::try_from(total).map_err(io::Error::other)?;
    // The argument is one block of memory, aligned for the header's 64-bit field.
    let mut block = vec![0_u64; total.div_ceil(8)];
    let start = block.as_mut_ptr().cast::<Header>();
    // SAFETY: the block has room for the header, is aligned for it, and the header is plain data.
    unsafe { start.write(*header) };
    // SAFETY: `data` fits behind the header, as `total` counted, and the two don't overlap.
    unsafe {
        let behind = start.add(1).cast::<u8>();
        behind.copy_from_nonoverlapping(data.as_ptr(), data.len());
    }
    // SAFETY: `_IOWR(0xfd, command, struct dm_ioctl)` reads and writes at most `data_size` bytes,
    // which is the size of our block.
    let result = unsafe { libc::ioctl(control.as_raw_fd(), request(command), start) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel left a valid header at the start of the block.
    *header = unsafe { start.read() };
    Ok(())
}

/// `_IOWR(DM_TYPE, command, struct dm_ioctl)`.
fn request(command: u8) -> libc::c_ulong {
    const READ_WRITE: libc::c_ulong = 3;
    let size = HEADER_BYTES as libc::c_ulong;
    READ_WRITE << 30 | size << 16 | libc::c_ulong::from(DM_TYPE) << 8 | libc::c_ulong::from(command)
}

/// The device number that the kernel wrote, in the encoding of `dev_t`.
fn split_device_number(dev: u64) -> (u32, u32) {
    (libc::major(dev), libc::minor(dev))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_sizes_of_the_kernel_interface() {
        assert_eq!(size_of::<Header>(), 312);
        assert_eq!(size_of::<TargetSpec>(), 40);
        assert_eq!(request(DM_DEV_CREATE), 0xc138_fd03);
    }

    #[test]
    fn a_target_ends_with_a_zero_byte_and_is_padded() {
        let device =
            ReadOnlyDevice { name: "root", sectors: 8, target: "verity", parameters: "1 a b" };
        let bytes = target_bytes(&device);
        assert_eq!(&bytes[24..30], b"verity");
        assert_eq!(&bytes[40..46], b"1 a b\0");
        assert_eq!(bytes.len() % 8, 0);
    }

    #[test]
    fn names_that_the_kernel_would_cut_are_refused() {
        assert!(header_for("").is_err());
        assert!(header_for(&"x".repeat(NAME_BYTES)).is_err());
        assert!(header_for("edgepair-root").is_ok());
    }
}
