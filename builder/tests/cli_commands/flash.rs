//! `flash` and `seed` on a synthetic image.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use builder::image::formats::{Format, write};
use builder::image::layout::Part;
use builder::image::open::OpenImage;

use crate::shared::command::Ran;
use crate::shared::flashable::{Choice, MIB, SEED, behind_the_table, image, used_disk};
use crate::support::{builder, part_files, text};

fn flash(image: &Path, device: &Path, more: &[&str]) -> Ran {
    builder(["flash", text(image), text(device)].iter().chain(more))
}

#[test]
fn without_a_terminal_only_yes_writes() {
    let (folder, image) = image(Choice { seed: Some(SEED), ..Choice::SHIPPED });
    let disk = folder.path().join("disk.raw");
    let asked = flash(&image, &disk, &[]).ended(1);
    assert!(asked.err.contains("add --yes"), "{}", asked.err);
    assert!(asked.err.contains("image   tiny 1.2.3 (node1 of tiny)"), "{}", asked.err);
    assert!(!disk.exists());
    let ran = flash(&image, &disk, &["--yes", "--json", "-q"]).ended(0);
    let report = ran.json();
    assert_eq!(report["node"], "node1");
    assert_eq!(report["cluster"], "tiny");
    assert_eq!(report["disk_bytes"], fs::metadata(&image).expect("there").len());
    assert_eq!(report["device"], text(&disk));
    for key in ["image", "bytes", "seconds"] {
        assert!(!report[key].is_null(), "{key}");
    }
    assert!(behind_the_table(&image) == behind_the_table(&disk));
    assert_eq!(part_files(folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_lab_image_wants_force_and_force_does_not_make_room() {
    let (folder, image) = image(Choice { debug: true, stand_in: true, ..Choice::SHIPPED });
    let disk = folder.path().join("disk.raw");
    used_disk(&disk, 20 * MIB);
    let both = flash(&image, &disk, &["--yes"]).ended(1);
    assert!(both.err.contains("has a shell and a stand-in"), "{}", both.err);
    assert!(both.err.contains("take a larger one"), "all at once: {}", both.err);
    let forced = flash(&image, &disk, &["--yes", "--force"]).ended(1);
    assert!(!forced.err.contains("a shell"), "{}", forced.err);
    assert!(forced.err.contains("take a larger one"), "{}", forced.err);
    assert!(fs::read(&disk).expect("read").iter().all(|byte| *byte == 0xa5), "untouched");
    used_disk(&disk, 80 * MIB);
    let ran = flash(&image, &disk, &["--yes", "--force"]).ended(0);
    assert!(ran.err.contains("warning: the image has no seed"), "{}", ran.err);
    assert!(ran.out.contains("next: builder run"), "{}", ran.out);
}

#[test]
fn strange_sources_and_targets_are_refused() {
    let (folder, image) = image(Choice::SHIPPED);
    let disk = folder.path().join("disk.raw");
    let itself = flash(&image, &image, &["--yes"]).ended(1);
    assert!(itself.err.contains("is the image itself"), "{}", itself.err);
    let null = flash(&image, Path::new("/dev/null"), &["--yes"]).ended(1);
    assert!(null.err.contains("neither a disk nor a file"), "{}", null.err);
    let missing = flash(&image, Path::new("/dev/sd-nothing"), &["--yes"]).ended(1);
    assert!(missing.err.contains("is it plugged in?"), "{}", missing.err);
    let device = flash(Path::new("/dev/null"), &disk, &["--yes"]).ended(1);
    assert!(device.err.contains("no regular file"), "{}", device.err);
    fs::write(folder.path().join("text"), "no image at all\n".repeat(1000)).expect("written");
    let text = flash(&folder.path().join("text"), &disk, &["--yes"]).ended(1);
    assert!(text.err.contains("is it an image that this builder made?"), "{}", text.err);
    assert!(!disk.exists());
}

#[test]
fn a_compressed_image_is_flashed_and_a_qcow2_is_not() {
    let (folder, image) = image(Choice { seed: Some(SEED), ..Choice::SHIPPED });
    let from = fs::File::open(&image).expect("opened");
    let disk = folder.path().join("disk.raw");
    let convert = |name: &str, format| {
        let path = folder.path().join(name);
        write(&from, &fs::File::create(&path).expect("created"), format).expect("converted");
        path
    };
    let qcow2 = convert("tiny.qcow2", Format::Qcow2);
    let refused = flash(&qcow2, &disk, &["--yes"]).ended(1);
    assert!(refused.err.contains("--format raw"), "{}", refused.err);
    let packed = convert("tiny.raw.zst", Format::RawZst);
    flash(&packed, &disk, &["--yes"]).ended(0);
    assert!(behind_the_table(&image) == behind_the_table(&disk));

    for command in ["inspect", "verify"] {
        builder([command, text(&packed)]).ended(0);
        let refused = builder([command, text(&qcow2)]).ended(1);
        assert!(refused.err.contains("`qemu-img convert -O raw`"), "{command}: {}", refused.err);
    }
    builder(["diff", text(&image), text(&packed)]).ended(0);
    let oracles = builder(["verify", text(&packed), "--oracles"]).ended(1);
    assert!(oracles.err.contains("`zstd -d`"), "{}", oracles.err);
    let kept = builder(["run", text(&image), "--keep", text(&packed)]).ended(1);
    assert!(kept.err.contains("tiny.raw.zst is a raw.zst image"), "{}", kept.err);
}

#[test]
fn a_seed_is_set_shown_and_exported() {
    let (folder, image) = image(Choice::SHIPPED);
    let seed = folder.path().join("node1.toml");
    fs::write(&seed, SEED).expect("written");
    let empty = builder(["seed", text(&image)]).ended(0);
    assert!(empty.out.contains("no seed yet"), "{}", empty.out);
    let set = |path: &Path| builder(["seed", text(&image), "--set", text(path), "--json", "-q"]);
    let report = set(&seed).ended(0).json();
    assert_eq!((&report["node"], report["replaced"].is_null()), (&"node1".into(), true));
    let other = folder.path().join("node2.toml");
    fs::write(&other, SEED.replace("node1", "node2")).expect("written");
    let report = set(&other).ended(0).json();
    assert_eq!((&report["node"], &report["replaced"]), (&"node2".into(), &"node1".into()));

    let shown = builder(["seed", text(&image), "--show"]).ended(0);
    assert!(shown.out.contains("node2 in tiny, with its secrets"), "{}", shown.out);
    assert!(shown.out.contains("node_key = \"(redacted)\""), "{}", shown.out);
    assert!(!shown.out.contains("BEGIN"), "a key was shown");
    let report = builder(["seed", text(&image), "--json"]).ended(0).json();
    assert_eq!((&report["cluster"], &report["sealed"]), (&"tiny".into(), &true.into()));

    let exported = folder.path().join("sealed.toml");
    let export = || builder(["seed", text(&image), "--export", text(&exported)]);
    export().ended(0);
    assert!(fs::read_to_string(&exported).expect("read").contains("BEGIN PRIVATE KEY"));
    assert_eq!(exported.metadata().expect("there").permissions().mode() & 0o777, 0o600);
    assert!(export().ended(1).err.contains("exists"));
    builder(["seed", text(&image), "--set", text(&exported)]).ended(0);
}

#[test]
fn a_bad_seed_leaves_the_image_as_it_was() {
    let (folder, image) = image(Choice { seed: Some(SEED), ..Choice::SHIPPED });
    let before = fs::read(&image).expect("read");
    let seed = folder.path().join("bad.toml");
    fs::write(&seed, SEED.replace("roles", "rolls")).expect("written");
    let ran = builder(["seed", text(&image), "--set", text(&seed)]).ended(1);
    assert!(ran.err.contains("rolls"), "{}", ran.err);
    assert!(before == fs::read(&image).expect("read"));
    assert!(!folder.path().join("secrets").exists(), "no secrets for a seed that is not good");
}

#[test]
fn a_seed_that_was_torn_by_a_power_cut_is_replaced() {
    let (folder, image) = image(Choice::SHIPPED);
    let seed = folder.path().join("node1.toml");
    // Long enough that it can't be read without the tables.
    fs::write(&seed, format!("{SEED}{}", "# much to say\n".repeat(2000))).expect("written");
    let set = || builder(["seed", text(&image), "--set", text(&seed)]);
    set().ended(0);
    let opened = OpenImage::open(&image).expect("an image");
    let start = opened.partition(Part::Seed).expect("there").offset_bytes();
    let file = fs::File::options().write(true).open(&image).expect("opened");
    file.write_all_at(&[0x5a; 1024], start + 512).expect("written");
    let shown = builder(["seed", text(&image)]).ended(1);
    assert!(shown.err.contains("SEED partition can't be read"), "{}", shown.err);
    set().ended(0);
    let shown = builder(["seed", text(&image)]).ended(0);
    assert!(shown.out.contains("node1 in tiny, with its secrets"), "{}", shown.out);
}

#[test]
fn what_was_flashed_onto_a_larger_used_disk_is_verified() {
    let (folder, image) = image(Choice { seed: Some(SEED), ..Choice::SHIPPED });
    let disk = folder.path().join("disk.raw");
    used_disk(&disk, 90 * MIB);
    let bad = builder(["verify", text(&disk)]);
    assert_ne!(bad.code, 0, "{}", bad.out);
    flash(&image, &disk, &["--yes"]).ended(0);
    builder(["verify", text(&image)]).ended(0);
    builder(["verify", text(&disk)]).ended(0);
    // The identity of its boot partition tells this disk from others, and not its content.
    builder(["diff", text(&image), text(&disk)]).ended(0);
}
