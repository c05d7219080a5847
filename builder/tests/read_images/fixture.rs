//! A small but complete image, assembled by the library from a composition made up here.

#![expect(clippy::cast_possible_truncation, reason = "test data is small")]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use builder::image::layout::Part;
use builder::image::open::OpenImage;
use builder::root::content::Content;
use builder::root::definition::Definition;
use builder::root::tree::{Node, Origin, Tree};
use seed::manifest::{Manifest, OverlayRecord, PackageRecord};
use tempfile::TempDir;

use crate::shared::command::{command, finish};
use crate::shared::definition::definition_text;
use crate::shared::tiny_image::{write_image, write_seed};
use crate::shared::trees::path;

pub(crate) const SOURCE_DATE: u64 = 1_772_366_400;

/// A valid seed; the file that newcomers build first.
pub(crate) const SEED: &str = include_str!("../../../images/lab/node1.toml");
pub(crate) const OTHER_SEED: &str = include_str!("../../../images/lab/node2.toml");

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
        stand_in: true,
        debug: true,
        overlays: vec![overlay("base", None), overlay("k3s", Some("v1.32.1+k3s1"))],
        packages: vec![package("libstdc++6", "14.2.0-19"), package("postgresql-17", "1:17.5-1+b1")],
        ..Manifest::new("tiny", "1.2.3", "amd64", SOURCE_DATE)
    }
}

impl Recipe {
    pub(crate) fn build(self) -> Image {
        let folder = TempDir::new().expect("a folder");
        let text = definition_text(&["base"], [2, 1, 1]).replace("quiet", self.command_line);
        let mut definition: Definition = toml::from_str(&text).expect("a definition");
        definition.partitions.fill_both_slots = self.both_slots;
        let image = Image { path: folder.path().join("tiny.raw"), _folder: folder };
        write_image(&image.path, &definition, self.root, self.manifest, self.kernel);
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
        write_seed(&self.path, seed, SOURCE_DATE);
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

/// Runs the command itself.
pub(crate) fn builder(arguments: &[&str], images: &[&Path]) -> (i32, String) {
    let ran = finish(command().arg("--quiet").args(arguments).args(images));
    (ran.code, ran.out + &ran.err)
}
