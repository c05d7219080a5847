//! The initramfs archive: cpio in its "newc" form, which is all that the kernel unpacks.
//!
//! Times are zero and inode numbers count from one, so that equal trees give equal bytes. Device
//! nodes are no part of a [`Tree`], since no filesystem image of ours holds any; the few that the
//! kernel wants before `/dev` is mounted are named separately.

use std::io::{self, Write};

use thiserror::Error;

use crate::root::tree::{Node, NodeKind, Tree, TreePath};

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";
const ALIGNMENT: usize = 4;

const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_SYMLINK: u32 = 0o120_000;
const TYPE_CHARACTER_DEVICE: u32 = 0o020_000;

/// A character device that must exist from the first moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its directory must be in the tree.
    pub path: TreePath,
    pub mode: u16,
    pub major: u32,
    pub minor: u32,
}

/// Why an archive can't be written.
#[derive(Debug, Error)]
pub enum CpioError {
    #[error("{path} has {size} bytes, but a cpio archive ends at 4 GiB per file")]
    TooLarge { path: TreePath, size: u64 },
    #[error("the device {0} has no directory in the tree: add it")]
    NoDirectory(TreePath),
    #[error("{0} is in the tree and can't be a device as well")]
    Twice(TreePath),
    #[error("writing {path} to the archive")]
    Write { path: TreePath, source: io::Error },
    #[error("ending the archive")]
    End(#[source] io::Error),
}

impl Device {
    /// `/dev/console`: without it the first process has no standard output.
    pub fn console() -> Self {
        let path = TreePath::new("/dev/console").expect("a constant path is good");
        Self { path, mode: 0o600, major: 5, minor: 1 }
    }
}

/// What stands before a name.
#[derive(Default)]
struct Header {
    inode: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    links: u32,
    size: u32,
    device_major: u32,
    device_minor: u32,
}

/// Counts what was written, because the format aligns.
struct Archive<'a> {
    out: &'a mut dyn Write,
    position: usize,
    inode: u32,
}

/// Writes `tree` and then `devices` as one archive.
pub fn write(tree: &Tree, devices: &[Device], out: &mut dyn Write) -> Result<(), CpioError> {
    let mut archive = Archive { out, position: 0, inode: 0 };
    for (path, node) in tree.iter().filter(|(path, _)| !path.is_root()) {
        archive.add_node(path, node)?;
    }
    for device in devices {
        if tree.contains(&device.path) {
            return Err(CpioError::Twice(device.path.clone()));
        }
        let parent = device.path.parent().filter(|parent| tree.contains(parent));
        if parent.is_none() {
            return Err(CpioError::NoDirectory(device.path.clone()));
        }
        archive.add_device(device)?;
    }
    let end = Header { links: 1, ..Header::default() };
    archive.start(TRAILER, &end).map_err(CpioError::End)
}

/// The same archive in memory.
pub fn to_vec(tree: &Tree, devices: &[Device]) -> Result<Vec<u8>, CpioError> {
    let mut bytes = Vec::new();
    write(tree, devices, &mut bytes)?;
    Ok(bytes)
}

impl Archive<'_> {
    fn next_inode(&mut self) -> u32 {
        self.inode += 1;
        self.inode
    }

    fn add_node(&mut self, path: &TreePath, node: &Node) -> Result<(), CpioError> {
        let (kind, links, size) = match &node.kind {
            NodeKind::Directory => (TYPE_DIRECTORY, 2, 0),
            NodeKind::File(content) => (TYPE_FILE, 1, content.len()),
            NodeKind::Symlink(target) => (TYPE_SYMLINK, 1, target.len() as u64),
        };
        let too_large = |_| CpioError::TooLarge { path: path.clone(), size };
        let header = Header {
            inode: self.next_inode(),
            mode: kind | u32::from(node.mode),
            uid: node.uid,
            gid: node.gid,
            links,
            size: u32::try_from(size).map_err(too_large)?,
            ..Header::default()
        };
        let failed = |source| CpioError::Write { path: path.clone(), source };
        self.start(&path.as_str()[1..], &header).map_err(failed)?;
        match &node.kind {
            NodeKind::Directory => Ok(()),
            NodeKind::File(content) => content.copy_to(self),
            NodeKind::Symlink(target) => self.write_all(target.as_bytes()),
        }
        .and_then(|()| self.align())
        .map_err(failed)
    }

    fn add_device(&mut self, device: &Device) -> Result<(), CpioError> {
        let header = Header {
            inode: self.next_inode(),
            mode: TYPE_CHARACTER_DEVICE | u32::from(device.mode),
            links: 1,
            device_major: device.major,
            device_minor: device.minor,
            ..Header::default()
        };
        let failed = |source| CpioError::Write { path: device.path.clone(), source };
        self.start(&device.path.as_str()[1..], &header).map_err(failed)
    }

    /// A header and its name, up to where the content starts.
    fn start(&mut self, name: &str, header: &Header) -> io::Result<()> {
        // A TreePath is at most 4095 bytes long.
        let name_bytes = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
        let fields = [
            header.inode,
            header.mode,
            header.uid,
            header.gid,
            header.links,
            0, // modification time
            header.size,
            0, // the device that the archive came from
            0,
            header.device_major,
            header.device_minor,
            name_bytes,
            0, // checksum, unused in this form
        ];
        self.write_all(MAGIC.as_bytes())?;
        for field in fields {
            write!(self, "{field:08x}")?;
        }
        self.write_all(name.as_bytes())?;
        self.write_all(&[0])?;
        self.align()
    }

    fn align(&mut self) -> io::Result<()> {
        let padding = self.position.next_multiple_of(ALIGNMENT) - self.position;
        self.write_all(&[0; ALIGNMENT][..padding])
    }
}

impl Write for Archive<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.position += count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
