//! A tiny image, assembled by the real code from made-up files: it has everything but sense.

#![expect(clippy::cast_possible_truncation, reason = "test data is small")]
#![allow(dead_code, reason = "two test programs share this, and each uses a part")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use builder::image::assemble::assemble;
use builder::image::identity;
use builder::image::layout::Part;
use builder::image::open::OpenImage;
use builder::progress::Progress;
use builder::root::compose::Composition;
use builder::root::content::Content;
use builder::root::definition::Definition;
use builder::root::tree::{Node, Origin, Tree, TreePath};
use seed::manifest::{MANIFEST_PATH, Manifest};

pub(crate) const MIB: u64 = 1 << 20;

const HEADERS_BYTES: u32 = 1024;
const HEADERS_AT: usize = 64;
const OPTIONAL_AT: usize = HEADERS_AT + 24;
const TABLE_AT: usize = OPTIONAL_AT + 240;

pub(crate) const DEFINITION: &str = r#"
name = "tiny"
summary = "a test's image"
version = "1.2.3"
architecture = "amd64"
overlays = []
[debian]
suites = ["trixie"]
[kernel]
package = "linux-image-cloud-amd64"
early_modules = []
command_line = ["quiet"]
[partitions]
esp = "34MiB"
slot = "6MiB"
seed = "2MiB"
state = "5MiB"
"#;

/// A whole seed without secrets.
pub(crate) const SEED: &str = r#"format = 1
[node]
name = "node1"
roles = ["server"]
[[links]]
name = "lan"
match = { name = "e*" }
addresses = ["10.0.0.1/24"]
[cluster]
name = "tiny"
[[cluster.nodes]]
name = "node1"
roles = ["server"]
addresses = ["10.0.0.1"]
[k3s]
datastore = "etcd"
"#;

/// What of the image a test chooses.
#[derive(Clone, Copy)]
pub(crate) struct Choice {
    pub(crate) debug: bool,
    pub(crate) stand_in: bool,
    pub(crate) seed_format: u32,
    pub(crate) seed: Option<&'static str>,
}

impl Choice {
    pub(crate) const SHIPPED: Self =
        Self { debug: false, stand_in: false, seed_format: 1, seed: None };
}

/// A program with one section, as small as systemd's stub could ever be.
fn stub() -> Vec<u8> {
    let mut stub = vec![0; HEADERS_BYTES as usize + 512];
    let mut put = |at: usize, field: &[u8]| stub[at..at + field.len()].copy_from_slice(field);
    put(0, b"MZ");
    put(60, &(HEADERS_AT as u32).to_le_bytes());
    put(HEADERS_AT, b"PE\0\0");
    put(HEADERS_AT + 4, &0x8664_u16.to_le_bytes());
    put(HEADERS_AT + 6, &1_u16.to_le_bytes());
    put(HEADERS_AT + 20, &240_u16.to_le_bytes());
    put(OPTIONAL_AT, &0x20b_u16.to_le_bytes());
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

fn manifest(choice: Choice) -> Manifest {
    Manifest {
        name: "tiny".to_owned(),
        version: "1.2.3".to_owned(),
        seed_format: choice.seed_format,
        source_date: 1_700_000_000,
        architecture: "amd64".to_owned(),
        stand_in: choice.stand_in,
        debug: choice.debug,
        overlays: Vec::new(),
        packages: Vec::new(),
        users: Vec::new(),
        modules: Vec::new(),
        sysctls: BTreeMap::new(),
        templates: Vec::new(),
        services: Vec::new(),
    }
}

fn add(tree: &mut Tree, path: &str, bytes: &[u8]) {
    let node = Node::file(Content::from_bytes(bytes), 0o644, Origin::Builder);
    tree.insert(TreePath::new(path).expect("a path"), node).expect("inserted");
}

/// Bytes that don't repeat.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let word = |index: u64| index.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    (1..).flat_map(word).take(length).collect()
}

/// Writes an image to `path`.
pub(crate) fn write_image(path: &Path, choice: Choice) {
    let definition: Definition = toml::from_str(DEFINITION).expect("a definition");
    let manifest = manifest(choice);
    let mut root = Tree::default();
    let text = manifest.to_json().expect("written");
    add(&mut root, MANIFEST_PATH, text.as_bytes());
    add(&mut root, "/usr/lib/noise", &noise(900_000));
    let mut initramfs = Tree::default();
    add(&mut initramfs, "/init", b"init");
    let dev = TreePath::new("/dev").expect("a path");
    initramfs.insert(dev, Node::directory(Origin::Builder)).expect("inserted");
    let composition = Composition {
        root,
        initramfs,
        kernel: Content::from_bytes(noise(200_000)),
        kernel_release: "6.12.1".to_owned(),
        stub: Content::from_bytes(stub()),
        boot_loader: Content::from_bytes(noise(5000)),
        manifest,
    };
    let file = File::options().read(true).write(true).create_new(true).open(path).expect("created");
    assemble(&file, &composition, &definition, &Progress::quiet()).expect("assembled");
    if let Some(seed) = choice.seed {
        let image = OpenImage::open(path).expect("an image");
        let partition = image.partition(Part::Seed).expect("there");
        identity::write(&file, partition, seed, 1_700_000_000).expect("written");
    }
}

/// An image in a folder of its own.
pub(crate) fn image(choice: Choice) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tiny.raw");
    write_image(&path, choice);
    (folder, path)
}

/// A file as large as that, full of somebody's old bytes.
pub(crate) fn used_disk(path: &Path, bytes: u64) {
    let file = File::create(path).expect("created");
    let old = vec![0xa5; MIB as usize];
    for mib in 0..bytes / MIB {
        file.write_all_at(&old, mib * MIB).expect("written");
    }
    file.set_len(bytes).expect("sized");
}

/// What is left over in a folder although nobody gave it a name.
pub(crate) fn part_files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.ends_with(".part")).collect()
}

/// Finds a tool by the environment (`QEMU_IMG=/path`) or on `PATH`; says so if there is none.
pub(crate) fn oracle(tool: &str) -> Option<PathBuf> {
    let variable = tool.to_uppercase().replace(['.', '-'], "_");
    if let Some(named) = std::env::var_os(&variable) {
        return Some(named.into());
    }
    let search = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&search)
        .chain(["/usr/sbin".into()])
        .map(|folder| folder.join(tool))
        .find(|candidate| candidate.is_file());
    if found.is_none() {
        println!("skipped: {tool} is not there; name it with {variable}=/path/to/{tool}");
    }
    found
}

/// Runs a tool and wants success.
pub(crate) fn run(tool: &Path, arguments: &[&str]) {
    let output = Command::new(tool).args(arguments).output().expect("the tool starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{} {arguments:?}: {}\n{}\n{}",
        tool.display(),
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
}
