//! qcow2 and raw.zst: equal disks give equal files, and foreign tools read them.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use builder::build::base::{Base, Record};
use builder::build::images::{ImagesError, write_all};
use builder::build::seeds::SealedSeed;
use builder::device::{SeedState, Source, SourceError};
use builder::image::formats::{Format, write};
use builder::image::packed::PackedError;
use builder::image::qcow2::CLUSTER_BYTES;
use builder::progress::Progress;
use disk::verity::to_hex;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::shared::flashable::{Choice, MIB, SEED, definition, image};
use crate::shared::noise::noise;
use crate::shared::tools::{oracle, run};

/// The same bytes without a hole.
fn without_holes(from: &Path, to: &Path) {
    fs::write(to, fs::read(from).expect("read")).expect("written");
}

fn converted(from: &Path, to: &Path, format: Format) -> Vec<u8> {
    let (from, to_file) = (File::open(from).expect("opened"), File::create(to).expect("created"));
    write(&from, &to_file, format).expect("converted");
    fs::read(to).expect("read")
}

/// Reads a disk out of a qcow2 file as its specification says, with nothing of the writer's code.
fn read_qcow2(bytes: &[u8]) -> Vec<u8> {
    let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let place = |entry: u64| usize::try_from(entry & 0x00ff_ffff_ffff_fe00).expect("small");
    let cluster = usize::try_from(CLUSTER_BYTES).expect("small");
    let size = usize::try_from(number(24)).expect("small");
    let l1 = place(number(40));
    let mut disk = vec![0; size.next_multiple_of(cluster)];
    for (index, target) in disk.chunks_exact_mut(cluster).enumerate() {
        let l2 = place(number(l1 + index / 8192 * 8));
        if l2 == 0 {
            continue;
        }
        let data = place(number(l2 + index % 8192 * 8));
        if data != 0 {
            target.copy_from_slice(&bytes[data..data + cluster]);
        }
    }
    disk.truncate(size);
    disk
}

#[test]
fn the_bytes_depend_on_the_disk_and_not_on_its_holes() {
    let (folder, image) = image(Choice::SHIPPED);
    let full = folder.path().join("full.raw");
    without_holes(&image, &full);
    for format in [Format::Qcow2, Format::RawZst] {
        let one = converted(&image, &folder.path().join("one"), format);
        let other = converted(&full, &folder.path().join("other"), format);
        assert!(one == other, "{format}");
        assert!(one.len() < 4_000_000, "{format}: {} bytes", one.len());
    }
}

#[test]
fn qemu_finds_no_fault_and_the_same_disk() {
    let (folder, image) = image(Choice::SHIPPED);
    let path = folder.path().join("tiny.qcow2");
    let bytes = converted(&image, &path, Format::Qcow2);
    assert!(read_qcow2(&bytes) == fs::read(&image).expect("read"));
    let Some(tool) = oracle("qemu-img") else {
        return;
    };
    let (image, path) = (image.to_str().expect("text"), path.to_str().expect("text"));
    run(Command::new(&tool).args(["check", path]));
    run(Command::new(&tool).args(["compare", "-f", "raw", "-F", "qcow2", image, path]));
    let back = folder.path().join("back.raw");
    run(Command::new(&tool).args(["convert", "-O", "raw", path, back.to_str().expect("text")]));
    assert!(fs::read(back).expect("read") == fs::read(image).expect("read"));
}

#[test]
fn a_disk_larger_than_one_table_covers_is_addressed_through_several() {
    let folder = tempfile::tempdir().expect("a folder");
    let raw = folder.path().join("large.raw");
    let file = File::create(&raw).expect("created");
    // One table is for 512 MiB; the last cluster of the disk is not full.
    file.set_len(1300 * MIB + 512).expect("sized");
    for at in [0, 511 * MIB, 513 * MIB + 7, 1300 * MIB + 100] {
        file.write_all_at(b"here", at).expect("written");
    }
    let path = folder.path().join("large.qcow2");
    let bytes = converted(&raw, &path, Format::Qcow2);
    let disk = read_qcow2(&bytes);
    let here = |at: u64| disk[usize::try_from(at).expect("small")..].starts_with(b"here");
    assert!([0, 511 * MIB, 513 * MIB + 7, 1300 * MIB + 100].into_iter().all(here));
    let Some(tool) = oracle("qemu-img") else {
        return;
    };
    let (raw, path) = (raw.to_str().expect("text"), path.to_str().expect("text"));
    run(Command::new(&tool).args(["check", path]));
    run(Command::new(&tool).args(["compare", "-f", "raw", "-F", "qcow2", raw, path]));
}

#[test]
fn a_compressed_image_is_opened_and_a_damaged_one_is_not() {
    let (folder, image) = image(Choice::SHIPPED);
    let path = folder.path().join("tiny.raw.zst");
    let bytes = converted(&image, &path, Format::RawZst);
    let source = Source::open(&path, &Progress::quiet()).expect("opened");
    let mut unpacked = Vec::new();
    (&*source.image.file).read_to_end(&mut unpacked).expect("read");
    // The file is read from where unpacking left it, so ask by position.
    let mut start = vec![0; usize::try_from(source.image.bytes).expect("small")];
    source.image.file.read_exact_at(&mut start, 0).expect("read");
    assert!(start == fs::read(&image).expect("read"));

    let open = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("written");
        Source::open(&path, &Progress::quiet()).expect_err("damaged")
    };
    let cut = open(&bytes[..bytes.len() / 2]);
    assert!(matches!(cut, SourceError::Packed(PackedError::Unpack { .. })), "{cut}");
    let mut bent = bytes.clone();
    let middle = bytes.len() / 2;
    bent[middle] ^= 1;
    let bent = open(&bent);
    assert!(matches!(bent, SourceError::Packed(PackedError::Unpack { .. })), "{bent}");
    let Some(tool) = oracle("zstd") else { return };
    fs::write(&path, &bytes).expect("written");
    run(Command::new(&tool).args(["--test", path.to_str().expect("text")]));
}

#[test]
fn qcow2_is_not_taken_for_an_image_to_flash() {
    let (folder, image) = image(Choice::SHIPPED);
    let path = folder.path().join("tiny.qcow2");
    converted(&image, &path, Format::Qcow2);
    let error = Source::open(&path, &Progress::quiet()).expect_err("qcow2").to_string();
    assert!(error.contains("--format raw"), "{error}");
}

#[test]
fn a_build_names_hashes_and_keeps_private_what_it_made_in_each_format() {
    let (folder, image) = image(Choice::SHIPPED);
    let record = Record {
        verity_root: "5f".repeat(32),
        source_date: 1_700_000_000,
        packages: 0,
        stand_in: true,
        debug: false,
        root_used_bytes: 0,
    };
    let base = Base { path: image, record };
    let definition = definition();
    let node = |name: &str| SealedSeed {
        path: format!("{name}.toml").into(),
        node: name.to_owned(),
        text: SEED.replace("node1", name),
    };
    let seeds = [node("node1"), node("node2")];
    let build = |out: &str, format| {
        let out = folder.path().join(out);
        write_all(&base, &definition, &seeds, &out, format, &Progress::quiet()).expect("built")
    };
    for format in [Format::Raw, Format::Qcow2, Format::RawZst] {
        let (one, other) = (build("one", format), build("other", format));
        for (index, image) in one.iter().enumerate() {
            let name = image.path.file_name().and_then(|name| name.to_str());
            let wanted = format!("tiny-STAND-IN-node{}.{format}", index + 1);
            assert_eq!(name, Some(wanted.as_str()));
            let bytes = fs::read(&image.path).expect("read");
            assert_eq!(image.bytes, bytes.len() as u64);
            let mode = fs::metadata(&image.path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "the seed in it has the node's keys");
            assert_eq!(image.sha256, to_hex(&Sha256::digest(&bytes)));
            assert_eq!(image.sha256, other[index].sha256, "a second build is the same");
        }
        assert_ne!(one[0].sha256, one[1].sha256);
    }
    let nodes = ["node1", "node2"].map(|node| {
        let path = folder.path().join(format!("one/tiny-STAND-IN-{node}.raw.zst"));
        let source = Source::open(&path, &Progress::quiet()).expect("an image");
        source.facts().expect("facts").seed
    });
    let state = |node: &str| SeedState::Node { node: node.to_owned(), cluster: "tiny".to_owned() };
    assert_eq!(nodes, ["node1", "node2"].map(state));
}

#[test]
fn an_image_of_another_cluster_stays() {
    let (folder, image) = image(Choice::SHIPPED);
    let record = Record {
        verity_root: "5f".repeat(32),
        source_date: 1_700_000_000,
        packages: 0,
        stand_in: false,
        debug: false,
        root_used_bytes: 0,
    };
    let base = Base { path: image, record };
    let seed = |node: &str, cluster: &str| SealedSeed {
        path: format!("{node}.toml").into(),
        node: node.to_owned(),
        text: SEED.replace("node1", node).replace("name = \"tiny\"", cluster),
    };
    let build = |seeds: &[SealedSeed], format| {
        let out = folder.path().join("out");
        write_all(&base, &definition(), seeds, &out, format, &Progress::quiet())
    };
    let (ours, theirs) = ("name = \"tiny\"", "name = \"other\"");
    for format in [Format::Raw, Format::RawZst] {
        let made = build(&[seed("node2", ours)], format).expect("built");
        let before = fs::read(&made[0].path).expect("read");
        let both = [seed("node1", theirs), seed("node2", theirs)];
        let error = build(&both, format).expect_err("node2 is another cluster's");
        assert!(matches!(error, ImagesError::OtherCluster { .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains("node2 of the cluster tiny") && said.contains("--out"), "{said}");
        assert!(before == fs::read(&made[0].path).expect("read"));
        let node1 = folder.path().join(format!("out/tiny-node1.{format}"));
        assert!(!node1.exists(), "the others aren't written either");
        build(&[seed("node2", ours)], format).expect("its own is replaced");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_small_disk_comes_back(
        places in proptest::collection::vec((0_u64..3_000_000, 1_usize..70_000), 0..6),
        sectors in 1_u64..6000,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let raw = folder.path().join("raw");
        let file = File::create(&raw).expect("created");
        for (at, length) in places {
            file.write_all_at(&noise(length), at).expect("written");
        }
        file.set_len(sectors * 512).expect("sized");
        let bytes = converted(&raw, &folder.path().join("qcow2"), Format::Qcow2);
        prop_assert!(read_qcow2(&bytes) == fs::read(&raw).expect("read"));
    }

    #[test]
    fn any_file_is_refused(
        start in 0_usize..3,
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        let magic = [&b""[..], b"QFI\xfb", &[0x28, 0xb5, 0x2f, 0xfd]][start];
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().write_all_at(magic, 0).expect("written");
        file.as_file().write_all_at(&bytes, magic.len() as u64).expect("written");
        prop_assert!(Source::open(file.path(), &Progress::quiet()).is_err());
    }
}
