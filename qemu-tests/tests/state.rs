//! The STATE partition over a node's life: made, kept, grown, repaired, refused; and what is left
//! of it when the power fails.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use builder::image::open::OpenImage;
use builder::image::sparse;
use builder::qemu::command::Machine;
use disk::ext4::{self, Found, Superblock};
use disk::gpt::types::ATTRIBUTE_UNMADE;
use qemu_tests::guest::Guest;
use qemu_tests::image::Bench;
use qemu_tests::state;

/// Generous: a shared machine without KVM may be ten times slower than a good day's.
const BOOT_LIMIT: Duration = Duration::from_mins(3);
const END_LIMIT: Duration = Duration::from_mins(1);
const READY: &str = "edgepair: ready node=node1";
const UNUSABLE: &str = "STATE is unusable";
/// A database node is never ready without its data; all else of it runs, and it can be asked.
const WITHOUT_DATA: &str = "edgepair: degraded: pgkeeper";
/// How often the power fails: on so many disks, which have a test each, so many times one after the
/// other.
const DISKS: u32 = 4;
const CUTS: u32 = 5;
/// From the first line of stage 2 on, the cuts lie so far apart; together they span the work on
/// STATE of a first boot.
const CUT_STEP: Duration = Duration::from_millis(60);

/// Boots until the node is ready, ends it at the button, and gives back what it said.
fn boot(machine: &Machine) -> String {
    boot_until(machine, READY)
}

/// The same until the node says this.
fn boot_until(machine: &Machine, sign: &str) -> String {
    let mut guest = Guest::start(&Bench::get().qemu, machine).expect("started");
    let said = guest.console.wait_for(sign, BOOT_LIMIT);
    assert!(said.is_some(), "{}", guest.console.transcript());
    guest.press_power_button().expect("pressed");
    assert!(guest.wait_for_end(END_LIMIT).is_ok(), "{}", guest.console.transcript());
    let transcript = guest.console.transcript();
    assert_eq!(guest.console.damage(), [], "{transcript}");
    transcript
}

fn superblock(disk: &Path) -> Superblock {
    let partition = state::partition(disk);
    let mut bytes = vec![0; 4096];
    let file = File::open(disk).expect("open");
    file.read_exact_at(&mut bytes, partition.offset_bytes()).expect("read");
    match ext4::first(&bytes) {
        Ok(Found::Good(superblock)) => superblock,
        other => panic!("no good superblock: {other:?}"),
    }
}

/// The first and the last sectors of a disk, where the two copies of its table are.
fn table_bytes(disk: &Path) -> Vec<u8> {
    const COPY_BYTES: usize = 34 * 512;
    let file = File::open(disk).expect("open");
    let size = file.metadata().expect("known").len();
    let mut bytes = vec![0; 2 * COPY_BYTES];
    let (first, last) = bytes.split_at_mut(COPY_BYTES);
    file.read_exact_at(first, 0).expect("read");
    file.read_exact_at(last, size - COPY_BYTES as u64).expect("read");
    bytes
}

/// Everything is as the node leaves it: table, mark, filesystem.
fn assert_sound(disk: &Path, transcript: &str) {
    let image = OpenImage::open(disk).expect("a table");
    let sectors = File::open(disk).expect("open").metadata().expect("known").len() / 512;
    assert!(image.table.is_healthy(sectors), "{:?}\n{transcript}", image.table);
    assert_eq!(state::partition(disk).attributes & ATTRIBUTE_UNMADE, 0, "{transcript}");
    let (clean, said) = state::ask("e2fsck", &["-fn"], disk);
    assert!(clean, "{}\n{transcript}", String::from_utf8_lossy(&said));
    let id = state::file(disk, "/machine-id");
    assert_eq!(id.len(), 33, "{id:?}\n{transcript}");
}

fn zero(disk: &Path, offset: u64, length: usize) {
    let file = OpenOptions::new().write(true).open(disk).expect("open");
    file.write_all_at(&vec![0; length], offset).expect("erased");
}

/// A copy to compare with later.
fn copy(disk: &Path, folder: &Path) -> File {
    let path = folder.join("before.raw");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
    let file = file.expect("created");
    sparse::copy(&File::open(disk).expect("open"), &file).expect("copied");
    file
}

/// Where two disks of one size first differ, to the mebibyte.
fn first_difference(one: &File, other: &File) -> Option<u64> {
    const CHUNK_BYTES: usize = 1 << 20;
    let (mut here, mut there) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    let size = one.metadata().expect("known").len();
    assert_eq!(other.metadata().expect("known").len(), size);
    (0..size / CHUNK_BYTES as u64).find(|number| {
        let offset = number * CHUNK_BYTES as u64;
        one.read_exact_at(&mut here, offset).expect("read");
        other.read_exact_at(&mut there, offset).expect("read");
        here != there
    })
}

/// One disk through all that can happen to it, so that each boot serves two ends.
#[test]
fn state_is_made_kept_grown_repaired_and_refused() {
    let bench = Bench::get();
    let folder = tempfile::tempdir().expect("a folder");
    let mut machine = bench.machine(&bench.image, false, folder.path());
    let disk = machine.disks[0].file.clone();
    let changes = ["STATE grows", "STATE is made", "STATE grew", "put right", "e2fsck:"];

    let transcript = boot(&machine);
    assert!(transcript.contains("STATE grows with its disk vda: 16 MiB become"), "{transcript}");
    assert!(transcript.contains("STATE is made"), "{transcript}");
    assert_sound(&disk, &transcript);
    let (table, first) = (table_bytes(&disk), superblock(&disk));
    let id = state::file(&disk, "/machine-id");
    let seed = state::file(&disk, "/random-seed");
    assert_eq!(seed.len(), 32);
    assert_eq!(first.blocks, state::partition(&disk).size_bytes() / 4096);

    // The second boot finds everything as it left it.
    let transcript = boot(&machine);
    assert!(!changes.iter().any(|line| transcript.contains(line)), "{transcript}");
    assert_sound(&disk, &transcript);
    assert_eq!(table_bytes(&disk), table, "the table was written");
    assert_eq!(superblock(&disk).uuid, first.uuid, "the filesystem is another one");
    assert_eq!(state::file(&disk, "/machine-id"), id);
    assert_ne!(state::file(&disk, "/random-seed"), seed, "random bytes were used twice");

    // A larger disk, and a battery that is empty.
    let saved = String::from_utf8(state::file(&disk, "/clock")).expect("text");
    let file = OpenOptions::new().write(true).open(&disk).expect("open");
    file.set_len(file.metadata().expect("known").len() + (400 << 20)).expect("sized");
    machine.clock = Some("1970-01-01T00:00:10".to_owned());
    let transcript = boot(&machine);
    let lifted = format!("to {} s since 1970, the time of the last run", saved.trim());
    assert!(transcript.contains(&lifted), "{lifted}\n{transcript}");
    assert!(transcript.contains("STATE grew to"), "{transcript}");
    assert_sound(&disk, &transcript);
    let grown = superblock(&disk);
    assert_eq!(grown.uuid, first.uuid);
    assert_eq!(grown.blocks, state::partition(&disk).size_bytes() / 4096);
    assert_eq!(state::file(&disk, "/machine-id"), id);

    // Both firsts are damaged: the header of the table, and the superblock.
    machine.clock = None;
    let start = state::partition(&disk).offset_bytes();
    zero(&disk, 512 + 40, 100);
    zero(&disk, start + 1024, 1024);
    let transcript = boot(&machine);
    assert!(transcript.contains("put right: primary was bad"), "{transcript}");
    assert!(transcript.contains("its copy in block 32768 is used"), "{transcript}");
    assert_sound(&disk, &transcript);
    assert_eq!(state::file(&disk, "/machine-id"), id);

    // Nothing tells any longer what this was, and the node does not guess.
    let blocks = [0, 1, 3, 5, 7].map(|group| group * 32768_u64).into_iter();
    for block in blocks.filter(|block| *block < grown.blocks) {
        zero(&disk, start + block * 4096, 4096);
    }
    let before = copy(&disk, folder.path());
    let transcript = boot_until(&machine, WITHOUT_DATA);
    assert!(transcript.contains(UNUSABLE), "{transcript}");
    assert!(transcript.contains("but it was in use"), "{transcript}");
    let after = File::open(&disk).expect("open");
    let difference = first_difference(&before, &after);
    assert_eq!(difference, None, "a node that can't use STATE writes nothing");
}

/// Starts a machine and takes its power away a while after stage 2 has begun.
fn cut(machine: &Machine, after: Duration) {
    let guest = Guest::start(&Bench::get().qemu, machine).expect("started");
    let begun = guest.console.wait_for("edgepair: lab", BOOT_LIMIT);
    assert!(begun.is_some(), "{}", guest.console.transcript());
    // The instant is what is tested; there is nothing to wait for.
    sleep(after);
    let transcript = guest.console.transcript();
    assert_eq!(guest.console.damage(), [], "{transcript}");
    assert!(!transcript.contains(UNUSABLE), "{transcript}");
}

/// Of the points at which the power is cut, each disk has every fourth.
fn survives_power_cuts(disk: u32) {
    let bench = Bench::get();
    let folder = tempfile::tempdir().expect("a folder");
    let machine = bench.machine(&bench.image, false, folder.path());
    for number in 0..CUTS {
        cut(&machine, CUT_STEP * (number * DISKS + disk));
    }
    let transcript = boot(&machine);
    assert!(!transcript.contains(UNUSABLE), "{transcript}");
    assert_sound(&machine.disks[0].file, &transcript);
}

// Tests start in the order of their names. These come behind the long one above, so that no
// processor is left idle while that one ends.

#[test]
fn the_power_fails_on_a_first_disk() {
    survives_power_cuts(0);
}

#[test]
fn the_power_fails_on_a_second_disk() {
    survives_power_cuts(1);
}

#[test]
fn the_power_fails_on_a_third_disk() {
    survives_power_cuts(2);
}

#[test]
fn the_power_fails_on_a_fourth_disk() {
    survives_power_cuts(3);
}
