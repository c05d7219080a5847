//! A tiny image that could be shipped, or could not, and disks to flash it onto.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use builder::root::definition::Definition;
use builder::root::tree::Tree;
use seed::manifest::Manifest;

use super::definition::definition_text;
use super::noise::noise;
use super::tiny_image;
use super::trees::add_file;

pub(crate) const MIB: u64 = 1 << 20;
const SOURCE_DATE: u64 = 1_700_000_000;

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

/// All bytes but those of the two tables, which tell each disk from others with the same image.
pub(crate) fn behind_the_table(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).expect("read");
    let table = usize::try_from(MIB).expect("small");
    bytes[table..bytes.len() - table].to_vec()
}

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

/// What the image is of; its partitions are large enough that writing them can skip something.
pub(crate) fn definition() -> Definition {
    toml::from_str(&definition_text(&[], [6, 2, 5])).expect("a definition")
}

/// Writes an image to `path`.
pub(crate) fn write_image(path: &Path, choice: Choice) {
    let Choice { debug, stand_in, seed_format, seed } = choice;
    let mut root = Tree::default();
    add_file(&mut root, "/usr/lib/noise", &noise(900_000), 0o644);
    let manifest = Manifest::new("tiny", "1.2.3", "amd64", SOURCE_DATE);
    let manifest = Manifest { seed_format, stand_in, debug, ..manifest };
    tiny_image::write_image(path, &definition(), root, manifest, noise(200_000));
    if let Some(seed) = seed {
        tiny_image::write_seed(path, seed, SOURCE_DATE);
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
    let old = vec![0xa5; usize::try_from(MIB).expect("small")];
    for mib in 0..bytes / MIB {
        file.write_all_at(&old, mib * MIB).expect("written");
    }
    file.set_len(bytes).expect("sized");
}
