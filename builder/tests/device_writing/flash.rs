//! Flashing onto files: what is on the disk afterwards, and what is not there after a failure.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use builder::device::{
    DeviceFacts, FlashError, Machine, Plan, Source, Target, TargetError, flash, write_planned,
};
use builder::image::layout::Part;
use builder::image::open::OpenImage;
use builder::image::sparse;
use builder::progress::Progress;
use disk::boot::Slot;
use disk::gpt::{Guid, SECTOR_BYTES};

use crate::shared::flashable::{Choice, MIB, behind_the_table, image, used_disk};

const MARK: Guid = Guid::from_u128(0x3a4c);

fn quiet() -> Progress {
    Progress::quiet()
}

fn facts(path: &Path) -> DeviceFacts {
    let machine = Machine::read(Path::new("/")).expect("this machine");
    DeviceFacts::of_path(path, &machine).expect("facts")
}

fn flash_to(image: &Path, device: &Path) -> Result<(), FlashError> {
    let source = Source::open_file(image, &quiet()).expect("an image");
    let facts = facts(device);
    let target = Target::open(device, &facts)?;
    flash(&source, target, facts.bytes, &quiet()).map(|_| ())
}

/// The bytes of a partition.
fn bytes_of(path: &Path, part: Part) -> Vec<u8> {
    let image = OpenImage::open(path).expect("an image");
    let partition = image.partition(part).expect("there");
    let mut bytes = vec![0; usize::try_from(partition.size_bytes()).expect("small")];
    image.file.read_exact_at(&mut bytes, partition.offset_bytes()).expect("read");
    bytes
}

#[test]
fn a_new_file_becomes_the_image_and_only_its_owner_reads_it() {
    let (folder, image) = image(Choice::SHIPPED);
    let disk = folder.path().join("disk.raw");
    flash_to(&image, &disk).expect("flashed");
    let (wanted, mut written) = (OpenImage::open(&image), OpenImage::open(&disk).expect("a disk"));
    let wanted = wanted.expect("an image");
    // All is as in the image, but for what tells the disk from others with the same image.
    let other = folder.path().join("other.raw");
    flash_to(&image, &other).expect("flashed");
    let mark = |image: &OpenImage| image.partition(Part::Esp).expect("there").guid;
    let marks = [&wanted, &written, &OpenImage::open(&other).expect("a disk")].map(mark);
    assert!(marks[0] != marks[1] && marks[1] != marks[2] && marks[2] != marks[0], "{marks:?}");
    let table = &mut written.table.table;
    table.partitions.iter_mut().filter(|it| it.guid == marks[1]).for_each(|it| it.guid = marks[0]);
    assert_eq!(written.table, wanted.table);
    assert!(behind_the_table(&image) == behind_the_table(&disk));
    // The image may be a node already, and then has its keys.
    assert_eq!(fs::metadata(&disk).expect("there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_used_larger_disk_gets_healthy_tables_and_keeps_nothing_that_matters() {
    let (folder, image) =
        image(Choice { seed: Some(crate::shared::flashable::SEED), ..Choice::SHIPPED });
    let disk = folder.path().join("disk.raw");
    used_disk(&disk, 80 * MIB);
    fs::set_permissions(&disk, fs::Permissions::from_mode(0o644)).expect("set");
    flash_to(&image, &disk).expect("flashed");
    assert_eq!(fs::metadata(&disk).expect("there").permissions().mode() & 0o777, 0o600);
    let written = OpenImage::open(&disk).expect("an image");
    assert!(written.table.is_healthy(80 * MIB / SECTOR_BYTES), "{:?}", written.table);
    // What a reader looks at is what the image has, holes within included.
    assert!(bytes_of(&disk, Part::Seed) == bytes_of(&image, Part::Seed));
    let root = |path: &Path| {
        let image = OpenImage::open(path).expect("an image");
        let kernel = image.kernel(Slot::A).expect("a kernel");
        image.manifest(&image.root(&kernel).expect("a root")).expect("a manifest")
    };
    assert_eq!(root(&disk), root(&image));
    let (found, wanted) =
        (bytes_of(&disk, Part::Root(Slot::A)), bytes_of(&image, Part::Root(Slot::A)));
    let used = wanted.iter().rposition(|byte| *byte != 0).expect("a root");
    assert!(found[..used] == wanted[..used], "the root and its hash tree are whole");
    // Signatures of the disk's former life are gone at both ends of every partition.
    for part in [Part::Root(Slot::B), Part::State] {
        let bytes = bytes_of(&disk, part);
        let mib = usize::try_from(MIB).expect("small");
        assert!(bytes[..mib].iter().all(|byte| *byte == 0), "{part:?} begins with old bytes");
        assert!(bytes[bytes.len() - mib..].iter().all(|byte| *byte == 0), "{part:?} ends so");
        assert!(bytes.contains(&0xa5), "{part:?}: what lies between is skipped");
    }
}

#[test]
fn a_disk_that_shrank_since_it_was_looked_at_is_left_alone() {
    let (folder, image) = image(Choice::SHIPPED);
    let disk = folder.path().join("disk.raw");
    used_disk(&disk, 20 * MIB);
    let error = flash_to(&image, &disk).expect_err("too small");
    assert!(matches!(error, FlashError::Plan(_)), "{error}");
    assert!(fs::read(&disk).expect("read").iter().all(|byte| *byte == 0xa5), "untouched");
}

#[test]
fn what_became_another_while_somebody_was_asked_is_left_alone() {
    let (folder, image) = image(Choice::SHIPPED);
    let disk = folder.path().join("disk.raw");
    let source = Source::open_file(&image, &quiet()).expect("an image");
    for looked_at in [None, Some(80 * MIB)] {
        let _absent = fs::remove_file(&disk);
        if let Some(bytes) = looked_at {
            used_disk(&disk, bytes);
        }
        let shown = facts(&disk);
        used_disk(&disk, 90 * MIB);
        let error = Target::open(&disk, &shown).expect_err("another");
        assert!(matches!(error, TargetError::Changed { .. }), "{error}");
        assert!(error.to_string().contains(&format!("is {}", 90 * MIB)), "{error}");
        let intact = fs::read(&disk).expect("read").iter().all(|byte| *byte == 0xa5);
        assert!(intact, "untouched");
        let target = Target::open(&disk, &facts(&disk)).expect("looked at again");
        flash(&source, target, facts(&disk).bytes, &quiet()).expect("flashed");
    }
}

#[test]
fn a_write_that_fails_says_where_and_leaves_no_partitions() {
    let (_folder, path) = image(Choice::SHIPPED);
    let image = OpenImage::open(&path).expect("an image");
    let runs = sparse::runs(&image.file).expect("runs");
    let plan = Plan::new(&image.table.table, &runs, image.bytes, MARK).expect("a plan");
    let full = File::options().read(true).write(true).open("/dev/full").expect("there");
    let target = Target::over(full, Path::new("/dev/full"));
    let error = write_planned(&plan, &image.file, &target, &quiet()).expect_err("full");
    assert!(matches!(error, FlashError::Write { offset: 0, .. }), "{error}");
    assert!(error.to_string().contains("there is no room"), "{error}");
}

#[test]
fn writing_that_stops_in_the_middle_leaves_a_disk_without_partitions() {
    let (folder, path) = image(Choice::SHIPPED);
    let image = OpenImage::open(&path).expect("an image");
    let runs = sparse::runs(&image.file).expect("runs");
    let plan = Plan::new(&image.table.table, &runs, 80 * MIB, MARK).expect("a plan");
    // The disk was an older one of ours, which boots.
    let disk = folder.path().join("disk.raw");
    fs::copy(&path, &disk).expect("copied");
    let file = File::options().read(true).write(true).open(&disk).expect("opened");
    file.set_len(80 * MIB).expect("sized");
    // The image's file was cut off meanwhile, as by a network that went away.
    let cut = tempfile::tempfile().expect("a file");
    cut.set_len(20 * MIB).expect("sized");
    let target = Target::over(file, &disk);
    let error = write_planned(&plan, &cut, &target, &quiet()).expect_err("cut off");
    assert!(matches!(error, FlashError::Image(_)), "{error}");
    let left = OpenImage::open(&disk).expect_err("no table").to_string();
    assert!(left.contains("primary missing, backup missing"), "{left}");
}

#[test]
fn a_device_that_forgets_is_noticed_before_it_can_boot() {
    let (folder, path) = image(Choice::SHIPPED);
    let image = OpenImage::open(&path).expect("an image");
    let runs = sparse::runs(&image.file).expect("runs");
    let plan = Plan::new(&image.table.table, &runs, image.bytes, MARK).expect("a plan");
    // Opened for appending, every positioned write of Linux lands at the end of the file.
    let disk = folder.path().join("disk.raw");
    used_disk(&disk, image.bytes);
    let file = File::options().read(true).append(true).open(&disk).expect("opened");
    let target = Target::over(file, &disk);
    let error = write_planned(&plan, &image.file, &target, &quiet()).expect_err("forgotten");
    assert!(matches!(error, FlashError::Differs { .. }), "{error}");
    // Only what comes before the comparing has been written: the wiping and the pieces.
    let pieces: u64 = plan.pieces.iter().map(|piece| piece.run.length).sum();
    let wiped = (plan.head.len() + plan.tail.len()) as u64;
    let length = fs::metadata(&disk).expect("there").len();
    assert_eq!(length, image.bytes + wiped + pieces, "a table was written");
}

#[test]
fn the_second_of_two_flashes_at_once_is_refused() {
    let (folder, image) = image(Choice::SHIPPED);
    let disk = folder.path().join("disk.raw");
    used_disk(&disk, 80 * MIB);
    let first = Target::open(&disk, &facts(&disk)).expect("the first");
    let second = flash_to(&image, &disk).expect_err("in use");
    assert!(matches!(second, FlashError::Target(TargetError::Busy { .. })), "{second}");
    drop(first);
    flash_to(&image, &disk).expect("the first is gone");
}

#[test]
fn only_disks_and_files_are_targets() {
    let machine = Machine::read(Path::new("/")).expect("this machine");
    let odd = |path: &str| DeviceFacts::of_path(Path::new(path), &machine);
    assert!(matches!(odd("/dev/null"), Err(TargetError::Odd { .. })));
    assert!(matches!(odd("/proc"), Err(TargetError::Odd { .. })));
    assert!(matches!(odd("/dev/no-such-disk"), Err(TargetError::NoDevice { .. })));
}
