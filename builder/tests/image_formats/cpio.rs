//! The initramfs archive: byte for byte known, and unpacked by a foreign tool.

#![expect(clippy::cast_possible_truncation, reason = "test data is small")]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::shared::trees::{add_file, path};
use crate::support::{add_symlink, oracle};
use builder::image::cpio::{CpioError, Device, to_vec, write};
use builder::root::tree::{Node, NodeKind, Origin, Tree};
use proptest::prelude::*;

fn small_tree() -> Tree {
    let mut tree = Tree::default();
    tree.insert(path("/dev"), Node::directory(Origin::Builder)).expect("inserted");
    add_file(&mut tree, "/init", b"#!\n12", 0o755);
    add_symlink(&mut tree, "/bin", "usr/bin");
    tree
}

#[test]
fn the_bytes_are_the_formats() {
    let archive = to_vec(&small_tree(), &[Device::console()]).expect("written");
    let readable = |&byte: &u8| {
        if byte.is_ascii_graphic() { char::from(byte) } else { '.' }
    };
    let line = |bytes: &[u8]| bytes.iter().map(readable).collect::<String>();
    let text: Vec<String> = archive.chunks(64).map(line).collect();
    insta::assert_snapshot!(text.join("\n"), @"
    070701000000010000a1ff000000000000000000000001000000000000000700
    0000000000000000000000000000000000000400000000bin...usr/bin.0707
    0100000002000041ed0000000000000000000000020000000000000000000000
    000000000000000000000000000000000400000000dev...0707010000000300
    0081ed0000000000000000000000010000000000000005000000000000000000
    000000000000000000000500000000init..#!.12...07070100000004000021
    8000000000000000000000000100000000000000000000000000000000000000
    05000000010000000c00000000dev/console...070701000000000000000000
    0000000000000000000001000000000000000000000000000000000000000000
    0000000000000b00000000TRAILER!!!....
    ");
}

#[test]
fn a_device_needs_its_own_place() {
    let console = [Device::console()];
    assert!(matches!(to_vec(&Tree::default(), &console), Err(CpioError::NoDirectory(_))));
    let mut tree = small_tree();
    add_file(&mut tree, "/dev/console", b"", 0o600);
    assert!(matches!(to_vec(&tree, &console), Err(CpioError::Twice(_))));
}

#[test]
fn a_full_disk_is_an_error_that_names_the_entry() {
    let mut room = [0; 200];
    let failed = write(&small_tree(), &[], &mut &mut room[..]).expect_err("refused");
    assert!(matches!(failed, CpioError::Write { .. }), "{failed}");
    assert_eq!(failed.to_string(), "writing /dev to the archive");
}

#[test]
fn cpio_unpacks_it() {
    let Some(cpio) = oracle("cpio") else { return };
    let tree = small_tree();
    let folder = tempfile::tempdir().expect("a folder");
    let archive = to_vec(&tree, &[]).expect("written");
    let mut child = Command::new(cpio)
        .args(["-i", "-d", "--quiet"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("cpio starts");
    child.stdin.take().expect("piped").write_all(&archive).expect("written");
    assert!(child.wait().expect("it ends").success());
    let init = folder.path().join("init");
    assert_eq!(std::fs::read(&init).expect("read"), b"#!\n12");
    let mode = std::fs::metadata(&init).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
    let link = std::fs::read_link(folder.path().join("bin")).expect("a link");
    assert_eq!(link.to_str(), Some("usr/bin"));
}

/// A reader of just what the kernel reads: name, mode and content of every entry.
fn parse(mut archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
    let mut entries = Vec::new();
    let mut position = 0;
    let mut take = |count: usize| {
        let (taken, rest) = archive.split_at(count);
        archive = rest;
        position += count;
        let padding = position.next_multiple_of(4) - position;
        (taken.to_vec(), padding)
    };
    loop {
        let (header, _) = take(110);
        let text = std::str::from_utf8(&header).expect("hexadecimal");
        assert_eq!(&text[..6], "070701");
        let field = |index: usize| {
            u32::from_str_radix(&text[6 + 8 * index..14 + 8 * index], 16).expect("a number")
        };
        let (name, padding) = take(field(11) as usize);
        take(padding);
        let (content, padding) = take(field(6) as usize);
        take(padding);
        let name = String::from_utf8(name).expect("UTF-8").trim_end_matches('\0').to_owned();
        if name == "TRAILER!!!" {
            return entries;
        }
        entries.push((name, field(1), content));
    }
}

proptest! {
    #[test]
    fn any_tree_comes_back(
        entries in prop::collection::vec(
            ("[a-zä]{1,9}(/[a-z]{1,9}){0,3}", 0..3_u8, 0..9_usize),
            0..30,
        ),
    ) {
        let mut tree = Tree::default();
        for (at, kind, length) in entries {
            let at = path(&format!("/{at}"));
            let kind = match kind {
                0 => NodeKind::Directory,
                1 => NodeKind::Symlink("t".repeat(length + 1)),
                _ => {
                    let bytes = vec![length as u8; length];
                    NodeKind::File(builder::root::content::Content::from_bytes(bytes))
                }
            };
            let node = Node { kind, mode: 0o750, uid: 1, gid: 2, origin: Origin::Builder };
            // An entry whose place is taken by another kind is left out.
            let _ = tree.insert(at, node);
        }
        let archive = to_vec(&tree, &[]).expect("written");
        let parsed = parse(&archive);
        let wanted: Vec<_> = tree
            .iter()
            .filter(|(at, _)| !at.is_root())
            .map(|(at, node)| {
                let (kind, content) = match &node.kind {
                    NodeKind::Directory => (0o040_000, Vec::new()),
                    NodeKind::Symlink(target) => (0o120_000, target.clone().into_bytes()),
                    NodeKind::File(content) => (0o100_000, content.to_vec().expect("content")),
                };
                (at.as_str()[1..].to_owned(), kind | u32::from(node.mode), content)
            })
            .collect();
        prop_assert_eq!(parsed, wanted);
    }
}
