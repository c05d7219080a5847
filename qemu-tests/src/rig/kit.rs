//! What all machines of an image share: QEMU, the image built once, kernels, and the probe in memory.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use ::probe::words::Role;
use builder::build::source::Reach;
use builder::build::{self, BuildError, Request};
use builder::image::cpio::{self, CpioError};
use builder::image::formats::Format;
use builder::image::identity::{self, IdentityError};
use builder::image::layout::Part;
use builder::image::open::{OpenError, OpenImage};
use builder::node::{self, NodeError};
use builder::progress::Progress;
use builder::project::Project;
use builder::qemu::accelerate;
use builder::qemu::command::{Acceleration, Start};
use builder::qemu::program::{ProgramError, Qemu};
use builder::root::content::Content;
use builder::root::definition::Architecture;
use builder::root::tree::{Node, Origin, Tree, TreeError, TreePath};
use disk::boot::Slot;
use disk::gpt::Partition;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::machine::Body;

/// Enough for the kernel, our agents and a small PostgreSQL.
const NODE_MEMORY_MIB: u32 = 512;
/// The tester has a kernel and one program.
const TESTER_MEMORY_MIB: u32 = 192;
/// What the probe speaks through; it needs no other module, and may be built in.
const OF_PROBE: &str = "virtio_console";
/// What there is in the tester.
const TESTER_MODULES: [&str; 2] = [OF_PROBE, "virtio_net"];
/// The kernel tries at its start whether the timer ticks, and gives up one that was only late because
/// the desk was busy; such a guest hung on a desk with ten programs to a processor. Under KVM it
/// doesn't try either.
const FOR_A_BUSY_DESK: &str = "no_timer_check";
/// Archives of an initramfs begin at multiples of this.
const ARCHIVE_ALIGNMENT: usize = 512;

#[derive(Debug, Error)]
pub enum KitError {
    #[error("the image can't be built: {0}")]
    Build(#[from] BuildError),
    #[error("the probe can't be built: {0}")]
    Probe(#[from] NodeError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Qemu(#[from] ProgramError),
    #[error("the probe's archive: {0}")]
    Tree(#[from] TreeError),
    #[error("the probe's archive: {0}")]
    Archive(#[from] CpioError),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Seed(#[from] IdentityError),
}

/// The shared parts.
#[derive(Debug)]
pub struct Kit {
    pub qemu: Qemu,
    pub acceleration: Acceleration,
    /// The image without a seed; nobody writes to it. It names the open file, because the cache keeps
    /// few images, and other builds may push this one out while drills run.
    pub image: PathBuf,
    _open_image: File,
    /// The image's verity root hash, which names it.
    pub verity_root: String,
    /// Where its kernel and archives are.
    pub folder: PathBuf,
    /// A hash over all that a machine is started from.
    pub fingerprint: String,
    kernel: PathBuf,
    node_initramfs: PathBuf,
    tester_initramfs: PathBuf,
    command_line: String,
    seed_partition: Partition,
    source_date: u64,
}

/// Where the kit's parts come from and go to.
#[derive(Clone, Debug)]
pub struct Place {
    pub project: Project,
    pub cache: PathBuf,
    /// For kernels and archives, as long as the kit is used.
    pub folder: PathBuf,
}

impl Kit {
    /// Builds what isn't built yet.
    pub fn prepare(image: &str, place: &Place, progress: &Progress) -> Result<Self, KitError> {
        let request = Request {
            project: place.project.clone(),
            cache: place.cache.clone(),
            image: image.to_owned(),
            seeds: Vec::new(),
            out: place.folder.clone(),
            reach: Reach::default(),
            k3s: None,
            format: Format::Raw,
            anew: false,
        };
        let built = build::build(&request, progress)?;
        let base = &built.base.path;
        let file_error = |source| KitError::File { path: base.clone(), source };
        let open_image = File::open(base).map_err(file_error)?;
        let image = PathBuf::from(format!("/proc/self/fd/{}", open_image.as_raw_fd()));
        let open = OpenImage::open(&image)?;
        let kernel = open.kernel(Slot::A)?;
        let linux_bytes = open.section(&kernel, ".linux")?;
        let linux = write(&place.folder, "kernel", linux_bytes)?;
        let probe = build_probe(&place.project)?;
        let mut modules = build::kernel_modules(&request, &TESTER_MODULES, progress)?;
        let alone = archive(&probe, &modules)?;
        // A node loads its drivers itself.
        modules.retain(|(name, _)| name == OF_PROBE);
        let beside = archive(&probe, &modules)?;
        let mut node = open.section(&kernel, ".initrd")?.to_vec();
        node.resize(node.len().next_multiple_of(ARCHIVE_ALIGNMENT), 0);
        node.extend(beside);
        let verity_root = built.base.record.verity_root;
        let parts = [linux_bytes, &*node, &*alone, verity_root.as_bytes()];
        let fingerprint = fingerprint(&parts);
        let qemu = Qemu::find(&place.cache, &Reach::default(), progress)?;
        let acceleration = accelerate::probe(&qemu, &linux, &place.cache);
        Ok(Self {
            qemu,
            acceleration,
            verity_root,
            folder: place.folder.clone(),
            fingerprint,
            kernel: linux,
            node_initramfs: write(&place.folder, "node.initramfs", &node)?,
            tester_initramfs: write(&place.folder, "tester.initramfs", &alone)?,
            command_line: kernel.command_line.clone(),
            seed_partition: open.partition(Part::Seed)?.clone(),
            source_date: built.base.record.source_date,
            image,
            _open_image: open_image,
        })
    }

    /// How a machine starts: QEMU loads the kernel, and the kernel starts the probe, which in a node
    /// starts the node's own first program.
    pub fn start(&self, body: &Body) -> Start {
        let (initramfs, line, role) = match body {
            Body::Node { .. } => (&self.node_initramfs, &*self.command_line, Role::Beside),
            Body::Tester => (&self.tester_initramfs, "console=ttyS0 panic=1 quiet", Role::Tester),
        };
        Start::Direct {
            kernel: self.kernel.clone(),
            initramfs: Some(initramfs.clone()),
            command_line: format!("{line} {FOR_A_BUSY_DESK} rdinit=/probe probe={}", role.word()),
        }
    }

    pub fn memory_mib(&self, body: &Body) -> u32 {
        match body {
            Body::Node { .. } => NODE_MEMORY_MIB,
            Body::Tester => TESTER_MEMORY_MIB,
        }
    }

    /// The bytes of a SEED partition with this text, and where on a disk they go.
    pub fn seed_volume(&self, seed: &str) -> Result<(u64, Vec<u8>), KitError> {
        let volume = identity::volume(&self.seed_partition, seed, self.source_date)?;
        Ok((self.seed_partition.offset_bytes(), volume))
    }
}

/// A name for all of these together.
pub(super) fn fingerprint(parts: &[impl AsRef<[u8]>]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn build_probe(project: &Project) -> Result<Vec<u8>, KitError> {
    let binaries = node::build_packages(&["probe"], project, Architecture::Amd64, false)?;
    let path = binaries.into_iter().map(|binary| binary.path).next().unwrap_or_default();
    fs::read(&path).map_err(|source| KitError::File { path, source })
}

/// The probe and its modules, as the kernel unpacks them.
fn archive(probe: &[u8], modules: &[(String, Vec<u8>)]) -> Result<Vec<u8>, KitError> {
    let mut tree = Tree::default();
    let file = |bytes: &[u8], mode| Node::file(Content::from_bytes(bytes), mode, Origin::Builder);
    tree.insert(TreePath::new("/probe")?, file(probe, 0o755))?;
    for (number, (name, bytes)) in modules.iter().enumerate() {
        let path = format!("{}/{number:02}-{name}.ko", ::probe::place::MODULES);
        tree.insert(TreePath::new(&path)?, file(bytes, 0o644))?;
    }
    let below = |folder: &str| format!("{}/{folder}", ::probe::place::FOLDER);
    // The kernel may have every module built in, and then there is none.
    let modules = ::probe::place::MODULES.to_owned();
    for folder in ["/dev".to_owned(), below("proc"), below("sys"), below("dev"), modules] {
        tree.insert(TreePath::new(&folder)?, Node::directory(Origin::Builder))?;
    }
    Ok(cpio::to_vec(&tree, &[cpio::Device::console()])?)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, KitError> {
    let path = folder.join(name);
    fs::write(&path, bytes).map_err(|source| KitError::File { path: path.clone(), source })?;
    Ok(path)
}
