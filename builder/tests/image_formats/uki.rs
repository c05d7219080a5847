//! The unified kernel image: structure, refusals, and equality with systemd's own `ukify`.

#![expect(clippy::cast_possible_truncation, reason = "test data is small")]

use std::path::PathBuf;
use std::process::Command;

use crate::shared::tiny_stub::{NX_COMPAT, OPTIONAL_AT, tiny_stub};
use crate::support::{fetched, oracle};
use builder::image::uki::{Section, UkiError, assemble, read_section, section_names};
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader, PeFile64};
use object::{LittleEndian as LE, Object, ObjectSection};
use proptest::prelude::*;

fn sections<'a>(kernel: &'a [u8], initrd: &'a [u8]) -> [Section<'a>; 5] {
    [
        Section { name: ".osrel", data: b"ID=edge\n" },
        Section { name: ".cmdline", data: b"quiet roothash=00" },
        Section { name: ".uname", data: b"6.12.1" },
        Section { name: ".linux", data: kernel },
        Section { name: ".initrd", data: initrd },
    ]
}

#[test]
fn sections_come_back_and_lie_as_firmware_wants_them() {
    let (kernel, initrd) = (vec![1; 5000], vec![2; 100_000]);
    let image = assemble(&tiny_stub(1024), &sections(&kernel, &initrd)).expect("assembled");
    let names = section_names(&image).expect("parsed");
    assert_eq!(names, [".text", ".osrel", ".cmdline", ".uname", ".linux", ".initrd"]);
    for section in sections(&kernel, &initrd) {
        assert_eq!(read_section(&image, section.name).expect("parsed"), Some(section.data));
    }
    assert_eq!(read_section(&image, ".none").expect("parsed"), None);

    let file = PeFile64::parse(&*image).expect("parsed");
    let mut memory_end = 0x1000;
    let mut file_end = 1024;
    for header in file.section_table().iter() {
        let address = header.virtual_address.get(LE);
        assert_eq!((address % 4096, header.pointer_to_raw_data.get(LE) % 512), (0, 0));
        assert!(address >= memory_end && header.pointer_to_raw_data.get(LE) == file_end);
        memory_end = address + header.virtual_size.get(LE);
        file_end += header.size_of_raw_data.get(LE);
    }
    let optional = file.nt_headers().optional_header();
    assert_eq!(optional.size_of_image(), memory_end.next_multiple_of(4096));
    assert_eq!(image.len(), file_end as usize);
    let added = 8 + 17 + 6 + 5000 + 100_000;
    assert_eq!(optional.size_of_initialized_data(), 100 + added);
    assert_eq!(optional.check_sum(), 0);
    let again = assemble(&tiny_stub(1024), &sections(&kernel, &initrd)).expect("assembled");
    assert!(image == again, "equal inputs give equal bytes");
}

#[test]
fn a_kernel_that_can_not_stand_no_execute_turns_it_off() {
    let flags = |kernel: &[u8]| {
        let image = assemble(&tiny_stub(1024), &sections(kernel, b"")).expect("assembled");
        let file = PeFile64::parse(&*image).expect("parsed");
        file.nt_headers().optional_header().dll_characteristics().0
    };
    let with = tiny_stub(512);
    let mut without = tiny_stub(512);
    without[OPTIONAL_AT + 70..OPTIONAL_AT + 72].fill(0);
    assert_eq!(flags(&with), NX_COMPAT);
    assert_eq!(flags(&without), 0);
    assert_eq!(flags(b"not a program"), NX_COMPAT);
}

#[test]
fn what_would_not_boot_is_refused() {
    let stub = tiny_stub(512);
    let some = |name| [Section { name, data: b"x" }];
    assert!(matches!(assemble(b"MZ", &some(".a")), Err(UkiError::NotPe(_))));
    assert!(matches!(assemble(&stub, &some(".text")), Err(UkiError::Twice(_))));
    let twice = [some(".a")[0], some(".a")[0]];
    assert!(matches!(assemble(&stub, &twice), Err(UkiError::Twice(_))));
    for bad in ["", ".ninechars", "a b", "ä"] {
        assert!(matches!(assemble(&stub, &some(bad)), Err(UkiError::BadName(_))), "{bad:?}");
    }
    let names: Vec<String> = (0..5).map(|number| format!(".s{number}")).collect();
    let many: Vec<Section<'_>> = names.iter().map(|name| Section { name, data: b"x" }).collect();
    let refused = assemble(&stub, &many).expect_err("refused");
    assert!(matches!(refused, UkiError::NoHeaderRoom(_)), "{refused}");
    let mut signed = stub.clone();
    signed[OPTIONAL_AT + 112 + 4 * 8] = 1;
    assert!(matches!(assemble(&signed, &some(".a")), Err(UkiError::Signed)));
}

/// Systemd's stub: the one that `EFI_STUB` names, or that the builder fetches.
fn real_stub() -> Option<(PathBuf, Vec<u8>)> {
    let named = std::env::var_os("EFI_STUB").map(PathBuf::from);
    let fetched = || Some(fetched()?.file("usr/lib/systemd/boot/efi/linuxx64.efi.stub"));
    let Some(path) = named.or_else(fetched) else {
        println!("skipped: name systemd's linuxx64.efi.stub with EFI_STUB=/path");
        return None;
    };
    let bytes = std::fs::read(&path).expect("EFI_STUB can be read");
    Some((path, bytes))
}

#[test]
fn systemds_stub_takes_our_sections() {
    let Some((_, stub)) = real_stub() else { return };
    let (kernel, initrd) = (tiny_stub(512), vec![2; 10_000]);
    let image = assemble(&stub, &sections(&kernel, &initrd)).expect("assembled");
    let file = object::File::parse(&*image).expect("parsed");
    for section in sections(&kernel, &initrd) {
        let found = file.section_by_name(section.name).expect("there");
        assert_eq!(found.data().map(|data| &data[..section.data.len()]), Ok(section.data));
    }
}

/// `ukify` also replaces the list of revocable components, which we leave to the stub.
fn with_sbat(mut stub: Vec<u8>, sbat: &[u8]) -> Vec<u8> {
    let file = PeFile64::parse(&*stub).expect("parsed");
    let table = file.section_table();
    let mut headers = table.iter().enumerate();
    let (index, header) = headers.find(|(_, one)| one.raw_name() == b".sbat").expect("there");
    let start = header.pointer_to_raw_data.get(LE) as usize;
    let room = header.size_of_raw_data.get(LE) as usize;
    let headers_at = file.dos_header().nt_headers_offset() as usize;
    let size_at = headers_at + 24 + 240 + 40 * index + 8;
    stub[start..start + room].fill(0);
    stub[start..start + sbat.len()].copy_from_slice(sbat);
    stub[size_at..size_at + 4].copy_from_slice(&(sbat.len() as u32).to_le_bytes());
    stub
}

#[test]
fn ukify_makes_the_same_bytes() {
    let Some((stub_path, stub)) = real_stub() else {
        return;
    };
    let Some(ukify) = oracle("ukify") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let (kernel, initrd) = (tiny_stub(512), vec![2; 10_000]);
    std::fs::write(file("kernel"), &kernel).expect("written");
    std::fs::write(file("initrd"), &initrd).expect("written");
    let option = |name: &str, value: &str| format!("--{name}={value}");
    let output = Command::new(ukify)
        .arg("build")
        .arg(option("stub", &stub_path.display().to_string()))
        .arg(option("linux", &file("kernel").display().to_string()))
        .arg(option("initrd", &file("initrd").display().to_string()))
        .arg(option("output", &file("uki").display().to_string()))
        .args(["--os-release=ID=edge\n", "--cmdline=quiet roothash=00", "--uname=6.12.1"])
        .arg("--efi-arch=x64")
        .output()
        .expect("ukify starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs = std::fs::read(file("uki")).expect("read");
    // In their order and with their data, which may end with a newline that ours lacks.
    let sbat = read_section(&theirs, ".sbat").expect("parsed").expect("there");
    let stub = with_sbat(stub, sbat);
    let ours_has = section_names(&stub).expect("parsed");
    let names = section_names(&theirs).expect("parsed");
    let added: Vec<Section<'_>> = names
        .iter()
        .filter(|name| !ours_has.contains(name))
        .map(|name| {
            let data = read_section(&theirs, name).expect("parsed").expect("there");
            Section { name, data }
        })
        .collect();
    assert!(added.len() >= 5, "{names:?}");
    assert!(assemble(&stub, &added).expect("assembled") == theirs);
}

proptest! {
    #[test]
    fn damaged_programs_never_panic(
        hits in prop::collection::vec((0..1536_usize, any::<u8>()), 1..30),
    ) {
        let mut stub = tiny_stub(1024);
        for (at, byte) in hits {
            stub[at] = byte;
        }
        if let Ok(image) = assemble(&stub, &sections(b"kernel", b"initrd")) {
            let read = read_section(&image, ".cmdline").expect("parsed");
            prop_assert_eq!(read, Some(&b"quiet roothash=00"[..]));
        }
        let _ = read_section(&stub, ".text");
        let _ = section_names(&stub);
    }
}
