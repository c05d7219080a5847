//! `verify` finds every changed byte, and nothing makes the readers panic.

use std::fs;

use builder::image::layout::Part;
use builder::image::open::OpenImage;
use builder::progress::Progress;
use builder::read::diff::diff;
use builder::read::inspect::inspect;
use builder::read::verify::{Verdict, verify};
use disk::boot::Slot;
use disk::verity::BLOCK_BYTES;
use proptest::prelude::*;

use crate::fixture::{Image, OTHER_SEED, Recipe, SEED, builder, flip};

/// How many bytes are changed, one at a time, in each part of the image.
const FLIPS: usize = 32;

fn judge(image: &Image) -> Verdict {
    verify(&image.open(), &Progress::quiet())
}

fn is_found(image: &Image) -> bool {
    OpenImage::open(&image.path).map_or(true, |open| !verify(&open, &Progress::quiet()).good)
}

#[test]
fn a_fresh_image_is_whole_with_one_slot_or_two_and_without_a_seed() {
    for both_slots in [false, true] {
        let verdict = judge(&Recipe { both_slots, ..Recipe::default() }.build());
        assert!(verdict.good, "{}", verdict.text());
        let text = verdict.text();
        assert_eq!(text.contains("slot b, hash tree"), both_slots, "{text}");
        assert_eq!(text.matches("as the builder writes it").count(), 2, "{text}");
    }
    let verdict = judge(&Recipe { seed: None, ..Recipe::default() }.build());
    assert!(verdict.good, "{}", verdict.text());
    let (code, text) = builder(&["verify"], &[&Recipe::default().build().path]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("the image is whole"), "{text}");
}

/// Positions that hold something, spread evenly.
fn used(bytes: &[u8], range: std::ops::Range<u64>) -> Vec<u64> {
    let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
    let (start, end) = (start.expect("small"), end.expect("small"));
    let used: Vec<u64> = (range.start..)
        .zip(&bytes[start..end])
        .filter(|(_, byte)| **byte != 0)
        .map(|(offset, _)| offset)
        .collect();
    let stride = used.len() / FLIPS + 1;
    used.into_iter().step_by(stride).collect()
}

fn every_flip_is_found(image: &Image, positions: &[u64], what: &str) {
    assert!(positions.len() > 5, "{what}: something to change");
    let file = image.writable();
    for (turn, &offset) in positions.iter().enumerate() {
        let bits = 1 << (turn % 8);
        flip(&file, offset, bits);
        assert!(is_found(image), "{what}: byte {offset} with bits {bits:#x} went unnoticed");
        flip(&file, offset, bits);
    }
    assert!(judge(image).good, "{what}: all flips are undone");
}

#[test]
fn a_changed_byte_of_the_partition_table_is_found() {
    let image = Recipe::default().build();
    let bytes = image.bytes();
    let end = bytes.len() as u64;
    every_flip_is_found(&image, &used(&bytes, 0..1 << 20), "primary");
    every_flip_is_found(&image, &used(&bytes, end - (1 << 20)..end), "backup");
    let within_holes = [100, 1024 - 1, 512 + 300];
    let file = image.writable();
    for offset in within_holes {
        flip(&file, offset, 4);
        assert!(is_found(&image), "byte {offset}, which must be zero");
        flip(&file, offset, 4);
    }
}

#[test]
fn a_changed_byte_of_the_boot_partition_is_found() {
    let image = Recipe::default().build();
    let esp = image.range(Part::Esp);
    let bytes = image.bytes();
    // The tables and folders are few bytes beside the kernel, so they get a turn of their own.
    let tables = esp.start..esp.start + (600 << 10);
    every_flip_is_found(&image, &used(&bytes, tables), "boot partition, tables");
    every_flip_is_found(&image, &used(&bytes, esp), "boot partition");
}

#[test]
fn a_changed_byte_of_a_root_is_found() {
    let image = Recipe { both_slots: true, ..Recipe::default() }.build();
    let bytes = image.bytes();
    for slot in Slot::BOTH {
        let range = image.range(Part::Root(slot));
        let kernel = image.open().kernel(slot).expect("a kernel");
        let tree = range.start + kernel.arguments.verity.data_blocks * BLOCK_BYTES;
        every_flip_is_found(&image, &used(&bytes, tree..tree + BLOCK_BYTES), "verity superblock");
        every_flip_is_found(&image, &used(&bytes, range), slot.partition_name());
    }
}

#[test]
fn a_changed_byte_of_the_seed_partition_is_found() {
    let image = Recipe::default().build();
    let range = image.range(Part::Seed);
    let bytes = image.bytes();
    let needle = SEED.as_bytes();
    let at = bytes.windows(needle.len()).position(|window| window == needle);
    let text = at.expect("the seed lies in one piece") as u64;
    let text = text..text + needle.len() as u64;
    let around: Vec<u64> =
        used(&bytes, range.start..text.start).into_iter().chain([text.end + 3]).collect();
    every_flip_is_found(&image, &around, "SEED");
    // Of the text itself, only what makes it no valid seed can be known.
    let file = image.writable();
    for offset in text.step_by(needle.len() / 20) {
        flip(&file, offset, 0x80);
        assert!(is_found(&image), "seed text: byte {offset}");
        flip(&file, offset, 0x80);
    }
}

#[test]
fn damage_is_named_where_it_is_and_ends_with_one() {
    let image = Recipe::default().build();
    let file = image.writable();
    let root = image.range(Part::Root(Slot::A)).start;
    flip(&file, root + 3 * 4096 + 5, 1);
    let (code, text) = builder(&["verify"], &[&image.path]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("BAD  slot a, hash tree: block 3 of the filesystem"), "{text}");
    assert_eq!(text.matches("BAD").count(), 2, "the rest is still looked at: {text}");
}

#[test]
fn a_seed_that_is_newer_or_wrong_is_bad_and_not_quoted() {
    let secret = "hunter2-hunter2";
    let newer = SEED.replacen("format = 1", "format = 99", 1);
    let wrong = format!("{SEED}\n[secrets]\ndatabase_password = \"{secret}\"\nodd = 1\n");
    for seed in [newer, wrong, format!("token = \"{secret}")] {
        let image = Recipe { seed: Some(seed), ..Recipe::default() }.build();
        for arguments in [vec!["verify"], vec!["inspect"], vec!["inspect", "--json"]] {
            let (_, text) = builder(&arguments, &[&image.path]);
            assert!(!text.contains(secret), "{arguments:?}: {text}");
        }
        let verdict = judge(&image);
        let seed = verdict.checks.iter().find(|check| check.what == "seed");
        assert!(!verdict.good && seed.is_some_and(|check| !check.good), "{}", verdict.text());
    }
}

#[test]
fn a_seed_that_another_program_wrote_is_no_damage() {
    let image = Recipe::default().build();
    let file = image.writable();
    let seed = image.range(Part::Seed).start;
    // The OEM name in the boot sector is every formatter's own.
    for offset in 3..11 {
        flip(&file, seed + offset, 0x15);
    }
    let verdict = judge(&image);
    assert!(verdict.good, "{}", verdict.text());
    assert!(verdict.text().contains("written by another program"));
}

#[test]
fn foreign_files_give_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let foreign = folder.path().join("foreign");
    for bytes in [Vec::new(), vec![0; 511], vec![0xff; 100_000], b"MZ".repeat(40_000)] {
        fs::write(&foreign, &bytes).expect("written");
        for arguments in [vec!["inspect"], vec!["verify"], vec!["inspect", "--sbom", "spdx"]] {
            let (code, text) = builder(&arguments, &[&foreign]);
            assert_eq!(code, 1, "{text}");
            assert!(text.starts_with("error: "), "{text}");
        }
        assert_eq!(builder(&["diff"], &[&foreign, &foreign]).0, 1);
    }
}

fn look_at_everything(image: &Image, other: &OpenImage) {
    let Ok(open) = OpenImage::open(&image.path) else {
        return;
    };
    let progress = Progress::quiet();
    let (inspection, _) = inspect(&open, true);
    let _text = inspection.text();
    let _text = verify(&open, &progress).text();
    let _either = diff(&open, other, &progress);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, failure_persistence: None, ..ProptestConfig::default() })]

    /// An image takes longer to make than to read, so each serves for many changes.
    #[test]
    fn no_damage_makes_a_reader_panic(
        seeds in prop::collection::vec((any::<u64>(), any::<u8>(), 1..6_u64), 24),
        cuts in prop::collection::vec(any::<u64>(), 6),
    ) {
        let image = Recipe::default().build();
        let other = Recipe { seed: Some(OTHER_SEED.to_owned()), ..Recipe::default() }.build();
        let other = other.open();
        let bytes = image.bytes();
        let is_used = |at: &u64| bytes[usize::try_from(*at).expect("64 bits")] != 0;
        // Contents are many bytes and rarely decide anything, so tables are met more often.
        let starts = Part::ALL.map(|part| image.range(part).start).into_iter().chain([0]);
        let tables: Vec<u64> =
            starts.flat_map(|start| start..start + (600 << 10)).filter(is_used).collect();
        let all: Vec<u64> = (0..bytes.len() as u64).filter(is_used).collect();
        let file = image.writable();
        for (seed, bits, count) in seeds {
            let pick = |turn: u64| {
                let place = seed.rotate_left(u32::try_from(turn).expect("small") * 13);
                let places = if place % 4 == 0 { &all } else { &tables };
                places[usize::try_from(place / 4).expect("64 bits") % places.len()]
            };
            let places: Vec<u64> = (0..count).map(pick).collect();
            for place in &places {
                flip(&file, *place, bits);
            }
            look_at_everything(&image, &other);
            for place in &places {
                flip(&file, *place, bits);
            }
        }
        for cut in cuts {
            file.set_len(cut % bytes.len() as u64).expect("cut");
            look_at_everything(&image, &other);
        }
    }
}
