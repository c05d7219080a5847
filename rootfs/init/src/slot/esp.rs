//! The boot partition of the disk that we run from: read without a mount, changed in one short one.
//!
//! It is found beside our own root, on the same disk, by its type: another disk's boot partition is
//! another system's. Reading goes through our own FAT reader, so stage 1 needs no driver and a status
//! costs no mount. The only change ever made is the name of a kernel.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use disk::boot::{BootArguments, Slot};
use disk::fat::{ReadError, Volume};
use disk::gpt::types;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use thiserror::Error;

use crate::disks::{self, BlockDevice, Located, Root};
use crate::slot::efi;
use crate::slot::kernel_name::KernelName;
use crate::state::place;

const KERNELS: &str = "EFI/Linux";
/// Not below a folder that services see; it is empty but for the moment.
const MOUNT_POINT: &str = "/run/edgepair/esp";
/// Written through at once and in order: the new name of a kernel stands before the old one goes, so
/// that a power cut between the two leaves both, and never none.
const WRITE_THROUGH: MountFlags = MountFlags::SYNCHRONOUS
    .union(MountFlags::DIRSYNC)
    .union(MountFlags::NOSUID)
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

#[derive(Debug, Error)]
pub(crate) enum EspError {
    #[error("no disk has the root partition of this boot")]
    NoRoot,
    #[error("the disk of the root has no boot partition")]
    NoEsp,
    #[error("boot partition {}: {source}", device.display())]
    Open { device: PathBuf, source: io::Error },
    #[error("boot partition {}: {source}", device.display())]
    Read { device: PathBuf, source: ReadError },
    #[error("boot partition {}: can't {step}: {source}", device.display())]
    Change { device: PathBuf, step: &'static str, source: io::Error },
}

/// The boot partition, and which roots stand beside it.
#[derive(Debug)]
pub(crate) struct Esp {
    device: PathBuf,
    roots: Vec<Slot>,
}

impl Esp {
    /// Finds it on the disk of the root that was asked for.
    pub(crate) fn find(arguments: &BootArguments) -> Result<Self, EspError> {
        let all = disks::partitions();
        // Before the root is mounted, nothing but the rule by which it is chosen tells its disk.
        let disk = place::root_disk().or_else(|_| {
            match disks::find_root(&all, arguments.root, efi::started_from()) {
                Root::Ours(located) => Ok(located.disk.clone()),
                Root::Another(_) | Root::Nowhere => Err(EspError::NoRoot),
            }
        })?;
        let ours: Vec<&Located> = all.iter().filter(|located| located.disk == disk).collect();
        let esp = ours.iter().find(|located| located.partition.type_guid == types::ESP);
        let has_root = |slot: &Slot| {
            ours.iter().any(|located| located.partition.name == slot.partition_name())
        };
        Ok(Self {
            device: esp.ok_or(EspError::NoEsp)?.device.clone(),
            roots: Slot::BOTH.into_iter().filter(has_root).collect(),
        })
    }

    /// The kernels of the slots that have one, and a partition for its root.
    pub(crate) fn kernels(&self) -> Result<Vec<KernelName>, EspError> {
        let device = || self.device.clone();
        let read = |source| EspError::Read { device: device(), source };
        let open = BlockDevice::open(&self.device)
            .map_err(|source| EspError::Open { device: device(), source })?;
        let entries = Volume::open(open).map_err(read)?.list(KERNELS).map_err(read)?;
        let names = entries.iter().filter_map(|entry| KernelName::parse(&entry.name));
        Ok(names.filter(|name| self.roots.contains(&name.slot)).collect())
    }

    /// Gives a kernel another name. A file that has that name already is left as it is, and so is
    /// ours: after a power cut in a change both may name the same clusters, and removing one
    /// would free those of the other.
    pub(crate) fn rename(&self, from: KernelName, to: KernelName) -> Result<(), EspError> {
        let fail = |step| {
            let device = self.device.clone();
            move |source| EspError::Change { device, step, source }
        };
        let point = Path::new(MOUNT_POINT);
        fs::create_dir_all(point).map_err(fail("make its mount point"))?;
        mount(&self.device, point, "vfat", WRITE_THROUGH, c"umask=0077")
            .map_err(|errno| fail("mount it")(errno.into()))?;
        let renamed = rename_in(&point.join(KERNELS), &from.to_string(), &to.to_string());
        let unmounted = unmount(point, UnmountFlags::DETACH);
        renamed.map_err(fail("rename a kernel"))?;
        unmounted.map_err(|errno| fail("unmount it")(errno.into()))
    }
}

fn rename_in(folder: &Path, from: &str, to: &str) -> io::Result<()> {
    if fs::exists(folder.join(to))? {
        return Ok(());
    }
    fs::rename(folder.join(from), folder.join(to))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_is_left_to_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        fs::write(path("edgepair-a+2-1.efi"), "kernel").unwrap();
        rename_in(folder.path(), "edgepair-a+2-1.efi", "edgepair-a.efi").unwrap();
        assert!(path("edgepair-a.efi").exists() && !path("edgepair-a+2-1.efi").exists());
        fs::write(path("edgepair-a+1-2.efi"), "kernel").unwrap();
        rename_in(folder.path(), "edgepair-a+1-2.efi", "edgepair-a.efi").unwrap();
        assert!(path("edgepair-a+1-2.efi").exists());
    }
}
