//! Stage 1: from the kernel's start to the real root, inside the initramfs.
//!
//! ```text
//!  kernel filesystems ─> drivers until the slot's partition is there ─> dm-verity ─> mount
//!        ─> read stage 2 whole ─> switch root
//! ```
//! Every step can fail on a machine where nobody looks: the reason goes to the console, and then the
//! other slot is tried; see [`crate::slot::give_up`].

mod drivers;

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use disk::boot::{BootArguments, BootArgumentsError};
use disk::verity::Target;
use rustix::mount::{MountFlags, mount, mount_move};
use sys::device_mapper::{self, DeviceMapperError, ReadOnlyDevice};
use thiserror::Error;

use crate::disks::{self, Root};
use crate::modules::ModuleError;
use crate::mounts::{self, MountError};
use crate::say;
use crate::slot::{has_firmware, started_from};
use drivers::DISK_WAIT;

/// Where the real root is mounted before it becomes the root.
const NEW_ROOT: &str = "/sysroot";
const STAGE_2: &str = "/usr/lib/edgepair/init";
const READ_BYTES: usize = 256 << 10;
#[derive(Debug, Error)]
pub(crate) enum Stage1Error {
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error("{path}: {source}")]
    Read { path: &'static str, source: io::Error },
    #[error(transparent)]
    Arguments(#[from] BootArgumentsError),
    #[error(transparent)]
    Module(#[from] ModuleError),
    #[error(
        "no disk has the partition {root} of slot {slot}, after {} seconds; disks seen: {disks}",
        DISK_WAIT.as_secs()
    )]
    NoPartition { root: String, slot: &'static str, disks: String },
    #[error(
        "the disk that the firmware started from has no root of slot {slot}, after {} seconds; {disk} \
         has one, but may be another node's: start from that disk itself if it is this one's",
        DISK_WAIT.as_secs()
    )]
    Foreign { disk: String, slot: &'static str },
    #[error("device events: {0}")]
    Events(io::Error),
    #[error(transparent)]
    Verity(#[from] DeviceMapperError),
    #[error("can't mount the root of slot {slot}: {source}")]
    Root { slot: &'static str, source: io::Error },
    #[error("slot {slot}: {STAGE_2} can't be read whole: {source}")]
    Damaged { slot: &'static str, source: io::Error },
    #[error("can't switch to the real root ({step}): {source}")]
    Switch { step: &'static str, source: io::Error },
}

/// Runs stage 1; on success the process goes on as stage 2 and this never returns.
pub(crate) fn run() -> Result<Infallible, Stage1Error> {
    mounts::make(mounts::KERNEL)?;
    let line = read("/proc/cmdline")?;
    let arguments: BootArguments = line.parse()?;
    let device = find_partition(&arguments)?;
    let (major, minor) = open_verity(&arguments, &device)?;
    mount_root(&arguments, major, minor)?;
    read_stage_2(&arguments)?;
    switch_root()
}

fn read(path: &'static str) -> Result<String, Stage1Error> {
    fs::read_to_string(path).map_err(|source| Stage1Error::Read { path, source })
}

fn find_partition(arguments: &BootArguments) -> Result<PathBuf, Stage1Error> {
    let ours = || match disks::find_root(&disks::partitions(), arguments.root, started_from()) {
        Root::Ours(located) => Some(located.device.clone()),
        Root::Another(_) | Root::Nowhere => None,
    };
    if let Some(device) = drivers::load_until(ours)? {
        if has_firmware() && started_from().is_none() {
            say!("nobody tells which disk was started from: the first one with our root is taken");
        }
        return Ok(device);
    }
    match disks::find_root(&disks::partitions(), arguments.root, started_from()) {
        Root::Ours(located) => Ok(located.device.clone()),
        // It may be another node's, and two machines that are one node are worse than one that isn't there.
        Root::Another(located) => {
            let disk = located.disk.clone();
            Err(Stage1Error::Foreign { disk, slot: arguments.slot.letter() })
        }
        Root::Nowhere => Err(Stage1Error::NoPartition {
            root: arguments.root.to_string(),
            slot: arguments.slot.letter(),
            disks: disks::names().join(", "),
        }),
    }
}

fn open_verity(arguments: &BootArguments, device: &Path) -> Result<(u32, u32), DeviceMapperError> {
    let verity = &arguments.verity;
    let target = Target {
        device: &device.display().to_string(),
        data_blocks: verity.data_blocks,
        hash_start_block: verity.data_blocks + 1,
        root_hash: &verity.root_hash,
        salt: &verity.salt,
        // A damaged block is refused with an error, and we are told; `slot` says why that is enough.
        options: &[],
    };
    device_mapper::create(&ReadOnlyDevice {
        name: "edgepair-root",
        sectors: target.sectors(),
        target: "verity",
        parameters: &target.parameters(),
    })
}

fn mount_root(arguments: &BootArguments, major: u32, minor: u32) -> Result<(), Stage1Error> {
    let slot = arguments.slot.letter();
    let fail = |source| Stage1Error::Root { slot, source };
    fs::create_dir_all(NEW_ROOT).map_err(fail)?;
    let device = mapped_device(major, minor).map_err(fail)?;
    let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOATIME;
    mount(&device, NEW_ROOT, "ext4", flags, c"").map_err(|errno| fail(errno.into()))
}

/// Reads every block of the agent once, while a bad one is still an error: as a page of PID 1 it
/// would be the end of the kernel.
fn read_stage_2(arguments: &BootArguments) -> Result<(), Stage1Error> {
    let damaged = |source| Stage1Error::Damaged { slot: arguments.slot.letter(), source };
    let mut file = fs::File::open(format!("{NEW_ROOT}{STAGE_2}")).map_err(damaged)?;
    let mut chunk = vec![0; READ_BYTES];
    while io::Read::read(&mut file, &mut chunk).map_err(damaged)? > 0 {}
    Ok(())
}

/// The node that devtmpfs made for a device number; sysfs knows its name.
fn mapped_device(major: u32, minor: u32) -> io::Result<PathBuf> {
    let link = fs::read_link(format!("/sys/dev/block/{major}:{minor}"))?;
    let name = link.file_name().ok_or(io::ErrorKind::NotFound)?;
    Ok(Path::new("/dev").join(name))
}

/// Moves the kernel's filesystems along, makes the real root the root, and starts stage 2 on it.
/// The initramfs keeps its few megabytes no longer than this: its files are removed first.
fn switch_root() -> Result<Infallible, Stage1Error> {
    let fail = |step: &'static str| move |source: io::Error| Stage1Error::Switch { step, source };
    for folder in ["/dev", "/proc", "/sys"] {
        let target = format!("{NEW_ROOT}{folder}");
        mount_move(folder, &target).map_err(|errno| fail("moving mounts")(errno.into()))?;
    }
    for leftover in ["/usr", "/etc", "/sbin", "/init"] {
        // What can't be removed costs memory and nothing else.
        let path = Path::new(leftover);
        let _kept = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
    std::env::set_current_dir(NEW_ROOT).map_err(fail("entering it"))?;
    mount_move(".", "/").map_err(|errno| fail("moving it to /")(errno.into()))?;
    rustix::process::chroot(".").map_err(|errno| fail("chroot")(errno.into()))?;
    std::env::set_current_dir("/").map_err(fail("entering /"))?;
    let error = Command::new(STAGE_2).arg0("init").exec();
    Err(fail("starting stage 2")(error))
}
