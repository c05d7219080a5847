//! ext4: what we write must satisfy `e2fsck`, a foreign reader and the kernel, and come back as it
//! went in.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::shared::tools::run;
use crate::shared::trees::{add_file, path};
use crate::support::{add_symlink, oracle};
use builder::image::ext4::read::{EntryKind, Filesystem};
use builder::image::ext4::{Ext4Error, Spec, Written, write};
use builder::root::content::Content;
use builder::root::tree::{Node, NodeKind, Origin, Tree};
use disk::gpt::Guid;
use disk::verity::to_hex;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

/// Filesystems don't start at zero in an image; e2fsck gets a copy that does.
const OFFSET: u64 = 3 * 1024 * 1024;

/// A time that needs more than the 31 bits of old inodes.
const AFTER_2038: u32 = 2_300_000_000;

fn spec() -> Spec {
    Spec {
        uuid: Guid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef),
        hash_seed: Guid::from_u128(0x0fed_cba9_8765_4321_8fed_cba9_8765_4321),
        label: "ROOT-A".to_owned(),
        time: 1_700_000_000,
        round_to_bytes: 1024 * 1024,
        max_bytes: 1 << 40,
    }
}

fn written_at(tree: &Tree, offset: u64) -> (NamedTempFile, Written) {
    let image = NamedTempFile::new().expect("a temporary file");
    let written = write(image.as_file(), offset, tree, &spec()).expect("written");
    (image, written)
}

/// `e2fsck` must find nothing at all.
fn check_clean(tree: &Tree) {
    let Some(e2fsck) = oracle("e2fsck") else {
        return;
    };
    let (image, _) = written_at(tree, 0);
    let said = run(Command::new(e2fsck).args(["-f", "-n"]).arg(image.path()));
    assert!(!said.contains('?'), "e2fsck asked to repair something:\n{said}");
}

/// Reads everything back and compares it with the tree.
fn check_read_back(tree: &Tree) {
    let (image, written) = written_at(tree, OFFSET);
    let file = Arc::new(image.reopen().expect("reopened"));
    let filesystem = Filesystem::open(file, OFFSET, written.bytes).expect("opened");
    assert_eq!(filesystem.label(), "ROOT-A");
    assert_eq!(filesystem.uuid(), spec().uuid.to_string());
    let entries = filesystem.entries().expect("walked");
    assert_eq!(entries.len(), tree.len());
    for (entry, (at, node)) in entries.iter().zip(tree.iter()) {
        assert_eq!(entry.path, at.as_str());
        assert_eq!((entry.mode, entry.uid, entry.gid), (node.mode, node.uid, node.gid), "{at}");
        match &node.kind {
            NodeKind::Directory => assert_eq!(entry.kind, EntryKind::Directory),
            NodeKind::Symlink(target) => {
                assert_eq!(entry.kind, EntryKind::Symlink(target.clone()));
            }
            NodeKind::File(content) => {
                assert_eq!((&entry.kind, entry.size), (&EntryKind::File, content.len()));
                let bytes = filesystem.read_file(&entry.path).expect("read");
                assert!(bytes == content.to_vec().expect("content"), "{at} differs");
            }
        }
    }
}

/// A symlink target of that length whose parts are short enough to exist.
fn target(length: usize) -> String {
    "../target".chars().cycle().take(length).collect()
}

/// A bit of everything.
fn mixed_tree() -> Tree {
    let mut tree = Tree::default();
    add_file(&mut tree, "/etc/hostname", b"node1\n", 0o644);
    add_file(&mut tree, "/etc/empty", b"", 0o600);
    add_file(&mut tree, "/usr/bin/tool", &vec![0x5a; 3 * 1024 * 1024 + 17], 0o755);
    add_file(&mut tree, "/usr/bin/setuid", &[1; 4096], 0o4755);
    add_symlink(&mut tree, "/bin", "usr/bin");
    add_symlink(&mut tree, "/usr/fifty-nine", &target(59));
    add_symlink(&mut tree, "/usr/sixty", &target(60));
    add_symlink(&mut tree, "/usr/three-hundred", &target(300));
    add_file(&mut tree, &format!("/usr/{}", "n".repeat(255)), b"long name", 0o644);
    add_file(&mut tree, "/usr/ünïcödé 🙂", b"odd name", 0o644);
    let deep = "/d".repeat(200);
    add_file(&mut tree, &format!("{deep}/leaf"), b"deep", 0o644);
    let shared = Content::from_bytes(vec![7; 10_000]);
    for name in ["/usr/one", "/usr/two", "/usr/three"] {
        let node = Node::file(shared.clone(), 0o644, Origin::Builder);
        tree.insert(path(name), node).expect("inserted");
    }
    let mut owned = Node::file(shared, 0o640, Origin::Builder);
    (owned.uid, owned.gid) = (100_123, 4_000_000_000);
    tree.insert(path("/usr/owned"), owned).expect("inserted");
    let mut sticky = Node::directory(Origin::Builder);
    sticky.mode = 0o1777;
    tree.insert(path("/tmp"), sticky).expect("inserted");
    for number in 0..2000 {
        let name = format!("/many/entry-{number:04}-{}", "p".repeat(number % 60));
        add_file(&mut tree, &name, name.as_bytes(), 0o644);
    }
    tree
}

#[test]
fn a_mixed_tree_is_clean_and_comes_back() {
    let tree = mixed_tree();
    check_clean(&tree);
    check_read_back(&tree);
}

#[test]
fn an_empty_tree_is_a_filesystem() {
    check_clean(&Tree::default());
    check_read_back(&Tree::default());
}

#[test]
fn equal_trees_give_equal_bytes() {
    let bytes = || {
        let (image, _) = written_at(&mixed_tree(), 0);
        fs::read(image.path()).expect("read")
    };
    let first = bytes();
    assert!(first == bytes());
    // The same on every machine and in every release; a change here changes every image.
    let digest: [u8; 32] = Sha256::digest(&first).into();
    assert_eq!(to_hex(&digest), "23d8dd0881ad8c5889edb0fbe627f2ef168aa3d6cf3002db4779925b929a9bf8");
}

#[test]
fn equal_contents_are_stored_once() {
    let mut tree = Tree::default();
    let shared = Content::from_bytes(vec![7; 1_000_000]);
    for number in 0..50 {
        let node = Node::file(shared.clone(), 0o644, Origin::Builder);
        tree.insert(path(&format!("/link-{number}")), node).expect("inserted");
    }
    let (_, written) = written_at(&tree, 0);
    assert!(written.used_bytes < 1_100_000, "{written:?}");
    assert_eq!(written.inodes, 12);
    check_clean(&tree);
    check_read_back(&tree);
}

#[test]
fn empty_files_stay_apart_even_if_they_come_from_one_place() {
    let file = Arc::new(tempfile::tempfile().expect("a temporary file"));
    let empty = Content::Slice { file, offset: 0, length: 0 };
    let mut tree = Tree::default();
    for name in ["/one", "/two"] {
        let node = Node::file(empty.clone(), 0o644, Origin::Builder);
        tree.insert(path(name), node).expect("inserted");
    }
    // Each may become a mount point of its own, which must not show up at the other.
    let (_, written) = written_at(&tree, 0);
    assert_eq!(written.inodes, 13);
}

#[test]
fn a_tree_that_does_not_fit_says_what_it_needs() {
    let tree = mixed_tree();
    let image = NamedTempFile::new().expect("a temporary file");
    let (_, written) = written_at(&tree, 0);
    let exact = Spec { max_bytes: written.used_bytes, ..spec() };
    let fitted = write(image.as_file(), 0, &tree, &exact).expect("it fits exactly");
    assert_eq!(fitted.bytes, written.used_bytes);
    let small = Spec { max_bytes: written.used_bytes - 1, ..spec() };
    match write(image.as_file(), 0, &tree, &small) {
        Err(Ext4Error::TooBig { needed, .. }) => assert_eq!(needed, written.used_bytes),
        other => panic!("{other:?}"),
    }
}

#[test]
fn symlinks_that_no_kernel_can_follow_are_refused() {
    let image = tempfile::tempfile().expect("a temporary file");
    for bad in [String::new(), "a\0b".to_owned(), target(4096)] {
        let mut tree = Tree::default();
        add_symlink(&mut tree, "/link", &bad);
        let refused = write(&image, 0, &tree, &spec());
        assert!(matches!(refused, Err(Ext4Error::BadTarget { .. })), "{refused:?}");
    }
}

#[test]
fn a_filesystem_that_exactly_fills_its_groups_is_clean() {
    let Some(e2fsck) = oracle("e2fsck") else {
        return;
    };
    let mut tree = Tree::default();
    let holes = tempfile::tempfile().expect("a temporary file");
    holes.set_len(200 << 20).expect("made longer");
    let holes = Arc::new(holes);
    // Around 128 MiB, where the second group begins with a single block.
    let (_, plain) = written_at(&tree, 0);
    for fewer in 2..5 {
        let length = (128 << 20) + 3 * 4096 - plain.used_bytes - fewer * 4096;
        let content = Content::Slice { file: holes.clone(), offset: 0, length };
        tree.insert(path("/fill"), Node::file(content, 0o644, Origin::Builder)).expect("inserted");
        let image = NamedTempFile::new().expect("a temporary file");
        let exact = Spec { round_to_bytes: 4096, ..spec() };
        write(image.as_file(), 0, &tree, &exact).expect("written");
        run(Command::new(&e2fsck).args(["-f", "-n"]).arg(image.path()));
    }
}

#[test]
fn a_file_of_many_extents_is_clean_and_stays_sparse() {
    let holes = tempfile::tempfile().expect("a temporary file");
    let length = 520 << 20;
    holes.set_len(length).expect("made longer");
    holes.write_all_at(b"start", 0).expect("written");
    holes.write_all_at(b"end", length - 3).expect("written");
    let content = Content::Slice { file: Arc::new(holes), offset: 0, length };
    let mut tree = Tree::default();
    tree.insert(path("/large"), Node::file(content, 0o644, Origin::Builder)).expect("inserted");
    let (image, written) = written_at(&tree, 0);
    let allocated = image.as_file().metadata().expect("metadata").blocks() * 512;
    assert!(allocated < 2 << 20, "{allocated} bytes are allocated");
    let filesystem =
        Filesystem::open(Arc::new(image.reopen().expect("reopened")), 0, written.bytes)
            .expect("opened");
    let mut last = Ends::default();
    filesystem.copy_file("/large", &mut last).expect("copied");
    assert_eq!((last.count, last.head, last.tail), (length, *b"start", *b"end"));
    check_clean(&tree);
}

/// Counts bytes and remembers the first and the last.
#[derive(Default)]
struct Ends {
    count: u64,
    head: [u8; 5],
    tail: [u8; 3],
}

impl Write for Ends {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.count == 0 {
            self.head.copy_from_slice(&bytes[..5]);
        }
        self.tail.copy_from_slice(&bytes[bytes.len() - 3..]);
        self.count += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_damaged_filesystem_is_an_error_and_no_panic() {
    let mut tree = Tree::default();
    add_file(&mut tree, "/etc/hostname", b"node1", 0o644);
    add_symlink(&mut tree, "/bin", "usr/bin");
    let (image, written) = written_at(&tree, 0);
    let good = fs::read(image.path()).expect("read");
    let walk = || {
        let file = Arc::new(image.reopen().expect("reopened"));
        let filesystem = Filesystem::open(file, 0, written.bytes)?;
        let entries = filesystem.entries()?;
        let files = entries.iter().filter(|entry| entry.kind == EntryKind::File);
        files.map(|entry| filesystem.read_file(&entry.path)).collect::<Result<Vec<_>, _>>()
    };
    walk().expect("untouched");
    // Metadata is checksummed, so a flipped bit of what is in use must be noticed or harmless.
    let metadata = good.iter().rposition(|&byte| byte != 0).expect("there is content") - 4096;
    for at in (1024..metadata).step_by(29) {
        image.as_file().write_all_at(&[!good[at]], at as u64).expect("written");
        if let Ok(files) = walk() {
            assert_eq!(files, [b"node1"], "byte {at} was changed");
        }
        image.as_file().write_all_at(&[good[at]], at as u64).expect("written");
    }
    assert!(Filesystem::open(Arc::new(image.reopen().expect("reopened")), 0, 3000).is_err());
}

/// Lays the tree down as real files, owners aside.
fn lay_down(tree: &Tree, folder: &Path) {
    for (at, node) in tree.iter() {
        let target = folder.join(at.as_str().trim_start_matches('/'));
        match &node.kind {
            NodeKind::Directory => fs::create_dir_all(&target).expect("made"),
            NodeKind::File(content) => {
                fs::write(&target, content.to_vec().expect("content")).expect("written");
            }
            NodeKind::Symlink(to) => std::os::unix::fs::symlink(to, &target).expect("linked"),
        }
    }
    for (at, node) in tree.iter() {
        if !matches!(node.kind, NodeKind::Symlink(_)) {
            let target = folder.join(at.as_str().trim_start_matches('/'));
            let mode = fs::Permissions::from_mode(u32::from(node.mode));
            fs::set_permissions(target, mode).expect("set");
        }
    }
}

#[test]
fn mke2fs_makes_the_same_entries_of_the_same_tree() {
    let Some(mke2fs) = oracle("mke2fs") else {
        return;
    };
    let tree = mixed_tree();
    let folder = tempfile::tempdir().expect("a folder");
    lay_down(&tree, folder.path());
    let theirs = NamedTempFile::new().expect("a temporary file");
    theirs.as_file().set_len(64 << 20).expect("made longer");
    let mut command = Command::new(mke2fs);
    command.args(["-q", "-t", "ext4", "-b", "4096", "-O", "^has_journal", "-d"]);
    run(command.arg(folder.path()).arg(theirs.path()));
    let (ours, written) = written_at(&tree, 0);
    let entries = |image: &NamedTempFile, length| {
        let file = Arc::new(image.reopen().expect("reopened"));
        let filesystem = Filesystem::open(file, 0, length).expect("opened");
        let facts = |entry: builder::image::ext4::read::Entry| {
            let is_file = entry.kind == EntryKind::File;
            let bytes =
                if is_file { filesystem.read_file(&entry.path).expect("read") } else { vec![] };
            (entry.path, (entry.kind, entry.mode, bytes))
        };
        let entries = filesystem.entries().expect("walked");
        entries.into_iter().map(facts).collect::<BTreeMap<_, _>>()
    };
    let (ours, theirs) = (entries(&ours, written.bytes), entries(&theirs, 64 << 20));
    assert!(ours == theirs);
}

#[test]
fn the_kernel_mounts_it() {
    let tree = mixed_tree();
    let image = NamedTempFile::new().expect("a temporary file");
    let late = Spec { time: AFTER_2038, ..spec() };
    write(image.as_file(), 0, &tree, &late).expect("written");
    let Some(mount) = oracle("mount") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mounted = Command::new(&mount)
        .args(["-t", "ext4", "-o", "ro,loop"])
        .arg(image.path())
        .arg(folder.path())
        .output()
        .expect("mount starts");
    if !mounted.status.success() {
        let why = String::from_utf8_lossy(&mounted.stderr).into_owned();
        println!("skipped: mounting needs root and a loop device: {why}");
        return;
    }
    let result = std::panic::catch_unwind(|| compare_mounted(&tree, folder.path()));
    let umount = oracle("umount").expect("what has mount has umount");
    run(Command::new(umount).arg(folder.path()));
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

fn compare_mounted(tree: &Tree, folder: &Path) {
    for (at, node) in tree.iter() {
        let target = folder.join(at.as_str().trim_start_matches('/'));
        let facts = fs::symlink_metadata(&target).expect("there");
        assert_eq!(facts.mode() & 0o7777, u32::from(node.mode), "{at}");
        assert_eq!((facts.uid(), facts.gid()), (node.uid, node.gid), "{at}");
        assert_eq!(facts.mtime(), i64::from(AFTER_2038), "{at}");
        match &node.kind {
            NodeKind::Directory => assert!(facts.is_dir()),
            NodeKind::Symlink(to) => {
                assert_eq!(fs::read_link(&target).expect("read").to_str(), Some(to.as_str()));
            }
            NodeKind::File(content) => {
                let bytes = fs::read(&target).expect("read");
                assert!(bytes == content.to_vec().expect("content"), "{at} differs");
            }
        }
    }
    let shared = fs::metadata(folder.join("usr/one")).expect("there");
    assert_eq!(shared.nlink(), 3, "equal contents share an inode");
    let count = fs::read_dir(folder.join("many")).expect("listed").count();
    assert_eq!(count, 2000);
    let refused = File::create(folder.join("new"));
    assert!(refused.is_err(), "the filesystem is read-only");
}

/// One random entry: where, what, with which permissions.
#[derive(Clone, Debug)]
enum Sample {
    Directory,
    File { length: usize, byte: u8 },
    Symlink(usize),
}

fn sample() -> impl Strategy<Value = Sample> {
    prop_oneof![
        Just(Sample::Directory),
        (prop_oneof![Just(0), 1..5_usize, 4090..4100_usize, 0..100_000_usize], any::<u8>())
            .prop_map(|(length, byte)| Sample::File { length, byte }),
        prop_oneof![1..70_usize, Just(300), Just(4000)].prop_map(Sample::Symlink),
    ]
}

fn random_tree() -> impl Strategy<Value = Tree> {
    let name = prop_oneof!["[a-c]{1,2}", "[a-z ._~üñ🙂-]{1,40}", "[x]{200,250}"];
    let place = prop::collection::vec(name, 1..6);
    let owner = prop_oneof![Just(0_u32), any::<u32>()];
    let entry = (place, sample(), 0..0o10_000_u16, owner.clone(), owner);
    prop::collection::vec(entry, 0..120).prop_map(|entries| {
        let mut tree = Tree::default();
        for (place, what, mode, uid, gid) in entries {
            let Ok(at) = builder::root::tree::TreePath::new(&format!("/{}", place.join("/")))
            else {
                continue;
            };
            let kind = match what {
                Sample::Directory => NodeKind::Directory,
                Sample::File { length, byte } => {
                    NodeKind::File(Content::from_bytes(vec![byte; length]))
                }
                Sample::Symlink(length) => NodeKind::Symlink(target(length)),
            };
            // An entry whose place is taken by another kind is left out.
            let _ = tree.insert(at, Node { kind, mode, uid, gid, origin: Origin::Builder });
        }
        tree
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn any_tree_is_clean_and_comes_back(tree in random_tree()) {
        check_clean(&tree);
        check_read_back(&tree);
    }
}
