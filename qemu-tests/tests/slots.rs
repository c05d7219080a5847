//! A slot that can't be used is left for the other one, on firmware as hardware has it.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use builder::image::layout::Part;
use builder::image::open::OpenImage;
use disk::boot::Slot;
use qemu_tests::guest::Guest;
use qemu_tests::image::{self, Bench};
use serde_json::json;

/// Generous, for two or three starts through firmware on a shared machine without KVM.
const LIMIT: Duration = Duration::from_mins(6);
const END_LIMIT: Duration = Duration::from_mins(1);

/// The image that ships, which fills both slots; built once for the tests of this file.
fn edge() -> &'static Path {
    static EDGE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_folder, path) = EDGE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        image::placeholder_for_k3s(folder.path());
        let path = image::build("edge", Some(folder.path()), &folder.path().join("out"));
        (folder, path)
    });
    path
}

fn expect(guest: &Guest, part: &str) {
    let said = guest.console.wait_for(part, LIMIT);
    assert!(said.is_some(), "{part:?} was not said:\n{}", guest.console.transcript());
}

fn power_off(guest: &mut Guest) {
    guest.press_power_button().expect("pressed");
    assert!(guest.wait_for_end(END_LIMIT).is_ok(), "{}", guest.console.transcript());
}

/// The names of both kernels, as the guest and its boot loader left them.
fn kernels(disk: &Path) -> [String; 2] {
    let image = OpenImage::open(disk).expect("an image");
    Slot::BOTH.map(|slot| image.kernel(slot).expect("a kernel").file_name)
}

#[test]
fn a_root_that_cant_be_mounted_is_left_at_once_and_the_other_slot_is_good() {
    let bench = Bench::get();
    let folder = tempfile::tempdir().expect("a folder");
    let mut machine = bench.machine(edge(), true, folder.path());
    machine.end_on_restart = false;
    image::tamper_with_root(&machine.disks[0].file, Slot::A);
    let mut guest = Guest::start(&bench.qemu, &machine).expect("started");
    expect(&guest, "stage 1 failed: can't mount the root of slot a");
    expect(&guest, "slot b starts next");
    expect(&guest, "slot b is good");
    power_off(&mut guest);
    let transcript = guest.console.transcript();
    assert_eq!(transcript.matches("stage 1 failed").count(), 1, "{transcript}");
    assert!(!transcript.contains("restarting in"), "without a pause:\n{transcript}");
    assert!(transcript.contains("edgepair: ready node=node1"), "{transcript}");
    assert_eq!(kernels(&machine.disks[0].file), ["edgepair-a+2-1.efi", "edgepair-b.efi"]);
}

#[test]
fn two_bad_slots_take_turns_with_growing_pauses() {
    let bench = Bench::get();
    let folder = tempfile::tempdir().expect("a folder");
    let mut machine = bench.machine(edge(), true, folder.path());
    machine.end_on_restart = false;
    image::tamper_with_root(&machine.disks[0].file, Slot::A);
    image::tamper_with_root(&machine.disks[0].file, Slot::B);
    let guest = Guest::start(&bench.qemu, &machine).expect("started");
    expect(&guest, "slot b starts next");
    expect(&guest, "can't mount the root of slot b");
    expect(&guest, "slot a starts next");
    expect(&guest, "restarting in 10 seconds");
    expect(&guest, "restarting in 20 seconds");
}

/// Writes over the start of a driver's file in a slot's root.
fn tamper_with_driver(disk: &Path, slot: Slot, driver: &str) {
    let image = OpenImage::open(disk).expect("an image");
    let kernel = image.kernel(slot).expect("a kernel");
    let release = image.section(&kernel, ".uname").expect("a release");
    let release = String::from_utf8_lossy(release);
    let path = format!("/usr/lib/modules/{release}/kernel/drivers/{driver}");
    let content = image.root(&kernel).expect("a root").read_file(&path).expect("a driver");
    let root = image.partition(Part::Root(slot)).expect("a root");
    let mut block = vec![0; 4096];
    let blocks = kernel.arguments.verity.data_blocks;
    let found = (0..blocks).map(|number| root.offset_bytes() + number * 4096).find(|position| {
        image.file.read_exact_at(&mut block, *position).expect("readable");
        content.starts_with(&block)
    });
    let position = found.expect("the driver's first block");
    let file = std::fs::OpenOptions::new().write(true).open(disk).expect("open");
    file.write_all_at(b"tampered", position + 100).expect("written");
}

#[test]
fn a_block_that_is_refused_while_the_node_runs_sends_it_to_the_other_slot() {
    let bench = Bench::get();
    let folder = tempfile::tempdir().expect("a folder");
    let mut machine = bench.machine(edge(), true, folder.path());
    machine.end_on_restart = false;
    machine.sockets = true;
    tamper_with_driver(&machine.disks[0].file, Slot::A, "net/ethernet/intel/e1000e/e1000e.ko.xz");
    let mut guest = Guest::start(&bench.qemu, &machine).expect("started");
    // A slot that is good counts no tries, so nothing but the node itself would ever leave it.
    expect(&guest, "slot a is good");
    let card = json!({ "driver": "e1000e", "bus": "socket", "id": "late", "romfile": "" });
    guest.command_with("device_add", &card).expect("plugged in");
    expect(&guest, "the root is damaged: dm-verity refused block");
    expect(&guest, "restarting into slot b");
    expect(&guest, "slot b is good");
    power_off(&mut guest);
    assert_eq!(kernels(&machine.disks[0].file), ["edgepair-a+0-99.efi", "edgepair-b.efi"]);
}
