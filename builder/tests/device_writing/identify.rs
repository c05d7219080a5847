//! Giving an image another identity.

use std::fs;
use std::path::Path;

use builder::device::{
    DeviceFacts, IdentifyError, Machine, SeedState, Source, Target, identify, replace,
};
use builder::image::formats::{Format, write};
use builder::image::layout::Part;
use builder::image::open::OpenImage;
use builder::progress::Progress;

use crate::shared::flashable::{Choice, SEED, image};

fn open(path: &Path) -> (Source, Target) {
    let source = Source::open(path, &Progress::quiet()).expect("an image");
    let machine = Machine::read(Path::new("/")).expect("this machine");
    let facts = DeviceFacts::of_path(path, &machine).expect("facts");
    (source, Target::open(path, &facts).expect("opened"))
}

#[test]
fn an_image_becomes_a_node_and_then_another() {
    let (_folder, path) = image(Choice::SHIPPED);
    let before = fs::read(&path).expect("read");
    let (source, target) = open(&path);
    assert!(identify(&source).expect("read").is_none());
    assert_eq!(source.facts().expect("facts").seed, SeedState::Empty);
    replace(&source, &target, 1, SEED).expect("replaced");
    let node1 = SeedState::Node { node: "node1".to_owned(), cluster: "tiny".to_owned() };
    assert_eq!(source.facts().expect("facts").seed, node1);
    let other = SEED.replace("node1", "a-node-with-a-longer-name");
    replace(&source, &target, 1, &other).expect("replaced");
    replace(&source, &target, 1, SEED).expect("replaced");
    assert_eq!(identify(&source).expect("read").expect("a seed").text, SEED);
    // Nothing but the SEED partition changed, and no trace of the other seed is left in it.
    let after = fs::read(&path).expect("read");
    let opened = OpenImage::open(&path).expect("an image");
    let partition = opened.partition(Part::Seed).expect("there");
    let start = usize::try_from(partition.offset_bytes()).expect("small");
    let end = start + usize::try_from(partition.size_bytes()).expect("small");
    assert!(before[..start] == after[..start] && before[end..] == after[end..]);
    let trace = b"longer-name";
    assert!(!after[start..end].windows(trace.len()).any(|window| window == trace));
}

#[test]
fn a_seed_that_the_image_can_not_read_is_refused() {
    let (_folder, path) = image(Choice { seed_format: 1, ..Choice::SHIPPED });
    let (source, target) = open(&path);
    let error = replace(&source, &target, 2, SEED).expect_err("too new");
    assert!(matches!(error, IdentifyError::TooNew { seed: 2, image: 1, .. }), "{error}");
    assert!(identify(&source).expect("read").is_none());
}

#[test]
fn a_compressed_image_shows_its_seed_and_keeps_it() {
    let (folder, path) = image(Choice { seed: Some(SEED), ..Choice::SHIPPED });
    let packed = folder.path().join("tiny.raw.zst");
    let from = fs::File::open(&path).expect("opened");
    write(&from, &fs::File::create(&packed).expect("created"), Format::RawZst).expect("packed");
    let (source, target) = open(&packed);
    assert_eq!(identify(&source).expect("read").expect("a seed").text, SEED);
    let error = replace(&source, &target, 1, SEED).expect_err("compressed");
    assert!(matches!(error, IdentifyError::Compressed { .. }), "{error}");
}
