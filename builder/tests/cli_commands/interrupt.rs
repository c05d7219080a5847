//! Ctrl-C in the middle of a flash.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use builder::image::layout::Part;
use builder::image::open::OpenImage;
use rustix::process::{Pid, Signal, kill_process};

use crate::fixture::{Choice, MIB, noise, part_files, used_disk};
use crate::support::{command, text};

/// What Ctrl-C is in a shell's eyes.
const INTERRUPTED: i32 = 130;
const WAIT: Duration = Duration::from_secs(30);
/// So much is written that there is a middle.
const STORED_BYTES: u64 = 192 * MIB;

/// An image whose state partition is full, so that writing it takes a while.
fn large_image(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("large.raw");
    crate::fixture::write_image(&path, Choice::SHIPPED);
    let file = File::options()
        .read(true)
        .write(true)
        .open(&path)
        .expect("opened");
    let image = OpenImage::open(&path).expect("an image");
    let start = image.partition(Part::State).expect("there").offset_bytes();
    let mut table = image.table.table.clone();
    let bytes = start + STORED_BYTES + MIB;
    file.set_len(bytes).expect("sized");
    table.relocate(bytes / 512).expect("larger");
    table.grow_last(2048).expect("grown");
    for piece in table.encode().expect("a table") {
        file.write_all_at(&piece.bytes, piece.offset)
            .expect("written");
    }
    let filling = noise(usize::try_from(MIB).expect("small"));
    for mib in 0..STORED_BYTES / MIB {
        file.write_all_at(&filling, start + mib * MIB)
            .expect("written");
    }
    path
}

fn start(image: &Path, disk: &Path) -> Child {
    let arguments = ["flash", text(image), text(disk), "--yes", "-q"];
    let mut command = command();
    command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().expect("it starts")
}

/// Waits until something is so, and fails if the flash ends before.
fn wait_for(child: &mut Child, what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(
            child.try_wait().expect("asked").is_none(),
            "it ended too early"
        );
        assert!(begun.elapsed() < WAIT, "nothing happened");
        thread::sleep(Duration::from_millis(1));
    }
}

fn interrupt(child: &mut Child) {
    kill_process(Pid::from_child(child), Signal::INT).expect("sent");
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(INTERRUPTED));
}

#[test]
fn a_new_file_vanishes() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = large_image(folder.path());
    let disk = folder.path().join("disk.raw");
    let mut child = start(&image, &disk);
    wait_for(&mut child, || !part_files(folder.path()).is_empty());
    interrupt(&mut child);
    assert_eq!(part_files(folder.path()), Vec::<String>::new());
    assert!(!disk.exists());
}

#[test]
fn a_disk_is_left_without_partitions() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = large_image(folder.path());
    let disk = folder.path().join("disk.raw");
    used_disk(&disk, fs::metadata(&image).expect("there").len() + 3 * MIB);
    let mut child = start(&image, &disk);
    // The first partition is written after the table was wiped.
    let file = File::open(&disk).expect("opened");
    let begun = || {
        let mut byte = [0xa5];
        file.read_exact_at(&mut byte, MIB).expect("read");
        byte != [0xa5]
    };
    wait_for(&mut child, begun);
    interrupt(&mut child);
    let left = OpenImage::open(&disk).expect_err("no table").to_string();
    assert!(left.contains("primary missing, backup missing"), "{left}");
}
