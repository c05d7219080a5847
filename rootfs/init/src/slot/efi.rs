//! Variables of the firmware, through efivarfs.
//!
//! A variable is a file: four bytes of attributes, then its value. The kernel protects most of them
//! by the immutable flag, since some firmware is bricked by a wrong deletion; only our own and one
//! of the boot loader's are ever written here. The filesystem is writable for that moment alone.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use disk::gpt::Guid;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_remount};

pub(crate) const FIRMWARE: &str = "/sys/firmware/efi";
const VARIABLES: &str = "/sys/firmware/efi/efivars";
/// The vendor of the Boot Loader Interface.
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Our own.
const OWN: &str = "8f1c2b60-5d5e-4b43-9d2a-6b0c7e1fd9a4";
/// Kept without power, and seen by the boot loader as well as by a running system.
const ATTRIBUTES: u32 = 1 | 2 | 4;
const ATTRIBUTES_BYTES: usize = 4;

const FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC).union(MountFlags::NODEV);

/// Whether this machine was started by UEFI firmware.
pub(crate) fn is_there() -> bool {
    fs::exists(FIRMWARE).unwrap_or(false)
}

/// How many boots failed in a row; none if that can't be read.
pub(crate) fn failures() -> u8 {
    read(&path("EdgepairFailures", OWN)).first().copied().unwrap_or(0)
}

/// The boot partition from which the firmware took the boot loader, if both of them say so.
pub(crate) fn started_from() -> Option<Guid> {
    guid_in(&read(&path("LoaderDevicePartUUID", LOADER)))
}

/// A GUID as text, in UTF-16 with a zero behind it.
fn guid_in(value: &[u8]) -> Option<Guid> {
    let (units, _) = value.as_chunks::<2>();
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0);
    let text: String = char::decode_utf16(units).collect::<Result<_, _>>().ok()?;
    text.parse().ok()
}

/// The value of a variable; empty if there is none.
fn read(path: &Path) -> Vec<u8> {
    // Stage 1 has not mounted it yet; where it is mounted already, nothing changes.
    let _mounted = mount("efivarfs", VARIABLES, "efivarfs", FLAGS | MountFlags::RDONLY, c"");
    let mut value = fs::read(path).unwrap_or_default();
    value.drain(..ATTRIBUTES_BYTES.min(value.len()));
    value
}

pub(crate) fn set_failures(failures: u8) -> io::Result<()> {
    writable(|| write(&path("EdgepairFailures", OWN), &[failures]))
}

/// Forgets the failures; there are none to forget after most boots, and then nothing is written.
pub(crate) fn clear_failures() -> io::Result<()> {
    let path = path("EdgepairFailures", OWN);
    if !fs::exists(&path)? {
        return Ok(());
    }
    writable(|| {
        make_mutable(&path)?;
        fs::remove_file(&path)
    })
}

/// Asks the boot loader to start the entry of this name, a pattern, at the next start only.
pub(crate) fn start_once(entry: &str) -> io::Result<()> {
    let value: Vec<u8> = entry.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    writable(|| write(&path("LoaderEntryOneShot", LOADER), &value))
}

fn path(name: &str, vendor: &str) -> PathBuf {
    Path::new(VARIABLES).join(format!("{name}-{vendor}"))
}

/// The firmware takes a variable in one piece, so it is one write.
fn write(path: &Path, value: &[u8]) -> io::Result<()> {
    if fs::exists(path)? {
        make_mutable(path)?;
    }
    let mut file = File::options().write(true).create(true).truncate(false).open(path)?;
    let mut bytes = ATTRIBUTES.to_le_bytes().to_vec();
    bytes.extend(value);
    file.write_all(&bytes)
}

fn make_mutable(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let flags = ioctl_getflags(&file)?;
    Ok(ioctl_setflags(&file, flags.difference(IFlags::IMMUTABLE))?)
}

/// Runs `work` while variables can be written.
fn writable(work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    match mount("efivarfs", VARIABLES, "efivarfs", FLAGS, c"") {
        Ok(()) => {}
        Err(Errno::BUSY) => mount_remount(VARIABLES, FLAGS, c"")?,
        Err(errno) => return Err(errno.into()),
    }
    let done = work();
    // Left writable, it would be only as protected as on most systems.
    let _protected = mount_remount(VARIABLES, FLAGS | MountFlags::RDONLY, c"");
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_loader_names_a_partition_in_letters_of_either_size_and_anything_else_is_none() {
        let utf16 =
            |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
        let text = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
        let wanted = text.parse().ok();
        assert!(wanted.is_some());
        for said in [format!("{text}\0"), text.to_lowercase(), format!("{text}\0\0rest")] {
            assert_eq!(guid_in(&utf16(&said)), wanted, "{said:?}");
        }
        for said in ["", "\0", "C12A7328", "not a partition of any disk at all.."] {
            assert_eq!(guid_in(&utf16(said)), None, "{said:?}");
        }
        assert_eq!(guid_in(&[0, 0xd8, 1]), None, "half a character");
    }
}
