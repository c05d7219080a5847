//! Facts about disks, read from machines that are made of files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use builder::device::{Kind, Machine, MachineError, Use};

/// A machine with a system disk under a mapped volume, a RAID member, and a USB stick.
fn machine() -> (tempfile::TempDir, Machine) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let sda = "devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda";
    let stick = "devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host6/target/6:0:0:0/block/sdb";
    disk(root, sda, "8:0", 1_000_000);
    partition(root, sda, "sda1", "8:1", 2048);
    partition(root, sda, "sda2", "8:2", 900_000);
    partition(root, sda, "sda3", "8:3", 4096);
    put(root, &format!("sys/{sda}/device/model"), "SAMSUNG SSD\n");
    put(root, &format!("sys/{sda}/device/vendor"), "ATA     \n");
    let page = "\0\u{0}\0\u{8}  S12345";
    put(root, &format!("sys/{sda}/device/vpd_pg80"), page);
    disk(root, stick, "8:16", 62_500_000);
    put(root, &format!("sys/{stick}/removable"), "1\n");
    partition(root, stick, "sdb1", "8:17", 62_000_000);
    let usb = "devices/pci0000:00/0000:00:14.0/usb1/1-2";
    put(root, &format!("sys/{usb}/serial"), "0BADCAFE\n");
    disk(root, "devices/virtual/block/dm-0", "253:0", 900_000);
    put(root, "sys/devices/virtual/block/dm-0/dm/name", "vg-root\n");
    put(root, "sys/devices/virtual/block/dm-0/slaves/sda2/size", "900000\n");
    put(root, &format!("sys/{sda}/sda2/holders/dm-0"), "");
    disk(root, "devices/virtual/block/loop0", "7:0", 100);
    let nvme = "devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1";
    disk(root, nvme, "259:0", 500_000);
    put(root, &format!("sys/{nvme}/ro"), "1\n");
    put(root, &format!("sys/{nvme}/queue/logical_block_size"), "4096\n");
    put(root, &format!("sys/{nvme}/device/serial"), "N-1\n");
    put(
        root,
        "proc/self/mountinfo",
        "22 1 253:0 / / rw - ext4 /dev/mapper/vg-root rw\n\
         23 22 8:1 / /boot/efi rw - vfat /dev/sda1 rw\n\
         24 22 0:44 / /proc rw - proc proc rw\n\
         25 22 0:35 / /media/my\\040stick rw - btrfs /dev/disk/by-uuid/1234 rw\n",
    );
    fs::create_dir_all(root.join("dev/disk/by-uuid")).expect("made");
    put(root, "dev/sdb1", "");
    symlink("../../sdb1", root.join("dev/disk/by-uuid/1234")).expect("linked");
    put(root, "proc/swaps", "Filename Type Size Used Priority\n/dev/sda3 partition 4 0 -2\n");
    let machine = Machine::read(root).expect("a machine");
    (folder, machine)
}

fn put(root: &Path, inside: &str, text: &str) {
    let path = root.join(inside);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text).expect("written");
}

fn disk(root: &Path, place: &str, number: &str, sectors: u64) {
    let folder = format!("sys/{place}");
    put(root, &format!("{folder}/dev"), &format!("{number}\n"));
    put(root, &format!("{folder}/size"), &format!("{sectors}\n"));
    put(root, &format!("{folder}/ro"), "0\n");
    put(root, &format!("{folder}/removable"), "0\n");
    put(root, &format!("{folder}/queue/logical_block_size"), "512\n");
    link(root, place);
}

fn partition(root: &Path, disk: &str, name: &str, number: &str, sectors: u64) {
    let folder = format!("sys/{disk}/{name}");
    put(root, &format!("{folder}/partition"), "1\n");
    put(root, &format!("{folder}/dev"), &format!("{number}\n"));
    put(root, &format!("{folder}/size"), &format!("{sectors}\n"));
    link(root, &format!("{disk}/{name}"));
}

fn link(root: &Path, place: &str) {
    let class = root.join("sys/class/block");
    fs::create_dir_all(&class).expect("made");
    let name = Path::new(place).file_name().expect("a name");
    symlink(Path::new("../..").join(place), class.join(name)).expect("linked");
}

#[test]
fn the_system_disk_is_found_through_its_layers() {
    let (_folder, machine) = machine();
    let sda = machine.device("sda").expect("there");
    assert!(sda.is_system);
    assert_eq!((sda.kind.clone(), sda.bytes), (Kind::Disk, Some(512_000_000)));
    assert_eq!(sda.transport, Some("sata"));
    assert_eq!(sda.model.as_deref(), Some("SAMSUNG SSD"));
    assert_eq!(sda.vendor.as_deref(), Some("ATA"));
    assert_eq!(sda.serial.as_deref(), Some("S12345"));
    let names: Vec<&str> = sda.partitions.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, ["sda1", "sda2", "sda3"]);
    let uses = [
        Use::Mounted { device: "sda1".to_owned(), at: "/boot/efi".to_owned() },
        Use::Held { device: "sda2".to_owned(), by: "dm-0 (vg-root)".to_owned() },
        Use::Swap { device: "sda3".to_owned() },
    ];
    assert_eq!(sda.uses, uses);
    assert!(machine.device("dm-0").expect("there").is_system);
}

#[test]
fn a_stick_is_mounted_even_if_only_its_uuid_says_so() {
    let (_folder, machine) = machine();
    let stick = machine.device("sdb").expect("there");
    assert!(!stick.is_system && stick.removable);
    assert_eq!((stick.transport, stick.serial.as_deref()), (Some("usb"), Some("0BADCAFE")));
    let mounted = Use::Mounted { device: "sdb1".to_owned(), at: "/media/my stick".to_owned() };
    assert_eq!(stick.uses, [mounted]);
    let part = machine.device("sdb1").expect("there");
    assert_eq!(part.kind, Kind::Partition { of: "sdb".to_owned() });
    assert_eq!(part.bytes, Some(62_000_000 * 512));
}

#[test]
fn another_stick_under_the_same_name_is_told_from_the_first() {
    let (folder, before) = machine();
    let was = before.device("sdb").expect("there");
    let again = || {
        let machine = Machine::read(folder.path()).expect("a machine");
        was.changes(&machine.device(&machine.name_of(8, 16).expect("there")).expect("there"))
    };
    assert_eq!(again(), Vec::<String>::new(), "the same stick stays the same");
    let usb = "sys/devices/pci0000:00/0000:00:14.0/usb1/1-2";
    put(folder.path(), &format!("{usb}/serial"), "FEEDF00D\n");
    assert_eq!(again(), ["serial number: was 0BADCAFE, is FEEDF00D"]);
    put(folder.path(), &format!("{usb}/serial"), "0BADCAFE\n");
    // Two cards of one make in a reader that tells no number of theirs.
    let sequence = format!("{usb}/1-2:1.0/host6/target/6:0:0:0/block/sdb/diskseq");
    put(folder.path(), &sequence, "12\n");
    assert_eq!(again(), ["disk sequence number: was none, is 12"]);
    fs::remove_file(folder.path().join(sequence)).expect("removed");
    let block = format!("{usb}/1-2:1.0/host6/target/6:0:0:0/block/sdb");
    put(folder.path(), &format!("{block}/size"), "62500001\n");
    put(folder.path(), &format!("{block}/sdb1/holders/dm-0"), "");
    let changes = again();
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert_eq!(changes[0], "bytes: was 32000000000, is 32000000512");
    assert!(changes[1].ends_with(" and sdb1 in dm-0 (vg-root)"), "{changes:?}");
}

#[test]
fn a_disk_that_is_read_only_or_has_large_sectors_says_so() {
    let (_folder, machine) = machine();
    let nvme = machine.device("nvme0n1").expect("there");
    assert!(nvme.read_only && nvme.uses.is_empty());
    assert_eq!((nvme.sector_bytes, nvme.transport), (4096, Some("nvme")));
    assert_eq!(nvme.serial.as_deref(), Some("N-1"));
}

#[test]
fn devices_are_known_by_number_and_strange_names_are_refused() {
    let (_folder, machine) = machine();
    assert_eq!(machine.name_of(8, 16).expect("there"), "sdb");
    let unknown = machine.name_of(8, 99).expect_err("unknown").to_string();
    assert!(unknown.ends_with("there are: dm-0, loop0, nvme0n1, sda, sdb"), "{unknown}");
    for name in ["", ".", "..", "../sda", "sda/sda1", "/sda", "sdz"] {
        let found = machine.device(name);
        assert!(matches!(found, Err(MachineError::Unknown { .. })), "{name:?}: {found:?}");
    }
}

#[test]
fn a_file_below_a_loop_device_is_in_use() {
    let (folder, machine) = machine();
    let file = folder.path().canonicalize().expect("there").join("disk.raw");
    fs::write(&file, "x").expect("written");
    assert_eq!(machine.uses_of_file(&file), []);
    let backing = format!("{}\n", file.display());
    put(folder.path(), "sys/devices/virtual/block/loop0/loop/backing_file", &backing);
    let uses = machine.uses_of_file(&file);
    assert!(matches!(&uses[..], [Use::Held { by, .. }] if by == "loop0"), "{uses:?}");
}

#[test]
fn a_machine_without_anything_has_no_devices() {
    let folder = tempfile::tempdir().expect("a folder");
    let machine = Machine::read(folder.path()).expect("an empty machine");
    assert!(machine.device("sda").is_err());
}
