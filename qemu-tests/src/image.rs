//! The images that are booted: built once for all tests of a run, by the builder itself.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use builder::build::seeds;
use builder::build::source::Reach;
use builder::build::{self, Request};
use builder::device::{self, DeviceFacts, Source, Target};
use builder::image::formats::Format;
use builder::image::identity;
use builder::image::layout::Part;
use builder::image::open::OpenImage;
use builder::image::sparse::ImageHasher;
use builder::progress::Progress;
use builder::project::{self, Project};
use builder::qemu::accelerate;
use builder::qemu::command::{Acceleration, Card, Console, Machine, Start};
use builder::qemu::program::Qemu;
use disk::boot::Slot;

/// Enough for the kernel and our agents; PostgreSQL will want more.
const MEMORY_MIB: u32 = 512;
/// Room for a state partition.
const DISK_BYTES: u64 = 1 << 30;

/// What every boot test needs.
#[derive(Debug)]
pub struct Bench {
    pub qemu: Qemu,
    pub acceleration: Acceleration,
    /// The lab image of node1.
    pub image: PathBuf,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// The bench of this run, set up by whoever asks first.
    pub fn get() -> &'static Self {
        static BENCH: OnceLock<Bench> = OnceLock::new();
        BENCH.get_or_init(Self::set_up)
    }

    fn set_up() -> Self {
        let cache = project::cache_folder(None).expect("a cache folder");
        let folder = tempfile::tempdir().expect("a folder for images");
        let image = build("lab", None, folder.path());
        let qemu = Qemu::find(&cache, &Reach::default(), &Progress::new(false))
            .unwrap_or_else(|error| panic!("{error}"));
        let kernel = folder.path().join("kernel");
        let open = OpenImage::open(&image).expect("what was built can be read");
        let slot = open.kernel(Slot::A).expect("slot A has a kernel");
        std::fs::write(&kernel, open.section(&slot, ".linux").expect("a kernel")).expect("written");
        let acceleration = accelerate::probe(&qemu, &kernel, &cache);
        eprintln!("{} with {acceleration:?}", qemu.describe());
        Self { qemu, acceleration, image, _folder: folder }
    }

    /// A machine with a disk of its own in `folder`, which starts as hardware does or directly.
    pub fn machine(&self, image: &Path, uefi: bool, folder: &Path) -> Machine {
        let open = OpenImage::open(image).expect("the image can be read");
        let kernel = open.kernel(Slot::A).expect("slot A has a kernel");
        let start = if uefi {
            self.firmware(folder)
        } else {
            let section = |name| open.section(&kernel, name).expect("the kernel is whole");
            let (linux, initramfs) = (folder.join("kernel"), folder.join("initramfs"));
            std::fs::write(&linux, section(".linux")).expect("written");
            std::fs::write(&initramfs, section(".initrd")).expect("written");
            let command_line = kernel.command_line.clone();
            Start::Direct { kernel: linux, initramfs: Some(initramfs), command_line }
        };
        let disk = copy_of(&open.file, open.bytes, folder);
        self.assemble(start, disk, folder)
    }

    /// A machine that starts through its firmware from a disk that need not be ours.
    pub fn machine_from_disk(&self, image: &Path, folder: &Path) -> Machine {
        let file = std::fs::File::open(image).expect("the image can be read");
        let bytes = file.metadata().expect("known").len();
        let disk = copy_of(&file, bytes, folder);
        self.assemble(self.firmware(folder), disk, folder)
    }

    fn firmware(&self, folder: &Path) -> Start {
        let (firmware, template) = self.qemu.firmware().expect("firmware comes with QEMU");
        let variables = folder.join("variables");
        std::fs::copy(template, &variables).expect("copied");
        Start::Uefi { firmware, variables }
    }

    fn assemble(&self, start: Start, disk: PathBuf, folder: &Path) -> Machine {
        Machine {
            name: "guest".to_owned(),
            acceleration: self.acceleration,
            memory_mib: MEMORY_MIB,
            processors: processors(self.acceleration),
            start,
            disks: vec![disk.into()],
            sockets: false,
            watchdog: false,
            // The lab's first node finds its card, whose cable leads nowhere.
            cards: vec![Card {
                mac: "52:54:00:77:00:01".to_owned(),
                backend: "hubport,hubid=0".to_owned(),
            }],
            channels: Vec::new(),
            console: Console::Output,
            control: Some(folder.join("control")),
            clock: None,
            end_on_restart: true,
            incoming: false,
        }
    }
}

/// Under TCG one is enough. With two, about one boot in sixty on a busy desk came to rest before
/// stage 1: the second processor never got a tick of its timer ("rcu: possible timer handling issue
/// on cpu=1"), which is QEMU's to mend; and two threads of TCG on two busy cores gain little.
fn processors(acceleration: Acceleration) -> u32 {
    match acceleration {
        Acceleration::Kvm => 2,
        Acceleration::Tcg => 1,
    }
}

/// A disk of its own with the content of an image, and room for a state partition.
fn copy_of(image: &std::fs::File, bytes: u64, folder: &Path) -> PathBuf {
    let disk = folder.join("disk.raw");
    let file = std::fs::File::create_new(&disk).expect("created");
    builder::image::sparse::copy(image, &file).expect("copied");
    file.set_len(bytes.max(DISK_BYTES)).expect("sized");
    disk
}

/// A disk with room for a state partition, written as `builder flash` writes one.
pub fn flash(image: &Path, disk: &Path) {
    let file = std::fs::File::create_new(disk).expect("created");
    file.set_len(DISK_BYTES).expect("sized");
    let quiet = Progress::quiet();
    let source = Source::open_file(image, &quiet).expect("an image");
    let machine = device::Machine::read(Path::new("/")).expect("this machine");
    let facts = DeviceFacts::of_path(disk, &machine).expect("a file");
    let target = Target::open(disk, &facts).expect("opened");
    device::flash(&source, target, facts.bytes, &quiet).expect("flashed");
}

/// Builds an image of the lab's first node.
pub fn build(image: &str, k3s: Option<&Path>, out: &Path) -> PathBuf {
    build_for(&lab_seed("node1"), image, k3s, out)
}

/// Builds an image of the node of a seed. The site's secrets are beside the seed afterwards.
pub fn build_for(seed: &Path, image: &str, k3s: Option<&Path>, out: &Path) -> PathBuf {
    let project = Project::find(None).expect("the tests run in a checkout");
    let request = Request {
        seeds: vec![seed.to_owned()],
        project,
        cache: project::cache_folder(None).expect("a cache folder"),
        image: image.to_owned(),
        out: out.to_owned(),
        reach: Reach::default(),
        k3s: k3s.map(Path::to_owned),
        format: Format::Raw,
        anew: false,
    };
    let built = build::build(&request, &Progress::new(false));
    built.unwrap_or_else(|error| panic!("{error}")).images[0].path.clone()
}

/// Files in the place of a K3s release, which the machines of CI can't reach. They are carried, never
/// run: what is booted here is the kernel, the drivers and the agent of the image that ships.
pub fn placeholder_for_k3s(folder: &Path) {
    let mut sums = String::new();
    for name in ["k3s", "k3s-airgap-images-amd64.tar.zst"] {
        std::fs::write(folder.join(name), format!("placeholder for {name}\n")).expect("written");
        let file = std::fs::File::open(folder.join(name)).expect("open");
        let mut hasher = ImageHasher::default();
        hasher.advance(&file, file.metadata().expect("known").len()).expect("hashed");
        sums.push_str(&format!("{}  {name}\n", hasher.finish()));
    }
    std::fs::write(folder.join("sha256sum-amd64.txt"), sums).expect("written");
}

/// Puts a text onto the SEED partition of a machine's disk.
pub fn write_seed(disk: &Path, text: &str) {
    let image = OpenImage::open(disk).expect("an image");
    let partition = image.partition(Part::Seed).expect("a SEED partition").clone();
    let file = OpenOptions::new().read(true).write(true).open(disk).expect("open");
    identity::write(&file, &partition, text, 0).expect("written");
}

/// Leaves a machine's disk as if no seed had ever been written to it.
pub fn erase_seed(disk: &Path) {
    let image = OpenImage::open(disk).expect("an image");
    let partition = image.partition(Part::Seed).expect("a SEED partition");
    let zeros = vec![0; usize::try_from(partition.size_bytes()).expect("small")];
    let file = OpenOptions::new().write(true).open(disk).expect("open");
    file.write_all_at(&zeros, partition.offset_bytes()).expect("erased");
}

/// Writes over the superblock of a slot's filesystem, which every mount reads first.
pub fn tamper_with_root(disk: &Path, slot: Slot) {
    let image = OpenImage::open(disk).expect("an image");
    let root = image.partition(Part::Root(slot)).expect("a root").offset_bytes();
    let file = OpenOptions::new().write(true).open(disk).expect("open");
    file.write_all_at(b"tampered", root + 1024 + 120).expect("written");
}

/// The seed of a node of the lab.
pub fn lab_seed(node: &str) -> PathBuf {
    let project = Project::find(None).expect("the tests run in a checkout");
    project.root().join(format!("images/lab/{node}.toml"))
}

/// The same with its secrets, as a node needs it: what is on a SEED partition or a stick.
pub fn sealed_lab_seed(node: &str) -> String {
    // The site's secrets are made by one build, not by two at a time.
    let _there = Bench::get();
    let sealed = seeds::seal_all(&[lab_seed(node)], &Progress::quiet());
    let sealed = sealed.unwrap_or_else(|error| panic!("{error}"));
    sealed.into_iter().map(|seed| seed.text).collect()
}
