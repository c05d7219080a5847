//! Variables of the firmware, through efivarfs.
//!
//! A variable is a file: four bytes of attributes, then its value. The kernel protects most of them
//! by the immutable flag, since some firmware is bricked by a wrong deletion; only our own and one
//! of the boot loader's are ever written here. The filesystem is writable for that moment alone.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

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
    // Stage 1 has not mounted it yet; where it is mounted already, nothing changes.
    let _mounted = mount("efivarfs", VARIABLES, "efivarfs", FLAGS | MountFlags::RDONLY, c"");
    let value = fs::read(path("EdgepairFailures", OWN)).unwrap_or_default();
    value.get(ATTRIBUTES_BYTES).copied().unwrap_or(0)
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
