//! Whatever the disk hangs on, the image boots from it; what is plugged in later is noticed.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use builder::qemu::command::Bus;
use disk::fat;
use qemu_tests::guest::Guest;
use qemu_tests::image::{self, Bench};
use serde_json::json;

/// Generous: a shared machine without KVM may be ten times slower than a good day's.
const BOOT_LIMIT: Duration = Duration::from_mins(3);
/// What an SD card gives comes in small pieces: from one, even a good day's boot takes two minutes.
const SD_BOOT_LIMIT: Duration = Duration::from_mins(10);
const END_LIMIT: Duration = Duration::from_mins(1);
/// Far less than the pause after which a waiting node looks by itself would be too sharp under TCG;
/// what is asserted is the order of lines, and that they come at all.
const NOTICE_LIMIT: Duration = Duration::from_mins(1);
/// SD cards have sizes that are powers of two.
const DISK_BYTES: u64 = 4 << 30;

/// The image that ships, built once for the tests of this file.
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

fn boots_from(bus: Bus) {
    let bench = Bench::get();
    let folder = tempfile::tempdir().expect("a folder");
    let mut machine = bench.machine(edge(), false, folder.path());
    machine.disks[0].bus = bus;
    let file = std::fs::OpenOptions::new().write(true).open(&machine.disks[0].file);
    file.and_then(|file| file.set_len(DISK_BYTES)).expect("sized");
    let mut guest = Guest::start(&bench.qemu, &machine).expect("started");
    let limit = if bus == Bus::Sd { SD_BOOT_LIMIT } else { BOOT_LIMIT };
    let ready = guest.console.wait_for("edgepair: ready node=node1", limit);
    assert!(ready.is_some(), "{bus:?}: {}", guest.console.transcript());
    guest.press_power_button().expect("pressed");
    assert!(guest.wait_for_end(END_LIMIT).is_ok(), "{bus:?}: {}", guest.console.transcript());
    assert_eq!(guest.console.damage(), [], "{bus:?}: {}", guest.console.transcript());
}

#[test]
fn it_boots_from_nvme() {
    boots_from(Bus::Nvme);
}

#[test]
fn it_boots_from_sata() {
    boots_from(Bus::Sata);
}

#[test]
fn it_boots_from_usb() {
    boots_from(Bus::Usb);
}

#[test]
fn it_boots_from_an_sd_card() {
    boots_from(Bus::Sd);
}

#[test]
fn a_stick_and_a_card_that_are_plugged_in_later_are_noticed() {
    let bench = Bench::get();
    let folder = tempfile::tempdir().expect("a folder");
    let mut machine = bench.machine(edge(), false, folder.path());
    machine.sockets = true;
    image::erase_seed(&machine.disks[0].file);
    let mut guest = Guest::start(&bench.qemu, &machine).expect("started");
    let waiting = guest.console.wait_for("waiting for a good seed", BOOT_LIMIT);
    assert!(waiting.is_some(), "{}", guest.console.transcript());

    let stick = folder.path().join("stick.img");
    let seed = image::sealed_lab_seed("node2").into_bytes();
    let time = fat::Timestamp::EPOCH;
    let spec = fat::Spec { size_bytes: 1 << 20, serial: 1, label: "SEED", time };
    let files = [fat::NewFile { path: "seed.toml", content: &seed }];
    std::fs::write(&stick, fat::format_to_vec(&spec, &files).expect("formatted")).expect("written");
    let file = json!({ "driver": "file", "filename": stick });
    let node = json!({ "driver": "raw", "node-name": "stick", "file": file });
    guest.command_with("blockdev-add", &node).expect("added");
    let device = json!({ "driver": "usb-storage", "bus": "usb.0", "drive": "stick", "id": "s" });
    guest.command_with("device_add", &device).expect("plugged in");
    let ready = guest.console.wait_for("edgepair: ready node=node2", NOTICE_LIMIT);
    assert!(ready.is_some(), "{}", guest.console.transcript());

    let card = json!({ "driver": "e1000e", "bus": "socket", "id": "late", "romfile": "" });
    guest.command_with("device_add", &card).expect("plugged in");
    let loaded = guest.console.wait_for("new devices: loaded e1000e", NOTICE_LIMIT);
    assert!(loaded.is_some(), "{}", guest.console.transcript());
    let adapter = json!({ "driver": "usb-net", "bus": "usb.0", "id": "adapter" });
    guest.command_with("device_add", &adapter).expect("plugged in");
    let loaded = guest.console.wait_for_any(&["rndis_host", "cdc_ether"], NOTICE_LIMIT);
    assert!(loaded.is_some(), "{}", guest.console.transcript());
    guest.press_power_button().expect("pressed");
    assert!(guest.wait_for_end(END_LIMIT).is_ok(), "{}", guest.console.transcript());
    assert_eq!(guest.console.damage(), [], "{}", guest.console.transcript());
}
