//! The disks of this machine and the partitions on them, found through sysfs.
//!
//! There is no udev, so nothing makes `/dev/disk/by-partuuid`: each disk's partition table is read
//! here. The kernel has made the device nodes already, in devtmpfs.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use disk::gpt::{self, Partition};
use disk::{AccessFailed, ReadAt};

const SYSFS_BLOCK: &str = "/sys/block";

/// An open disk or partition.
#[derive(Debug)]
pub(crate) struct BlockDevice {
    file: File,
    size: u64,
}

/// A partition, the device node that it has, and the disk that it is on.
#[derive(Debug)]
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
