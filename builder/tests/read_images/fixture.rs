//! A small but complete image, assembled by the library from a composition made up here.

#![expect(clippy::cast_possible_truncation, reason = "test data is small")]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use builder::image::layout::Part;
use builder::image::open::OpenImage;
use builder::image::{assemble, identity};
use builder::progress::Progress;
use builder::root::compose::Composition;
use builder::root::content::Content;
use builder::root::definition::Definition;
use builder::root::origins;
use builder::root::tree::{Node, Origin, Tree, TreePath};
use seed::manifest::{MANIFEST_PATH, Manifest, OverlayRecord, PackageRecord};
use tempfile::TempDir;

pub(crate) const SOURCE_DATE: u64 = 1_772_366_400;

/// A valid seed; the file that newcomers build first.
pub(crate) const SEED: &str = include_str!("../../../images/lab/node1.toml");
pub(crate) const OTHER_SEED: &str = include_str!("../../../images/lab/node2.toml");

const DEFINITION: &str = r#"
name = "tiny"
summary = "for tests"
version = "1.2.3"
architecture = "amd64"
overlays = ["base"]
[debian]
suites = ["trixie"]
[kernel]
package = "linux-image-tiny"
early_modules = []
command_line = ["console=ttyS0", "quiet"]
[partitions]
esp = "34MiB"
slot = "2MiB"
seed = "1MiB"
state = "1MiB"
"#;

/// What an image is to be made of; tests change what they are about.
pub(crate) struct Recipe {
    pub(crate) root: Tree,
    pub(crate) manifest: Manifest,
    pub(crate) kernel: Vec<u8>,
    pub(crate) seed: Option<String>,
    pub(crate) both_slots: bool,
    pub(crate) command_line: &'static str,
}

/// A written image in a folder of its own.
pub(crate) struct Image {
    _folder: TempDir,
    pub(crate) path: PathBuf,
}

/// A path that the test knows to be good.
pub(crate) fn path(text: &str) -> TreePath {
    TreePath::new(text).expect("a good path")
}

pub(crate) fn package_origin() -> Origin {
    Origin::Package { package: "postgresql-17".to_owned(), overlay: "postgres".to_owned() }
}

pub(crate) fn package(name: &str, version: &str) -> PackageRecord {
    PackageRecord {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: "amd64".to_owned(),
        sha256: "5e".repeat(32),
    }
}

impl Default for Recipe {
    fn default() -> Self {
        let mut root = Tree::default();
        let mut add = |at: &str, node: Node| root.insert(path(at), node).expect("inserted");
        let bytes = |count: u32| (0..count).map(|at| (at * 7 + at / 251) as u8).collect::<Vec<_>>();
        add("/usr/bin/postgres", Node::file(content(&bytes(9000)), 0o755, package_origin()));
        let library =
            Origin::Library { package: "libc6".to_owned(), needed_by: path("/usr/bin/postgres") };
        add("/usr/lib/libc.so.6", Node::file(content(&bytes(20_000)), 0o755, library));
        let overlay = Origin::Overlay("base".to_owned());
        add("/etc/hosts", Node::symlink("/run/edgepair/rendered/etc/hosts", overlay.clone()));
        add("/etc/motd", Node::file(content(b"hello\n"), 0o644, overlay));
        for index in 0..40 {
            let node = Node::file(content(&bytes(index * 100)), 0o644, package_origin());
            root.insert(path(&format!("/usr/share/many/file-{index}")), node).expect("inserted");
        }
        Self {
            root,
            manifest: manifest(),
            kernel: bytes(70_000),
            seed: Some(SEED.to_owned()),
            both_slots: false,
            command_line: "quiet",
        }
    }
}

pub(crate) fn content(bytes: &[u8]) -> Content {
    Content::from_bytes(bytes)
}

fn manifest() -> Manifest {
    let overlay = |name: &str, version: Option<&str>| OverlayRecord {
        name: name.to_owned(),
        version: version.map(str::to_owned),
    };
    Manifest {
        name: "tiny".to_owned(),
        version: "1.2.3".to_owned(),
        seed_format: seed::section::FORMAT,
        source_date: SOURCE_DATE,
        architecture: "amd64".to_owned(),
        stand_in: true,
        debug: true,
        overlays: vec![overlay("base", None), overlay("k3s", Some("v1.32.1+k3s1"))],
        packages: vec![package("libstdc++6", "14.2.0-19"), package("postgresql-17", "1:17.5-1+b1")],
        users: Vec::new(),
        modules: Vec::new(),
        sysctls: BTreeMap::new(),
        templates: Vec::new(),
        services: Vec::new(),
    }
}

impl Recipe {
    pub(crate) fn build(mut self) -> Image {
        let folder = TempDir::new().expect("a folder");
        let definition_path = folder.path().join("tiny.toml");
        let mut text = DEFINITION.replace("quiet", self.command_line);
        if self.both_slots {
            text.push_str("fill_both_slots = true\n");
        }
        fs::write(&definition_path, text).expect("written");
        let definition = Definition::load(&definition_path).expect("a definition");
        let json = self.manifest.to_json().expect("JSON");
        let node = Node::file(content(json.as_bytes()), 0o644, Origin::Builder);
        self.root.insert(path(MANIFEST_PATH), node).expect("inserted");
        origins::add_to(&mut self.root).expect("added");
        let mut initramfs = Tree::default();
        let init = Node::file(content(b"\x7fELF init"), 0o755, Origin::Builder);
        initramfs.insert(path("/init"), init).expect("inserted");
        initramfs.insert(path("/dev"), Node::directory(Origin::Builder)).expect("inserted");
        let composition = Composition {
            root: self.root,
            initramfs,
            kernel: content(&self.kernel),
            kernel_release: "6.12.1-tiny".to_owned(),
            stub: content(&tiny_stub()),
            boot_loader: content(b"MZ a boot loader"),
            manifest: self.manifest,
        };
        let path = folder.path().join("tiny.raw");
        let file = File::create_new(&path).expect("created");
        let progress = Progress::quiet();
        assemble::assemble(&file, &composition, &definition, &progress).expect("assembled");
        let image = Image { _folder: folder, path };
        if let Some(seed) = &self.seed {
            image.write_seed(seed);
        }
        image
    }
}

impl Image {
    pub(crate) fn open(&self) -> OpenImage {
        OpenImage::open(&self.path).expect("an image")
    }

    pub(crate) fn writable(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.path).expect("opened")
    }

    pub(crate) fn write_seed(&self, seed: &str) {
        let file = self.writable();
        let image = self.open();
        let partition = image.partition(Part::Seed).expect("a partition");
        identity::write(&file, partition, seed, SOURCE_DATE).expect("written");
    }

    /// Where a part of the image lies.
    pub(crate) fn range(&self, part: Part) -> std::ops::Range<u64> {
        let image = self.open();
        let partition = image.partition(part).expect("a partition");
        partition.offset_bytes()..partition.offset_bytes() + partition.size_bytes()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).expect("read")
    }
}

/// Changes one byte; undone by doing it again.
pub(crate) fn flip(file: &File, offset: u64, bits: u8) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("read");
    file.write_all_at(&[byte[0] ^ bits], offset).expect("written");
}

/// The smallest EFI program with one section and room for more.
fn tiny_stub() -> Vec<u8> {
    const HEADERS_AT: usize = 64;
    const OPTIONAL_AT: usize = HEADERS_AT + 24;
    const TABLE_AT: usize = OPTIONAL_AT + 240;
    const HEADERS_BYTES: u32 = 1024;
    let mut stub = vec![0x90; HEADERS_BYTES as usize + 512];
    stub[..HEADERS_BYTES as usize].fill(0);
    let mut put = |at: usize, field: &[u8]| stub[at..at + field.len()].copy_from_slice(field);
    put(0, b"MZ");
    put(60, &(HEADERS_AT as u32).to_le_bytes());
    put(HEADERS_AT, b"PE\0\0");
    put(HEADERS_AT + 4, &0x8664_u16.to_le_bytes());
    put(HEADERS_AT + 6, &1_u16.to_le_bytes());
    put(HEADERS_AT + 20, &240_u16.to_le_bytes());
    put(OPTIONAL_AT, &0x20b_u16.to_le_bytes());
    put(OPTIONAL_AT + 8, &100_u32.to_le_bytes());
    put(OPTIONAL_AT + 32, &4096_u32.to_le_bytes());
    put(OPTIONAL_AT + 36, &512_u32.to_le_bytes());
    put(OPTIONAL_AT + 56, &0x2000_u32.to_le_bytes());
    put(OPTIONAL_AT + 60, &HEADERS_BYTES.to_le_bytes());
    put(OPTIONAL_AT + 108, &16_u32.to_le_bytes());
    put(TABLE_AT, b".text");
    put(TABLE_AT + 8, &100_u32.to_le_bytes());
    put(TABLE_AT + 12, &4096_u32.to_le_bytes());
    put(TABLE_AT + 16, &512_u32.to_le_bytes());
    put(TABLE_AT + 20, &HEADERS_BYTES.to_le_bytes());
    stub
}

/// Runs the command itself.
pub(crate) fn builder(arguments: &[&str], images: &[&Path]) -> (i32, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_builder"))
        .arg("--quiet")
        .args(arguments)
        .args(images)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().expect("it ends by itself"), text + &errors)
}
