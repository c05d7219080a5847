//! Packages that want more than to be unpacked, one by one: each is refused by name, with the path
//! that is wrong. The good ones first, so that refusing everything would fail, too.

use builder::debian::unpack::UnpackError;
use builder::debian::{Package, PackageFiles};
use builder::progress::Progress;
use builder::root::tree::NodeKind;
use tar::EntryType;

use crate::fixture::{Member, ar, deb, deb_of, entry, file, loose_package, store, tar};
use crate::shared::archive_pieces::xz;

fn unpack(name: &str, bytes: &[u8]) -> Result<PackageFiles, UnpackError> {
    let (mirror, cache) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let package: Package = loose_package(mirror.path(), name, bytes);
    let store = store(cache.path(), &package.mirror.clone().expect("set").to_string());
    let first = store.unpack(&package, &Progress::quiet())?;
    // What is read back from the cache is what was unpacked.
    let again = store.unpack(&package, &Progress::quiet())?;
    assert_eq!(format!("{:?}", paths(&first)), format!("{:?}", paths(&again)));
    Ok(again)
}

fn paths(files: &PackageFiles) -> Vec<(&str, u16, u32, &'static str)> {
    let row = |e: &'_ builder::debian::PackageEntry| (e.mode, e.gid, e.kind.name());
    files
        .entries
        .iter()
        .map(|entry| {
            let (mode, gid, kind) = row(entry);
            (entry.path.as_str(), mode, gid, kind)
        })
        .collect()
}

fn content(files: &PackageFiles, path: &str) -> Vec<u8> {
    let entry = files.entries.iter().find(|entry| entry.path.as_str() == path).expect(path);
    let NodeKind::File(content) = &entry.kind else { panic!("{path} is no file") };
    content.to_vec().expect("read")
}

/// Asserts that a package with these entries is refused, by its name and with this word.
fn refused(members: &[Member], word: &str) {
    let error = unpack("evil", &deb("evil", "1.0", members)).expect_err(word).to_string();
    assert!(error.starts_with("evil 1.0 is refused") && error.contains(word), "{error}");
}

#[test]
fn files_links_owners_and_modes_are_kept() {
    let long = format!("./usr/share/{}/{}", "d".repeat(80), "f".repeat(90));
    let mut tool = file("./usr/bin/tool", b"tool");
    tool.mode = 0o4755;
    let members = [
        entry("./", EntryType::Directory, ""),
        entry("./usr/bin/", EntryType::Directory, ""),
        tool,
        entry("./usr/bin/again", EntryType::Link, "./usr/bin/tool"),
        entry("./usr/bin/soft", EntryType::Symlink, "/anywhere/../else"),
        file(&long, &[7; 1000]),
        file("./usr/share/empty", b""),
    ];
    for (name, packed) in [
        ("data.tar", tar(&members)),
        ("data.tar.xz", xz(&tar(&members))),
        ("data.tar.gz", gzip(&tar(&members))),
        ("data.tar.zst", zstd::encode_all(tar(&members).as_slice(), 1).expect("packed")),
    ] {
        let files = unpack("good", &deb_of("good", "1.0", name, &packed)).expect(name);
        assert_eq!(paths(&files)[1], ("/usr/bin/tool", 0o4755, 7, "file"));
        assert_eq!(paths(&files)[0], ("/usr/bin", 0o755, 7, "directory"));
        assert_eq!(content(&files, "/usr/bin/again"), b"tool");
        assert_eq!(content(&files, &long[1..]), [7; 1000]);
        assert_eq!(content(&files, "/usr/share/empty"), b"");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).expect("packed");
    writer.finish().expect("packed")
}

#[test]
fn what_lies_below_the_old_folders_moves_into_usr() {
    let members = [
        entry("./bin", EntryType::Symlink, "usr/bin"),
        entry("./lib/", EntryType::Directory, ""),
        entry("./usr/lib/", EntryType::Directory, ""),
        file("./lib/modules/x", b"x"),
        entry("./usr/lib/hard", EntryType::Link, "./lib/modules/x"),
        file("./library/x", b"y"),
    ];
    let files = unpack("merged", &deb("merged", "1.0", &members)).expect("unpacked");
    let names: Vec<&str> = files.entries.iter().map(|entry| entry.path.as_str()).collect();
    let expected = ["/bin", "/usr/lib", "/usr/lib/modules/x", "/usr/lib/hard", "/library/x"];
    assert_eq!(names, expected);
}

#[test]
fn paths_that_leave_the_package_are_refused() {
    for bad in ["../etc/passwd", "./usr/../../x", "/etc/passwd", "./usr//x", "./usr/./x"] {
        refused(&[file(bad, b"x")], bad);
    }
    refused(
        &[entry("./usr/x", EntryType::Symlink, "/etc"), file("./usr/x/passwd", b"x")],
        "lies below /usr/x",
    );
    refused(
        &[file("./usr/x/passwd", b"x"), entry("./usr/x", EntryType::Symlink, "/etc")],
        "lies below /usr/x",
    );
    refused(&[file("./", b"x")], "replaces the root");
}

#[test]
fn names_that_are_not_plain_text_are_refused() {
    refused(&[file("./a\nb", b"x")], "control character");
    refused(&[file("./a\u{1b}[31mb", b"x")], "control character");
    let latin = Member { name: b"./caf\xe9".to_vec(), ..file("", b"x") };
    refused(&[latin], "not UTF-8");
    refused(&[file(&format!("./{}", "n".repeat(300)), b"x")], "longer than Linux");
    refused(&[entry("./x", EntryType::Symlink, "a\u{7}b")], "control character");
    refused(&[entry("./x", EntryType::Symlink, "")], "empty or too long");
    let zero = Member { link: b"a\0b".to_vec(), ..entry("./x", EntryType::Symlink, "") };
    // A short name ends at its zero, as for every reader of tar; in a long one it is refused.
    let files = unpack("zero", &deb("zero", "1.0", &[zero])).expect("unpacked");
    assert!(matches!(&files.entries[0].kind, NodeKind::Symlink(target) if target == "a"));
    let long = [vec![b'a'; 120], b"\0b".to_vec()].concat();
    let zero = Member { link: long, ..entry("./x", EntryType::Symlink, "") };
    refused(&[zero], "control character");
    let endless = Member { link: vec![b'a'; 5000], ..entry("./x", EntryType::Symlink, "") };
    refused(&[endless], "header at byte");
}

#[test]
fn links_to_what_is_not_there_are_refused() {
    refused(&[entry("./x", EntryType::Link, "./usr/absent")], "isn't in the package");
    refused(&[entry("./x", EntryType::Link, "/etc/shadow")], "name is absolute");
    refused(&[entry("./x", EntryType::Link, "../../etc/shadow")], "./x");
    let folder = entry("./usr/", EntryType::Directory, "");
    refused(&[folder, entry("./x", EntryType::Link, "./usr")], "is no file");
}

#[test]
fn only_files_folders_and_links_are_taken() {
    refused(&[entry("./dev/sda", EntryType::Block, "")], "device node");
    refused(&[entry("./dev/null", EntryType::Char, "")], "device node");
    refused(&[entry("./run/pipe", EntryType::Fifo, "")], "FIFO");
    refused(&[entry("./sparse", EntryType::GNUSparse, "")], "sparse");
    refused(&[entry("./pax", EntryType::XHeader, "")], "pax header");
    refused(&[entry("./pax", EntryType::XGlobalHeader, "")], "pax header");
    refused(&[entry("./odd", EntryType::new(b'Z'), "")], "'Z'");
    let fat = Member { content: vec![1; 600], ..entry("./x", EntryType::Symlink, "y") };
    refused(&[fat], "has content");
}

#[test]
fn a_path_is_there_once() {
    refused(&[file("./usr/x", b"1"), file("./usr/x", b"2")], "/usr/x");
    refused(&[file("./lib/x", b"1"), file("./usr/lib/x", b"2")], "there twice");
    refused(&[entry("./usr/x/", EntryType::Directory, ""), file("./usr/x", b"2")], "there twice");
}

fn refused_data(data_name: &str, data: &[u8], word: &str) {
    let error = unpack("evil", &deb_of("evil", "1.0", data_name, data)).expect_err(word);
    assert!(error.to_string().contains(word), "{error}");
}

#[test]
fn broken_tars_are_refused() {
    let good = tar(&[file("./usr/x", &[1; 2000])]);
    refused_data("data.tar", &good[..1000], "truncated");
    refused_data("data.tar", &good[..512 + 2048], "truncated");
    refused_data("data.tar", b"", "truncated");
    refused_data("data.tar", &[good.as_slice(), b"garbage"].concat(), "truncated");
    refused_data("data.tar", &[good.as_slice(), &[1; 512]].concat(), "follows the end");
    let mut changed = good.clone();
    changed[0] ^= 1;
    refused_data("data.tar", &changed, "header at byte 0");
    let mut endless = good.clone();
    endless[124..136].copy_from_slice(b"77777777777\0");
    let sum: u32 = endless[..512].iter().map(|byte| u32::from(*byte)).sum();
    let own: u32 = endless[148..156].iter().map(|byte| u32::from(*byte)).sum();
    endless[148..156].copy_from_slice(format!("{:06o}\0 ", sum - own + 256).as_bytes());
    refused_data("data.tar", &endless, "out of proportion");
    refused_data(
        "data.tar",
        &tar(&[entry("./@", EntryType::GNULongName, "")])[..1024],
        "truncated",
    );
}

#[test]
fn broken_compression_is_refused() {
    let good = xz(&tar(&[file("./usr/x", &vec![1; 200_000])]));
    refused_data("data.tar.xz", &good[..good.len() / 2], "evil");
    refused_data("data.tar.xz", &[good.as_slice(), b"garbage!"].concat(), "can't be unpacked");
    refused_data("data.tar.xz", b"not xz at all", "can't be unpacked");
    refused_data("data.tar.gz", b"not gzip at all", "can't be unpacked");
    refused_data("data.tar.zst", b"not zstd at all", "can't be unpacked");
    refused_data("data.tar.lzma", &good, "packed in a way");
    let mut changed = good.clone();
    changed[100] ^= 0x10;
    refused_data("data.tar.xz", &changed, "evil");
}

#[test]
fn a_bomb_is_stopped_by_proportion() {
    let zeroes = tar(&[file("./usr/zeroes", &vec![0; 100_000_000])]);
    let data = zstd::encode_all(zeroes.as_slice(), 1).expect("packed");
    assert!(data.len() < 100_000);
    refused_data("data.tar.zst", &data, "out of proportion");
}

#[test]
fn broken_containers_are_refused() {
    let (control, data) = (xz(&tar(&[])), xz(&tar(&[])));
    let whole = deb("evil", "1.0", &[file("./usr/x", b"x")]);
    let binary = ("debian-binary", b"2.0\n".as_slice());
    for (bytes, word) in [
        (b"".to_vec(), "no ar archive"),
        (b"!<arch>\n".to_vec(), "truncated"),
        (whole[..whole.len() - 40].to_vec(), "truncated"),
        (whole[..100].to_vec(), "garbage"),
        ([whole.as_slice(), b"garbage"].concat(), "garbage"),
        (ar(&[("control.tar.xz", &control), ("data.tar.xz", &data)]), "debian-binary"),
        (ar(&[binary, ("data.tar.xz", &data), ("control.tar.xz", &control)]), "control.tar"),
        (ar(&[("debian-binary", b"3.0\n"), ("control.tar.xz", &control)]), "only 2.x"),
        (ar(&[binary, ("control.tar.xz", &control)]), "data.tar"),
    ] {
        let error = unpack("evil", &bytes).expect_err(word).to_string();
        assert!(error.starts_with("evil 1.0 is refused") && error.contains(word), "{error}");
    }
}

#[test]
fn a_package_that_calls_itself_otherwise_is_refused() {
    let error = unpack("good", &deb("other", "1.0", &[])).expect_err("another").to_string();
    assert!(error.contains("other 1.0"), "{error}");
    let error = unpack("good", &deb("good", "2.0", &[])).expect_err("another").to_string();
    assert!(error.contains("good 2.0"), "{error}");
}
