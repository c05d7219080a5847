//! What this machine's block devices are and who uses them: sysfs, mounts and swaps, read below a
//! root folder that is `/` except in tests.
//!
//! ```text
//!  sys/class/block/sdb -> ../../devices/…/block/sdb     one link for every disk and partition
//!                         ├─ size ro removable dev queue/logical_block_size
//!                         ├─ device/{vendor,model,serial}
//!                         ├─ holders/dm-0               what is made of it
//!                         └─ sdb1/{partition,…}         its partitions are folders in it
//! ```
//!
//! Mounts of other mount namespaces and the members of a multi-device filesystem can't be seen
//! here; the exclusive open of [`super::target`] finds those.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use super::facts::{DeviceFacts, Kind, PartFacts, Use};
use super::mounts::{Mount, mounts, swaps};

/// An attribute of sysfs is at most a page.
const ATTRIBUTE_MAX_BYTES: u64 = 4096;
/// A machine with ten thousand containers has less in its list of mounts.
const MOUNTS_MAX_BYTES: u64 = 64 << 20;
/// Layers of devices upon devices; the kernel's own limit is lower.
const LAYERS_MAX: usize = 32;
/// `size` counts in these, whatever the disk's own sectors are.
const SIZE_UNIT_BYTES: u64 = 512;
/// What precedes the serial number in SCSI's page 0x80.
const SERIAL_PAGE_HEADER_BYTES: usize = 4;
/// The part of a device's path in sysfs that tells how it is attached.
const TRANSPORTS: [(&str, &str); 7] = [
    ("usb", "usb"),
    ("nvme", "nvme"),
    ("mmc", "mmc"),
    ("virtio", "virtio"),
    ("ata", "sata"),
    ("loop", "loop"),
    ("host", "scsi"),
];

#[derive(Debug, Error)]
pub enum MachineError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{name} is no block device of this machine; there are: {known}")]
    Unknown { name: String, known: String },
}

/// The machine as the kernel shows it below `root`.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
    mounts: Vec<Mount>,
    swaps: Vec<String>,
}

impl Machine {
    /// Reads what is mounted and swapped to now.
    pub fn read(root: &Path) -> Result<Self, MachineError> {
        let read = |inside: &str| {
            let path = root.join(inside);
            let mut text = String::new();
            let opened = File::open(&path);
            match opened.and_then(|file| file.take(MOUNTS_MAX_BYTES).read_to_string(&mut text)) {
                Ok(_) => Ok(text),
                // A kernel without swap has no list of it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
                Err(source) => Err(MachineError::Read { path, source }),
            }
        };
        let mounts = mounts(&read("proc/self/mountinfo")?);
        let swaps = swaps(&read("proc/swaps")?);
        Ok(Self { root: root.to_owned(), mounts, swaps })
    }

    /// The kernel's name of a block device, from the number of its node.
    pub fn name_of(&self, major: u32, minor: u32) -> Result<String, MachineError> {
        let number = format!("{major}:{minor}");
        self.named_by_number(&number)
            .ok_or_else(|| MachineError::Unknown { name: number, known: self.known() })
    }

    /// Everything about one device.
    pub fn device(&self, name: &str) -> Result<DeviceFacts, MachineError> {
        let unknown = || MachineError::Unknown { name: name.to_owned(), known: self.known() };
        let folder = self.folder(name).ok_or_else(unknown)?;
        let parent = partition_parent(&folder);
        let partitions: Vec<String> = partitions_in(&folder);
        let mut uses = self.uses_of(name);
        for partition in &partitions {
            uses.extend(self.uses_of(partition));
        }
        let disk = parent.as_ref().and_then(|parent| self.folder(parent)).unwrap_or(folder.clone());
        let text = |inside: &str| attribute(&disk.join(inside));
        let sector = text("queue/logical_block_size").and_then(|text| text.parse().ok());
        let whole = parent.clone().unwrap_or_else(|| name.to_owned());
        Ok(DeviceFacts {
            name: name.to_owned(),
            kind: parent.map_or(Kind::Disk, |of| Kind::Partition { of }),
            bytes: Some(self.bytes(name)),
            sector_bytes: sector.unwrap_or(SIZE_UNIT_BYTES),
            read_only: attribute(&folder.join("ro")).is_some_and(|text| text != "0"),
            removable: text("removable").is_some_and(|text| text != "0"),
            // Virtio gives the number of its PCI vendor here, which tells nobody anything.
            vendor: text("device/vendor").filter(|vendor| !vendor.starts_with("0x")),
            model: text("device/model").or_else(|| text("device/name")),
            serial: serial(&disk),
            sequence: text("diskseq"),
            transport: transport(&disk),
            is_system: self.system_disks().contains(&whole),
            uses,
            partitions: partitions
                .into_iter()
                .map(|name| PartFacts { bytes: self.bytes(&name), name })
                .collect(),
        })
    }

    /// Whether a loop device shows this file, which then must not change below it.
    pub fn uses_of_file(&self, path: &Path) -> Vec<Use> {
        let Ok(path) = path.canonicalize() else {
            return Vec::new();
        };
        let shows = |name: &String| {
            let backing = self.folder(name).map(|folder| folder.join("loop/backing_file"));
            backing.and_then(|file| attribute(&file)).is_some_and(|file| Path::new(&file) == path)
        };
        let file = path.display().to_string();
        let loops = self.names().into_iter().filter(shows);
        loops.map(|by| Use::Held { device: file.clone(), by }).collect()
    }

    fn names(&self) -> Vec<String> {
        names_in(&self.root.join("sys/class/block"))
    }

    /// The disks that someone may mean.
    fn known(&self) -> String {
        let is_disk = |name: &String| {
            let parent = self.folder(name).and_then(|folder| partition_parent(&folder));
            parent.is_none() && self.bytes(name) > 0
        };
        self.names().into_iter().filter(is_disk).collect::<Vec<_>>().join(", ")
    }

    /// Where a device's own folder is.
    fn folder(&self, name: &str) -> Option<PathBuf> {
        let mut components = Path::new(name).components();
        let plain = matches!(components.next(), Some(Component::Normal(_)));
        if !plain || components.next().is_some() {
            return None;
        }
        fs::canonicalize(self.root.join("sys/class/block").join(name)).ok()
    }

    fn bytes(&self, name: &str) -> u64 {
        let size = self.folder(name).and_then(|folder| attribute(&folder.join("size")));
        size.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0).saturating_mul(SIZE_UNIT_BYTES)
    }

    fn named_by_number(&self, number: &str) -> Option<String> {
        let has_number = |name: &String| {
            let dev = self.folder(name).and_then(|folder| attribute(&folder.join("dev")));
            dev.as_deref() == Some(number)
        };
        self.names().into_iter().find(has_number)
    }

    /// The device behind a path such as `/dev/sda2`, `/dev/mapper/root` or `/dev/disk/by-uuid/…`.
    fn named_by_path(&self, path: &str) -> Option<String> {
        let inside = path.strip_prefix("/dev/")?;
        let name = inside.replace('/', "!");
        if self.folder(&name).is_some() {
            return Some(name);
        }
        if let Some(mapped) = inside.strip_prefix("mapper/") {
            let is_mapped = |name: &String| {
                let label = self.folder(name).and_then(|folder| attribute(&folder.join("dm/name")));
                label.as_deref() == Some(mapped)
            };
            if let Some(name) = self.names().into_iter().find(is_mapped) {
                return Some(name);
            }
        }
        let real = fs::canonicalize(self.root.join("dev").join(inside)).ok()?;
        let name = real.file_name()?.to_str()?.to_owned();
        self.folder(&name).map(|_| name)
    }

    fn device_of(&self, mount: &Mount) -> Option<String> {
        self.named_by_number(&mount.number).or_else(|| self.named_by_path(&mount.source))
    }

    /// Who uses exactly this device; its partitions are devices of their own.
    fn uses_of(&self, name: &str) -> Vec<Use> {
        let device = || name.to_owned();
        let mounted = self
            .mounts
            .iter()
            .filter(|mount| self.device_of(mount).as_deref() == Some(name))
            .map(|mount| Use::Mounted { device: device(), at: mount.at.clone() });
        let swapped = self
            .swaps
            .iter()
            .filter(|path| self.named_by_path(path).as_deref() == Some(name))
            .map(|_| Use::Swap { device: device() });
        let holders = self.folder(name).map(|folder| names_in(&folder.join("holders")));
        let held = holders.unwrap_or_default().into_iter().map(|holder| {
            let label = self.folder(&holder).and_then(|it| attribute(&it.join("dm/name")));
            let by = label.map_or(holder.clone(), |label| format!("{holder} ({label})"));
            Use::Held { device: device(), by }
        });
        mounted.chain(swapped).chain(held).collect()
    }

    /// The whole disks below `/`, through every layer.
    fn system_disks(&self) -> BTreeSet<String> {
        let root = self.mounts.iter().filter(|mount| mount.at == "/");
        let mut layer: BTreeSet<String> = root.filter_map(|mount| self.device_of(mount)).collect();
        let mut disks = BTreeSet::new();
        for _ in 0..LAYERS_MAX {
            let mut below = BTreeSet::new();
            for name in layer {
                let Some(folder) = self.folder(&name) else {
                    continue;
                };
                let whole = partition_parent(&folder).unwrap_or_else(|| name.clone());
                below.extend(names_in(&folder.join("slaves")));
                disks.insert(whole);
            }
            if below.is_empty() {
                break;
            }
            layer = below;
        }
        disks
    }
}

/// The disk of a partition; a partition's folder lies in its disk's.
fn partition_parent(folder: &Path) -> Option<String> {
    folder.join("partition").exists().then_some(())?;
    Some(folder.parent()?.file_name()?.to_str()?.to_owned())
}

fn partitions_in(folder: &Path) -> Vec<String> {
    let is_partition = |name: &String| folder.join(name).join("partition").exists();
    names_in(folder).into_iter().filter(is_partition).collect()
}

/// The names in a folder, in order; none if there is no such folder.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// What an attribute says, if there is one and it says something.
fn attribute(path: &Path) -> Option<String> {
    let text = String::from_utf8_lossy(&attribute_bytes(path)?).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn attribute_bytes(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(ATTRIBUTE_MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn serial(disk: &Path) -> Option<String> {
    let plain = ["serial", "device/serial"];
    if let Some(serial) = plain.iter().find_map(|inside| attribute(&disk.join(inside))) {
        return Some(serial);
    }
    let page = attribute_bytes(&disk.join("device/vpd_pg80"));
    if let Some(serial) = page.as_deref().and_then(|page| page.get(SERIAL_PAGE_HEADER_BYTES..)) {
        let text: String =
            String::from_utf8_lossy(serial).chars().filter(|c| !c.is_control()).collect();
        if !text.trim().is_empty() {
            return Some(text.trim().to_owned());
        }
    }
    // A stick's own number is that of the USB device above it.
    if transport(disk) != Some("usb") {
        return None;
    }
    disk.ancestors().take(LAYERS_MAX).find_map(|above| attribute(&above.join("serial")))
}

fn transport(disk: &Path) -> Option<&'static str> {
    let parts: Vec<&str> =
        disk.components().filter_map(|component| component.as_os_str().to_str()).collect();
    let from = parts.iter().position(|part| *part == "devices")?;
    let matches = |word: &str| {
        parts[from..].iter().any(|part| {
            let rest = part.strip_prefix(word);
            rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    TRANSPORTS.iter().find(|(word, _)| matches(word)).map(|(_, name)| *name)
}
