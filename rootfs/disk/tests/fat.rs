//! FAT: what we format satisfies `fsck.fat` and mtools, and we read what they write, and nothing
//! that anyone writes makes the reader panic, loop or allocate without bound.

#![expect(clippy::cast_possible_truncation, reason = "test volumes are small")]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use disk::fat::{
    FormatError, Kind, NewFile, ReadError, Spec, Timestamp, Volume, format, format_to_vec,
};
use disk::{AccessFailed, ReadAt, WriteAt};
use proptest::prelude::*;
use support::{oracle, run};

const MIB: u64 = 1024 * 1024;

fn spec(size_bytes: u64) -> Spec<'static> {
    let time = Timestamp::from_unix(1_700_000_000);
    Spec { size_bytes, serial: 0x1234_abcd, label: "SEED", time }
}

type Files = BTreeMap<String, Vec<u8>>;

fn formatted(size_bytes: u64, files: &Files) -> Vec<u8> {
    let files: Vec<NewFile<'_>> =
        files.iter().map(|(path, content)| NewFile { path, content }).collect();
    format_to_vec(&spec(size_bytes), &files).expect("formatted")
}

fn some_files() -> Files {
    let mut files = Files::new();
    let mut add = |path: &str, content: Vec<u8>| files.insert(path.to_owned(), content);
    add("node.toml", b"name = \"node1\"\n".to_vec());
    add("README.TXT", b"read me\r\n".to_vec());
    add("empty", Vec::new());
    add("EFI/BOOT/BOOTX64.EFI", vec![0x4d; 100_000]);
    add("EFI/Linux/appliance-a+3.efi", (0..=255).cycle().take(300_001).collect());
    add("EFI/Linux/appliance-b+3.efi", vec![7; 4096]);
    add("EFI/Linux/Ünïcödé 🙂 name.efi", b"odd".to_vec());
    add("loader/loader.conf", b"timeout 0\n".to_vec());
    for number in 0..100 {
        add(&format!("many/a file with a long name {number}.conf"), vec![number; 10]);
    }
    files
}

/// Every file of a volume, by path.
fn read_all<R: ReadAt>(volume: &Volume<R>) -> Result<Files, ReadError> {
    let mut files = Files::new();
    let mut pending = vec![String::new()];
    while let Some(folder) = pending.pop() {
        for entry in volume.list(&folder)? {
            let path = format!("{folder}/{}", entry.name);
            if entry.is_directory {
                // Hostile folders may contain each other; real ones are not that deep.
                if path.matches('/').count() < 8 && files.len() + pending.len() < 1000 {
                    pending.push(path);
                }
            } else {
                let bytes = volume.read_file(&path, 16 * MIB)?;
                files.insert(path.trim_start_matches('/').to_owned(), bytes);
            }
        }
    }
    Ok(files)
}

/// A volume in a file, for the tools.
fn as_file(volume: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("volume.img");
    std::fs::write(&path, volume).expect("written");
    (folder, path)
}

fn check_clean(volume: &[u8]) {
    let Some(fsck) = oracle("fsck.fat") else {
        return;
    };
    let (_folder, path) = as_file(volume);
    let said = run(Command::new(fsck).arg("-n").arg("-v").arg(path));
    for complaint in ["differ", "invalid", "Bad", "bad", "Wrong", "wrong", "Reclaim"] {
        assert!(!said.contains(complaint), "{said}");
    }
}

#[test]
fn all_three_kinds_are_clean_and_come_back() {
    let files = some_files();
    for (size, kind, pinned) in [
        (4 * MIB, Kind::Fat12, 0x4174_85f8),
        (8 * MIB, Kind::Fat16, 0xbaa7_e0f7),
        (63 * MIB, Kind::Fat16, 0x5a73_7357),
        (64 * MIB, Kind::Fat32, 0x00f0_6c0c),
        (130 * MIB, Kind::Fat32, 0x6127_0d7f),
    ] {
        let volume = formatted(size, &files);
        let read = Volume::open(&volume).expect("opened");
        assert_eq!((read.kind(), read.serial()), (kind, 0x1234_abcd));
        assert_eq!(read.label().as_deref(), Ok("SEED"));
        assert!(read_all(&read).expect("read") == files, "{size}");
        assert!(volume == formatted(size, &files), "equal inputs give equal bytes");
        // The same on every machine and in every release; a change here changes every image.
        assert_eq!(crc32fast::hash(&volume), pinned, "{size}");
        check_clean(&volume);
    }
}

#[test]
fn mtools_reads_what_we_write() {
    let (Some(mcopy), Some(mlabel)) = (oracle("mcopy"), oracle("mlabel")) else {
        return;
    };
    for size in [4 * MIB, 8 * MIB, 64 * MIB] {
        let (folder, path) = as_file(&formatted(size, &some_files()));
        let label = run(Command::new(&mlabel).arg("-s").arg("-i").arg(&path).arg("::"));
        assert!(label.contains("SEED"), "{label}");
        let copied = folder.path().join("copied");
        std::fs::create_dir(&copied).expect("made");
        let mut command = Command::new(&mcopy);
        run(command
            .env("LC_ALL", "C.UTF-8")
            .arg("-s")
            .arg("-i")
            .arg(&path)
            .arg("::*")
            .arg(&copied));
        for (name, bytes) in some_files() {
            if name.is_ascii() {
                let theirs = std::fs::read(copied.join(&name)).expect("there");
                assert!(theirs == bytes, "{name}");
            }
        }
    }
}

#[test]
fn we_read_what_dosfstools_and_mtools_write() {
    let (Some(mkfs), Some(mcopy)) = (oracle("mkfs.vfat"), oracle("mcopy")) else {
        return;
    };
    for (size, bits) in [(4 * MIB, "12"), (32 * MIB, "16"), (64 * MIB, "32")] {
        let (folder, path) = as_file(&[]);
        std::fs::File::create(&path).and_then(|file| file.set_len(size)).expect("made");
        run(Command::new(&mkfs).args(["-F", bits, "-n", "CIDATA", "-i", "0000beef"]).arg(&path));
        let copy = |name: &str, bytes: &[u8]| {
            let source = folder.path().join(name);
            std::fs::write(&source, bytes).expect("written");
            run(Command::new(&mcopy).arg("-i").arg(&path).arg(source).arg("::"));
        };
        copy("node1.toml", b"name = 1");
        copy("A Long Name.toml", &vec![9; 70_000]);
        copy("UPPER.TXT", b"upper");
        let volume = std::fs::read(&path).expect("read");
        let read = Volume::open(&volume).expect("opened");
        assert_eq!(read.label().as_deref(), Ok("CIDATA"));
        assert_eq!(read.serial(), 0xbeef);
        assert_eq!(read.read_file("NODE1.TOML", 100).as_deref(), Ok(&b"name = 1"[..]));
        assert_eq!(read.read_file("/a long name.TOML", MIB).map(|bytes| bytes.len()), Ok(70_000));
        let names: Vec<String> =
            read.list("").expect("listed").into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["node1.toml", "A Long Name.toml", "UPPER.TXT"]);
    }
}

#[test]
fn a_volume_that_is_too_small_for_fat32_is_still_read_as_such() {
    let Some(mkfs) = oracle("mkfs.vfat") else {
        return;
    };
    let (_folder, path) = as_file(&vec![0; 8 * MIB as usize]);
    run(Command::new(&mkfs).args(["-F", "32", "-n", "CIDATA"]).arg(&path));
    let volume = std::fs::read(&path).expect("read");
    let read = Volume::open(&volume).expect("opened");
    assert_eq!(read.kind(), Kind::Fat32);
    assert_eq!(read.label().as_deref(), Ok("CIDATA"));
    assert_eq!(read.list(""), Ok(Vec::new()));
}

#[test]
fn files_are_found_by_either_name_in_any_case() {
    let volume = formatted(4 * MIB, &some_files());
    let read = Volume::open(&volume).expect("opened");
    let long = read.read_file("EFI/Linux/appliance-b+3.efi", MIB).expect("read");
    assert_eq!(long, vec![7; 4096]);
    assert_eq!(read.read_file("/efi/LINUX/APPLIA~2.EFI", MIB), Ok(long));
    assert_eq!(read.read_file("efi/linux/ÜNÏCÖDÉ 🙂 NAME.EFI", MIB), Ok(b"odd".to_vec()));
    assert!(matches!(read.read_file("nothing", 1), Err(ReadError::NotFound(_))));
    assert!(matches!(read.read_file("EFI", 1), Err(ReadError::IsFolder(_))));
    assert!(matches!(read.read_file("", 1), Err(ReadError::IsFolder(_))));
    assert!(matches!(read.list("node.toml"), Err(ReadError::NotFolder(_))));
    assert!(matches!(read.list("node.toml/x"), Err(ReadError::NotFound(_))));
    let too_large = read.read_file("node.toml", 5).expect_err("refused");
    assert_eq!(
        too_large.to_string(),
        "\"node.toml\" has 15 bytes, but at most 5 are expected there"
    );
    let file = read.open_file("EFI/Linux/appliance-a+3.efi").expect("opened");
    let mut middle = [0; 5];
    file.read_exact_at(299_998, &mut middle[..3]).expect("read");
    assert_eq!(middle, [222, 223, 224, 0, 0]);
    assert!(file.read_exact_at(299_999, &mut middle).is_err());
}

/// Remembers what was written, so that a large volume need not exist.
#[derive(Default)]
struct Written {
    bytes: u64,
    end: u64,
}

impl WriteAt for Written {
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), AccessFailed> {
        self.bytes += bytes.len() as u64;
        self.end = self.end.max(offset + bytes.len() as u64);
        Ok(())
    }
}

#[test]
fn a_large_volume_stays_sparse() {
    let kernel = vec![1; 20 * MIB as usize];
    let files = [NewFile { path: "EFI/Linux/a.efi", content: &kernel }];
    let mut written = Written::default();
    format(&spec(512 * MIB), &files, &mut written).expect("formatted");
    assert!(written.bytes < 22 * MIB, "{} bytes were written", written.bytes);
    assert!(written.end <= 512 * MIB);
}

#[test]
fn formatting_over_an_old_volume_leaves_nothing_of_it() {
    let mut volume = formatted(4 * MIB, &some_files());
    let old = volume.clone();
    let secret = b"new".to_vec();
    let files = [NewFile { path: "node.toml", content: &secret }];
    format(&spec(4 * MIB), &files, &mut volume).expect("formatted");
    let read = Volume::open(&volume).expect("opened");
    let wanted = Files::from([("node.toml".to_owned(), secret.clone())]);
    assert_eq!(read_all(&read), Ok(wanted));
    assert_ne!(volume, old);
    check_clean(&volume);
    let mut dirty = vec![0xff; volume.len()];
    format(&spec(4 * MIB), &files, &mut dirty).expect("formatted");
    let used = dirty.iter().rposition(|&byte| byte != 0xff).expect("there is content");
    let clean = format_to_vec(&spec(4 * MIB), &files).expect("formatted");
    assert!(dirty[..=used] == clean[..=used], "the rest of the last cluster is cleared");
    assert_eq!((used + 1) % 512, 0);
}

#[test]
fn what_can_not_be_is_refused() {
    let content = vec![1; 5 * MIB as usize];
    let attempt = |paths: &[&str], content: &dyn ReadAt| {
        let files: Vec<NewFile<'_>> = paths.iter().map(|&path| NewFile { path, content }).collect();
        format_to_vec(&spec(4 * MIB), &files).expect_err("refused")
    };
    let small = vec![1];
    assert!(matches!(attempt(&["a"], &content), FormatError::Full { .. }));
    assert!(matches!(attempt(&["a", "A"], &small), FormatError::Clash { .. }));
    assert!(matches!(attempt(&["a", "a/b"], &small), FormatError::Clash { .. }));
    assert!(matches!(attempt(&["a/b", "a"], &small), FormatError::Clash { .. }));
    for bad in ["", "/a", "a//b", "a:b", "a?", "trailing.", "a/ b", &"n".repeat(256)] {
        assert!(matches!(attempt(&[bad], &small), FormatError::Name { .. }), "{bad:?}");
    }
    let names: Vec<String> = (0..300).map(|number| format!("long name {number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let empty = Vec::new();
    assert!(matches!(attempt(&names, &empty), FormatError::FolderFull { .. }));
    for size in [0, 512, 4 * MIB + 1, 1 << 40] {
        assert_eq!(format_to_vec(&spec(size), &[]), Err(FormatError::Size(size)));
    }
    let lower = Spec { label: "seed", ..spec(4 * MIB) };
    assert!(matches!(format_to_vec(&lower, &[]), Err(FormatError::Label { .. })));
}

/// Where the first allocation table of a volume of ours starts.
fn table_offset(volume: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([volume[14], volume[15]])) * 512
}

#[test]
fn loops_end() {
    let mut volume = formatted(64 * MIB, &some_files());
    // Every cluster's successor is cluster 2, the root, which so never ends.
    let table = table_offset(&volume);
    for entry in volume[table + 8..table + 100_000].chunks_exact_mut(4) {
        entry.copy_from_slice(&2_u32.to_le_bytes());
    }
    let read = Volume::open(&volume).expect("opened");
    assert!(read.list("").expect("listed").len() <= 65_536);
    let first = read.list("").expect("listed");
    assert!(!first.is_empty());
    let _ = read_all(&read);
}

#[test]
fn chains_that_leave_the_volume_are_noticed() {
    let mut volume = formatted(64 * MIB, &some_files());
    let table = table_offset(&volume);
    for entry in volume[table + 12..table + 100_000].chunks_exact_mut(4) {
        entry.copy_from_slice(&0x0fff_0000_u32.to_le_bytes());
    }
    let read = Volume::open(&volume).expect("opened");
    let broken = read.read_file("EFI/BOOT/BOOTX64.EFI", MIB);
    assert!(matches!(broken, Err(ReadError::BrokenChain { .. })), "{broken:?}");
}

fn random_files() -> impl Strategy<Value = Files> {
    let name = prop_oneof!["[A-Z]{1,8}\\.[A-Z]{1,3}", "[a-z]{1,12}", "[a-zA-Zä🙂 .+~-]{1,30}"];
    let path = prop::collection::vec(name, 1..4);
    let content = (any::<u8>(), prop_oneof![Just(0), 1..10_000_usize])
        .prop_map(|(byte, length)| vec![byte; length]);
    prop::collection::vec((path, content), 0..30).prop_map(|entries| {
        entries.into_iter().map(|(path, content)| (path.join("/"), content)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_files_are_clean_and_come_back(
        files in random_files(),
        size in prop::sample::select(vec![4 * MIB, 8 * MIB, 64 * MIB]),
    ) {
        let new: Vec<NewFile<'_>> =
            files.iter().map(|(path, content)| NewFile { path, content }).collect();
        // Names that FAT does not know, and those that differ only by case, are refused elsewhere.
        if let Ok(volume) = format_to_vec(&spec(size), &new) {
            let read = Volume::open(&volume).expect("opened");
            let found = read_all(&read).expect("read");
            prop_assert!(found == files, "{:?} {:?}", found.keys(), files.keys());
            check_clean(&volume);
        }
    }

    #[test]
    fn damage_never_panics(
        size in prop::sample::select(vec![2 * MIB, 8 * MIB, 64 * MIB]),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..60),
        near_start: bool,
    ) {
        let mut volume = formatted(size, &some_files());
        for (place, byte) in hits {
            let span = if near_start { 96 } else { 1_200_000 };
            let at = place.index(span);
            volume[at] = byte;
        }
        if let Ok(read) = Volume::open(&volume) {
            let _ = read.label();
            let _ = read_all(&read);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 512..8192)) {
        bytes[510] = 0x55;
        bytes[511] = 0xaa;
        bytes[11] = 0;
        bytes[12] = 2;
        if let Ok(read) = Volume::open(&bytes) {
            let _ = read.label();
            let _ = read_all(&read);
        }
    }
}
