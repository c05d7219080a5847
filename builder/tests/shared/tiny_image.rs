//! Image files that the builder's own code assembles from made-up files: they have everything but
//! sense, and no archive is asked for them.

use std::fs::File;
use std::path::Path;

use builder::image::assemble::assemble;
use builder::image::identity;
use builder::image::layout::Part;
use builder::image::open::OpenImage;
use builder::progress::Progress;
use builder::root::compose::Composition;
use builder::root::content::Content;
use builder::root::definition::Definition;
use builder::root::origins;
use builder::root::tree::{Node, Origin, Tree};
use seed::manifest::{MANIFEST_PATH, Manifest};

use super::tiny_stub::tiny_stub;
use super::trees::{add_file, path};

/// Writes an image with this root filesystem, to which the manifest is added, to a new file.
pub(crate) fn write_image(
    to: &Path,
    definition: &Definition,
    mut root: Tree,
    manifest: Manifest,
    kernel: Vec<u8>,
) {
    let json = manifest.to_json().expect("JSON");
    add_file(&mut root, MANIFEST_PATH, json.as_bytes(), 0o644);
    origins::add_to(&mut root).expect("added");
    let mut initramfs = Tree::default();
    add_file(&mut initramfs, "/init", b"\x7fELF init", 0o755);
    initramfs.insert(path("/dev"), Node::directory(Origin::Builder)).expect("inserted");
    let composition = Composition {
        root,
        initramfs,
        kernel: Content::from_bytes(kernel),
        kernel_release: "6.12.1-tiny".to_owned(),
        stub: Content::from_bytes(tiny_stub(1024)),
        boot_loader: Content::from_bytes(*b"MZ a boot loader"),
        manifest,
    };
    let file = File::options().read(true).write(true).create_new(true).open(to).expect("created");
    assemble(&file, &composition, definition, &Progress::quiet()).expect("assembled");
}

/// Gives an image this seed, written at `time`.
pub(crate) fn write_seed(to: &Path, seed: &str, time: u64) {
    let file = File::options().read(true).write(true).open(to).expect("opened");
    let image = OpenImage::open(to).expect("an image");
    let partition = image.partition(Part::Seed).expect("there");
    identity::write(&file, partition, seed, time).expect("written");
}
