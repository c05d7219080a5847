//! What there is to know about a device and an image before one is written to the other.

use std::fmt;
use std::path::PathBuf;

/// What kind of target a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole disk.
    Disk,
    /// A part of the named disk.
    Partition { of: String },
    /// A regular file, which may not exist yet.
    File,
}

/// Somebody who would notice if the device changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// The device is mounted here.
    Mounted { device: String, at: String },
    /// The device is swap space.
    Swap { device: String },
    /// Another block device is made of it: device mapper, RAID, a loop over a file.
    Held { device: String, by: String },
}

/// A partition that is on the device now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartFacts {
    /// The kernel's name, such as `sdb1`.
    pub name: String,
    pub bytes: u64,
}

/// A target as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFacts {
    /// The kernel's name, such as `sdb`; for a file its path.
    pub name: String,
    pub kind: Kind,
    /// None for a file that takes the size of what is written to it.
    pub bytes: Option<u64>,
    /// The smallest unit that the disk reads and writes.
    pub sector_bytes: u64,
    pub read_only: bool,
    pub removable: bool,
    pub vendor: Option<String>,
    pub model: Option<String>,
    pub serial: Option<String>,
    /// The kernel's count of disks and media since its start: another card in the same reader has
    /// another number, whatever else is alike. Older kernels don't count.
    pub sequence: Option<String>,
    /// Such as `usb` or `nvme`.
    pub transport: Option<&'static str>,
    /// It carries, perhaps through layers, the root filesystem of this machine.
    pub is_system: bool,
    pub uses: Vec<Use>,
    pub partitions: Vec<PartFacts>,
}

/// Whose image it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeedState {
    /// The image is no node yet.
    Empty,
    /// There is a seed, but not one that a node of this version would take.
    Bad,
    Node {
        node: String,
        cluster: String,
    },
}

/// An image as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    pub bytes: u64,
    /// Its console gives a shell.
    pub debug: bool,
    /// It has something in place of K3s.
    pub stand_in: bool,
    pub seed: SeedState,
}

impl DeviceFacts {
    /// A file as a target; `bytes` is its size if it is to keep that.
    pub fn of_file(name: String, bytes: Option<u64>, uses: Vec<Use>) -> Self {
        Self {
            name,
            kind: Kind::File,
            bytes,
            sector_bytes: disk::gpt::SECTOR_BYTES,
            read_only: false,
            removable: false,
            vendor: None,
            model: None,
            serial: None,
            sequence: None,
            transport: None,
            is_system: false,
            uses,
            partitions: Vec::new(),
        }
    }

    /// What is no longer so, in words: of the very same target nothing changes within minutes.
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let told = self.identifying().into_iter().zip(now.identifying());
        told.filter(|(was, is)| was != is)
            .map(|((what, was), (_, is))| format!("{what}: was {was}, is {is}"))
            .collect()
    }

    /// What tells one target from another, and an idle one from one in use.
    fn identifying(&self) -> [(&'static str, String); 9] {
        let maybe = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
        let bytes = self.bytes.map_or_else(|| "none".to_owned(), |bytes| bytes.to_string());
        [
            ("name", self.name.clone()),
            ("kind", self.kind.to_string()),
            ("serial number", maybe(&self.serial)),
            ("disk sequence number", maybe(&self.sequence)),
            ("vendor", maybe(&self.vendor)),
            ("model", maybe(&self.model)),
            ("bytes", bytes),
            ("partitions", listed(&self.partitions)),
            ("uses", listed(&self.uses)),
        ]
    }

    /// The device's node in `/dev`, or the file's path.
    pub fn path(&self) -> PathBuf {
        match self.kind {
            Kind::File => PathBuf::from(&self.name),
            // The kernel writes a slash in a name (as in `cciss/c0d0`) as an exclamation mark.
            Kind::Disk | Kind::Partition { .. } => {
                PathBuf::from("/dev").join(self.name.replace('!', "/"))
            }
        }
    }
}

fn listed(parts: &[impl fmt::Display]) -> String {
    if parts.is_empty() {
        return "none".to_owned();
    }
    parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

impl fmt::Display for SeedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "no node yet"),
            Self::Bad => write!(f, "with a bad seed"),
            // Each site has a node1.
            Self::Node { node, cluster } => write!(f, "{node} of {cluster}"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk => write!(f, "a disk"),
            Self::Partition { of } => write!(f, "a partition of {of}"),
            Self::File => write!(f, "a file"),
        }
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted { device, at } => write!(f, "{device} mounted on {at}"),
            Self::Swap { device } => write!(f, "{device} as swap"),
            Self::Held { device, by } => write!(f, "{device} in {by}"),
        }
    }
}

impl fmt::Display for PartFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.name, self.bytes)
    }
}
