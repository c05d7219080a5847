//! On which disk STATE is to be looked for: the one that carries the root, and no other.
//!
//! Every disk that was flashed with the same image has the same partition identities but for its
//! boot partition's, so a stick with that image in it looks much like the machine's own disk. Stage 1
//! has chosen between them, and what is mounted tells which one: the root is a dm-verity device, and
//! sysfs knows the partition below it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

const SYSFS: &str = "/sys";

/// The name of the disk below the root, such as `vda`.
pub(crate) fn root_disk() -> io::Result<String> {
    let device = fs::metadata("/")?.dev();
    disk_below(Path::new(SYSFS), major(device), minor(device))
}

fn disk_below(sysfs: &Path, major: u32, minor: u32) -> io::Result<String> {
    let slaves = sysfs.join(format!("dev/block/{major}:{minor}/slaves"));
    let partition = fs::read_dir(&slaves)?
        .next()
        .ok_or_else(|| io::Error::other("the root is no device that is made of another"))??;
    // The folder of a partition lies within that of its disk.
    let folder = fs::canonicalize(sysfs.join("class/block").join(partition.file_name()))?;
    let disk = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    disk.map(str::to_owned).ok_or_else(|| io::Error::other("a partition without a disk"))
}

/// The device node of a partition: `vda5`, `nvme0n1p5`; sysfs knows which.
pub(super) fn partition_node(disk: &str, number: u32) -> io::Result<PathBuf> {
    for entry in fs::read_dir(Path::new(SYSFS).join("block").join(disk))? {
        let entry = entry?;
        let said = fs::read_to_string(entry.path().join("partition"));
        if said.is_ok_and(|said| said.trim() == number.to_string()) {
            return Ok(Path::new("/dev").join(entry.file_name()));
        }
    }
    Err(io::Error::other(format!("the kernel knows no partition {number} on {disk}")))
}

/// The length that the kernel believes a partition to have, in sectors of 512 bytes.
pub(super) fn known_sectors(node: &Path) -> io::Result<u64> {
    let name = node.file_name().unwrap_or_default();
    let text = fs::read_to_string(Path::new(SYSFS).join("class/block").join(name).join("size"))?;
    text.trim().parse().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_disk_is_found_below_the_mapped_root() {
        let sysfs = tempfile::tempdir().unwrap();
        let folder = |path: &str| fs::create_dir_all(sysfs.path().join(path)).unwrap();
        folder("devices/virtual/block/dm-0/slaves");
        folder("devices/pci/nvme/nvme0n1/nvme0n1p2");
        folder("dev/block");
        folder("class/block");
        let link = |target: &str, at: &str| {
            symlink(sysfs.path().join(target), sysfs.path().join(at)).unwrap();
        };
        link("devices/virtual/block/dm-0", "dev/block/254:0");
        link("devices/pci/nvme/nvme0n1/nvme0n1p2", "class/block/nvme0n1p2");
        assert!(disk_below(sysfs.path(), 254, 0).is_err(), "a root that is made of nothing");
        link("devices/pci/nvme/nvme0n1/nvme0n1p2", "devices/virtual/block/dm-0/slaves/nvme0n1p2");
        assert_eq!(disk_below(sysfs.path(), 254, 0).unwrap(), "nvme0n1");
        assert!(disk_below(sysfs.path(), 8, 1).is_err());
    }
}
