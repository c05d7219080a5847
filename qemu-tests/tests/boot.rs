//! An image boots, says that it is ready, and ends when it is asked to.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use builder::build::source::Reach;
use builder::progress::Progress;
use builder::project;
use builder::qemu::command::{Disk, Machine};
use builder::tools::ORACLES;
use disk::boot::Slot;
use disk::fat;
use qemu_tests::guest::Guest;
use qemu_tests::image::{self, Bench};

/// Generous: a shared machine without KVM may be ten times slower than a good day's.
const BOOT_LIMIT: Duration = Duration::from_mins(3);
const END_LIMIT: Duration = Duration::from_mins(1);

fn boot(uefi: bool) {
    let bench = Bench::get();
    let folder = tempfile::tempdir().expect("a folder");
    let machine = bench.machine(&bench.image, uefi, folder.path());
    let mut guest = Guest::start(&bench.qemu, &machine).expect("started");
    let ready = guest.console.wait_for("edgepair: ready node=node1", BOOT_LIMIT);
    let Some(ready) = ready else { panic!("not ready:\n{}", guest.console.transcript()) };
    eprintln!("ready {:.1} s after QEMU's start", ready.after.as_secs_f64());
    guest.press_power_button().expect("pressed");
    let status = guest.wait_for_end(END_LIMIT);
    let transcript = guest.console.transcript();
    assert!(status.is_ok_and(|status| status.success()), "{transcript}");
    assert!(transcript.contains("edgepair: powering off"), "{transcript}");
    assert_eq!(guest.console.damage(), [], "{transcript}");
}

#[test]
fn it_boots_directly_and_powers_off_at_the_button() {
    boot(false);
}

#[test]
fn whoever_is_at_the_console_gets_a_shell_where_the_seed_says_so() {
    let bench = Bench::get();
    let folder = tempfile::tempdir().expect("a folder");
    let machine = bench.machine(&bench.image, false, folder.path());
    let seed = image::sealed_lab_seed("node1");
    let disk = &machine.disks[0].file;
    image::write_seed(disk, &format!("{seed}\n[debug]\nshell = true\n"));
    let mut guest = Guest::start(&bench.qemu, &machine).expect("started");
    let ready = guest.console.wait_for("edgepair: ready node=node1", BOOT_LIMIT);
    assert!(ready.is_some(), "{}", guest.console.transcript());
    // The terminal's echo of this doesn't have the answers in it.
    guest.type_line("echo answer=$((6 * 7)) user=$(busybox id -u)").expect("typed");
    let answer = guest.console.wait_for("answer=42 user=0", END_LIMIT);
    assert!(answer.is_some(), "{}", guest.console.transcript());
    guest.press_power_button().expect("pressed");
    assert!(guest.wait_for_end(END_LIMIT).is_ok(), "{}", guest.console.transcript());
}

#[test]
fn it_boots_through_uefi_as_on_hardware() {
    boot(true);
}

#[test]
fn the_image_that_ships_boots_with_its_drivers_as_modules() {
    let bench = Bench::get();
    let folder = tempfile::tempdir().expect("a folder");
    image::placeholder_for_k3s(folder.path());
    let edge = image::build("edge", Some(folder.path()), &folder.path().join("out"));
    let mut machine = bench.machine(&edge, false, folder.path());
    machine.watchdog = true;
    let mut guest = Guest::start(&bench.qemu, &machine).expect("started");
    let ready = guest.console.wait_for("edgepair: ready node=node1", BOOT_LIMIT);
    assert!(ready.is_some(), "{}", guest.console.transcript());
    // This image has the keyboard's driver, so whoever stands before the machine can restart it.
    guest.press_ctrl_alt_delete().expect("pressed");
    assert!(guest.wait_for_end(END_LIMIT).is_ok(), "{}", guest.console.transcript());
    let transcript = guest.console.transcript();
    assert!(transcript.contains("watchdog: i6300ESB timer, 30 s"), "{transcript}");
    assert!(transcript.contains("edgepair: asked to restart"), "{transcript}");
    assert!(transcript.contains("edgepair: restarting"), "{transcript}");
    assert_eq!(guest.console.damage(), [], "{transcript}");
}

#[test]
fn a_bad_seed_is_explained_on_the_console_and_nothing_is_configured() {
    let bench = Bench::get();
    let folder = tempfile::tempdir().expect("a folder");
    let machine = bench.machine(&bench.image, false, folder.path());
    let disk = &machine.disks[0].file;
    image::write_seed(disk, "format = 1\n\n[node]\nnmae = \"node1\"\n");
    let mut guest = Guest::start(&bench.qemu, &machine).expect("started");
    let waiting = guest.console.wait_for("waiting for a good seed", BOOT_LIMIT);
    let transcript = guest.console.transcript();
    assert!(waiting.is_some(), "{transcript}");
    assert!(transcript.contains("nmae"), "the key is named:\n{transcript}");
    assert!(!transcript.contains("edgepair: ready"), "{transcript}");
    guest.press_power_button().expect("pressed");
    assert!(guest.wait_for_end(END_LIMIT).is_ok(), "{}", guest.console.transcript());
}

/// The two files of a NoCloud volume that makes a machine the lab's second node.
fn nocloud_files() -> [(&'static str, Vec<u8>); 2] {
    let seed = image::sealed_lab_seed("node2");
    let indented: String = seed.lines().map(|line| format!("  {line}\n")).collect();
    let user_data = format!("#cloud-config\nhostname: node2\nseed: |\n{indented}");
    [("meta-data", b"local-hostname: node2\n".to_vec()), ("user-data", user_data.into_bytes())]
}

/// Boots a machine whose SEED partition is blank, with a stick in it.
fn boot_with_stick(stick: &Path, folder: &Path) {
    let bench = Bench::get();
    let mut machine = bench.machine(&bench.image, false, folder);
    image::erase_seed(&machine.disks[0].file);
    machine.disks.push(stick.to_owned().into());
    let mut guest = Guest::start(&bench.qemu, &machine).expect("started");
    let ready = guest.console.wait_for("edgepair: ready node=node2", BOOT_LIMIT);
    assert!(ready.is_some(), "{}", guest.console.transcript());
    guest.press_power_button().expect("pressed");
    assert!(guest.wait_for_end(END_LIMIT).is_ok(), "{}", guest.console.transcript());
}

#[test]
fn a_fat_stick_for_nocloud_names_a_node_that_has_no_seed() {
    let folder = tempfile::tempdir().expect("a folder");
    let time = fat::Timestamp::EPOCH;
    let spec = fat::Spec { size_bytes: 1 << 20, serial: 1, label: "CIDATA", time };
    let named = nocloud_files();
    let files: Vec<fat::NewFile<'_>> =
        named.iter().map(|(path, content)| fat::NewFile { path, content }).collect();
    let stick = folder.path().join("stick.img");
    std::fs::write(&stick, fat::format_to_vec(&spec, &files).expect("formatted")).expect("written");
    boot_with_stick(&stick, folder.path());
}

#[test]
fn an_iso_as_cloud_tools_make_it_names_a_node_that_has_no_seed() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in nocloud_files() {
        std::fs::write(folder.path().join(name), content).expect("written");
    }
    let cache = project::cache_folder(None).expect("a cache folder");
    let tools = ORACLES.obtain(&cache, &Reach::default(), &Progress::new(false));
    let tools = tools.unwrap_or_else(|error| panic!("{error}"));
    let stick = folder.path().join("stick.iso");
    let made = Command::new(tools.program("genisoimage"))
        .args(["-quiet", "-volid", "cidata", "-joliet", "-rock", "-output"])
        .arg(&stick)
        .args(["user-data", "meta-data"])
        .current_dir(folder.path())
        .status();
    assert!(made.is_ok_and(|status| status.success()), "genisoimage makes the volume");
    boot_with_stick(&stick, folder.path());
}

/// A stick as shops sell it: one partition in a table of the old kind.
fn partitioned(volume: &[u8]) -> Vec<u8> {
    const SECTOR: usize = 512;
    const FIRST: u32 = 2048;
    const FAT_WITH_LBA: u8 = 0x0c;
    let sectors = u32::try_from(volume.len().div_ceil(SECTOR)).expect("a small volume");
    let mut stick = vec![0; SECTOR * FIRST as usize];
    let entry = &mut stick[446..462];
    entry[4] = FAT_WITH_LBA;
    entry[8..12].copy_from_slice(&FIRST.to_le_bytes());
    entry[12..16].copy_from_slice(&sectors.to_le_bytes());
    stick[510..512].copy_from_slice(&[0x55, 0xaa]);
    stick.extend_from_slice(volume);
    stick
}

fn comes_up_as_node1(bench: &Bench, machine: &Machine) {
    let mut guest = Guest::start(&bench.qemu, machine).expect("started");
    let ready = guest.console.wait_for("edgepair: ready node=", BOOT_LIMIT);
    let transcript = guest.console.transcript();
    assert!(ready.is_some_and(|line| line.text.contains("node=node1")), "{transcript}");
    guest.press_power_button().expect("pressed");
    assert!(guest.wait_for_end(END_LIMIT).is_ok(), "{}", guest.console.transcript());
}

#[test]
fn a_spare_disk_of_the_other_node_changes_nothing() {
    let bench = Bench::get();
    let (folder, drawer) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir());
    let drawer = drawer.expect("a folder");
    let mut machine = bench.machine(&bench.image, false, folder.path());
    let spare = bench.machine(&bench.image, false, drawer.path()).disks.remove(0);
    image::write_seed(&spare.file, &image::sealed_lab_seed("node2"));
    machine.disks.push(spare);
    comes_up_as_node1(bench, &machine);
}

#[test]
fn of_two_flashed_disks_the_one_that_the_firmware_started_from_is_this_node() {
    let bench = Bench::get();
    let folder = tempfile::tempdir().expect("a folder");
    let mut machine = bench.machine(&bench.image, true, folder.path());
    let (own, spare) = (folder.path().join("own.raw"), folder.path().join("spare.raw"));
    image::flash(&bench.image, &own);
    image::flash(&bench.image, &spare);
    image::write_seed(&spare, &image::sealed_lab_seed("node2"));
    // By name the spare comes first, and its root has the identity that ours has.
    let own = Disk { boots_first: true, ..own.into() };
    machine.disks = vec![spare.into(), own];
    comes_up_as_node1(bench, &machine);
}

#[test]
fn a_stick_helps_a_node_whose_own_seed_is_bad() {
    let bench = Bench::get();
    let folder = tempfile::tempdir().expect("a folder");
    let mut machine = bench.machine(&bench.image, false, folder.path());
    image::write_seed(&machine.disks[0].file, "format = 1\n\n[node]\nnmae = \"node1\"\n");
    let time = fat::Timestamp::EPOCH;
    let spec = fat::Spec { size_bytes: 1 << 20, serial: 1, label: "SEED", time };
    let seed = image::sealed_lab_seed("node2").into_bytes();
    let files = [fat::NewFile { path: "seed.toml", content: &seed }];
    let stick = folder.path().join("stick.img");
    let volume = fat::format_to_vec(&spec, &files).expect("formatted");
    std::fs::write(&stick, partitioned(&volume)).expect("written");
    machine.disks.push(stick.into());
    let mut guest = Guest::start(&bench.qemu, &machine).expect("started");
    let ready = guest.console.wait_for("edgepair: ready node=node2", BOOT_LIMIT);
    let transcript = guest.console.transcript();
    assert!(ready.is_some() && transcript.contains("bad seed in"), "{transcript}");
    guest.press_power_button().expect("pressed");
    assert!(guest.wait_for_end(END_LIMIT).is_ok(), "{}", guest.console.transcript());
}

#[test]
fn a_changed_block_of_the_root_is_refused() {
    let bench = Bench::get();
    let folder = tempfile::tempdir().expect("a folder");
    let machine = bench.machine(&bench.image, false, folder.path());
    image::tamper_with_root(&machine.disks[0].file, Slot::A);
    let mut guest = Guest::start(&bench.qemu, &machine).expect("started");
    let failed = guest.console.wait_for("stage 1 failed", BOOT_LIMIT);
    assert!(failed.is_some(), "{}", guest.console.transcript());
    // It restarts by itself, and QEMU ends at a restart.
    assert!(guest.wait_for_end(END_LIMIT).is_ok(), "{}", guest.console.transcript());
    let transcript = guest.console.transcript();
    assert!(!transcript.contains("edgepair: ready"), "{transcript}");
}
