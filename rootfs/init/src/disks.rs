//! The disks of this machine and the partitions on them, found through sysfs.
//!
//! There is no udev, so nothing makes `/dev/disk/by-partuuid`: each disk's partition table is read
//! here. The kernel has made the device nodes already, in devtmpfs.
//!
//! Disks that were written from one image have roots of one identity, and a machine may well have two
//! of them: its own, and a spare that was written for another node. The boot loader says which
//! boot partition the firmware started from, and each disk's has an identity of its own.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use disk::gpt::{self, Guid, Partition};
use disk::{AccessFailed, ReadAt};

const SYSFS_BLOCK: &str = "/sys/block";

/// An open disk or partition.
#[derive(Debug)]
pub(crate) struct BlockDevice {
    file: File,
    size: u64,
}

/// A partition, the device node that it has, and the disk that it is on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) partition: Partition,
    pub(crate) disk: String,
    pub(crate) device: PathBuf,
}

impl BlockDevice {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, size })
    }
}

impl ReadAt for BlockDevice {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), AccessFailed> {
        let length = buffer.len();
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|error| AccessFailed::new(offset, length, error))
    }
}

/// Every disk that may hold our partitions, by name, in a stable order.
pub(crate) fn names() -> Vec<String> {
    let entries = fs::read_dir(SYSFS_BLOCK).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            !["loop", "ram", "dm-", "zram", "fd"].iter().any(|kind| name.starts_with(kind))
        })
        .collect();
    names.sort();
    names
}

/// All partitions of all disks. A disk without a table that we can read has none.
pub(crate) fn partitions() -> Vec<Located> {
    names().iter().flat_map(|name| partitions_of(name)).collect()
}

/// Where the root of this boot is, as far as is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Root<'a> {
    /// On the disk that the firmware started from, or nobody can say which disk that was.
    Ours(&'a Located),
    /// No disk with such a root is the one that the firmware started from, which may still come.
    Another(&'a Located),
    Nowhere,
}

/// Finds the partition with the identity `root`, if the boot partition `started_from` is known on the
/// disk that has that one.
pub(crate) fn find_root(all: &[Located], root: Guid, started_from: Option<Guid>) -> Root<'_> {
    let roots = || all.iter().filter(|located| located.partition.guid == root);
    let Some(first) = roots().next() else { return Root::Nowhere };
    let Some(boot) = started_from else { return Root::Ours(first) };
    let has_boot = |located: &&Located| {
        all.iter().any(|other| other.disk == located.disk && other.partition.guid == boot)
    };
    roots().find(has_boot).map_or(Root::Another(first), Root::Ours)
}

fn partitions_of(disk: &str) -> Vec<Located> {
    let Ok(device) = BlockDevice::open(&Path::new("/dev").join(disk)) else { return Vec::new() };
    let Ok(found) = gpt::read(&device) else { return Vec::new() };
    let located = |partition: Partition| {
        let device = node_of(disk, partition.number)?;
        Some(Located { partition, disk: disk.to_owned(), device })
    };
    found.table.partitions.into_iter().filter_map(located).collect()
}

/// The nodes of all partitions of a disk that the kernel knows, whatever its table is, in order. A
/// stick from a shop has a table of the old kind, and a kernel that reads it.
pub(crate) fn partition_nodes(disk: &str) -> Vec<PathBuf> {
    nodes_of(disk).into_iter().map(|(_, node)| node).collect()
}

/// The node of a disk's partition: `vda3`, `nvme0n1p3`; sysfs knows which.
fn node_of(disk: &str, number: u32) -> Option<PathBuf> {
    nodes_of(disk).into_iter().find(|(known, _)| *known == number).map(|(_, node)| node)
}

fn nodes_of(disk: &str) -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir(Path::new(SYSFS_BLOCK).join(disk)).into_iter().flatten().flatten();
    let numbered = entries.filter_map(|entry| {
        let number = fs::read_to_string(entry.path().join("partition")).ok()?;
        Some((number.trim().parse().ok()?, Path::new("/dev").join(entry.file_name())))
    });
    let mut nodes: Vec<(u32, PathBuf)> = numbered.collect();
    nodes.sort();
    nodes
}

#[cfg(test)]
mod tests {
    use disk::gpt::types;

    use super::*;

    const ROOT: Guid = Guid::from_u128(7);

    /// Boot partition and root of a disk.
    fn disk(name: &str, boot: u128, root: Guid) -> [Located; 2] {
        let located = |number: u32, guid, type_guid| {
            let device = PathBuf::from(format!("/dev/{name}{number}"));
            let (first_lba, last_lba) = (u64::from(number) * 8, u64::from(number) * 8 + 7);
            let name_of = String::new();
            let partition = Partition {
                number,
                type_guid,
                guid,
                first_lba,
                last_lba,
                attributes: 0,
                name: name_of,
            };
            Located { partition, disk: name.to_owned(), device }
        };
        [located(1, Guid::from_u128(boot), types::ESP), located(2, root, types::ROOT_X86_64)]
    }

    #[test]
    fn of_two_disks_with_our_root_the_one_that_was_started_from_is_ours() {
        let mut all: Vec<Located> = disk("vda", 0xa, ROOT).into();
        let found = |all: &[Located], started_from: Option<u128>| match find_root(
            all,
            ROOT,
            started_from.map(Guid::from_u128),
        ) {
            Root::Ours(located) => format!("ours {}", located.device.display()),
            Root::Another(located) => format!("another {}", located.device.display()),
            Root::Nowhere => "nowhere".to_owned(),
        };
        assert_eq!(found(&all, Some(0xb)), "another /dev/vda2", "its disk may still come");
        all.extend(disk("vdb", 0xb, ROOT));
        assert_eq!(found(&all, Some(0xb)), "ours /dev/vdb2");
        assert_eq!(found(&all, Some(0xa)), "ours /dev/vda2");
        assert_eq!(
            found(&all, None),
            "ours /dev/vda2",
            "without firmware nothing tells them apart"
        );
        // A boot partition alone is no reason to take a root that isn't there.
        all.extend(disk("vdc", 0xc, Guid::from_u128(8)));
        assert_eq!(found(&all, Some(0xc)), "another /dev/vda2");
        assert_eq!(found(&[], Some(0xa)), "nowhere");
    }
}
