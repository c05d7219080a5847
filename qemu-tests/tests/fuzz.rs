//! A short fuzzing run of every parser that meets bytes from outside. For a long one:
//! `FUZZ_ROUNDS=1000000 cargo test --release -p qemu-tests --test fuzz`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use builder::debian::{deb, deb822, release, sources, tarball};
use builder::image::uki;
use disk::boot::BootArguments;
use qemu_tests::fuzz::Target;

const ROUNDS: u64 = 50_000;
/// The same inputs in every run: a red run must be red again.
const SEED: u64 = 20_261_120;

fn rounds() -> u64 {
    let given = std::env::var("FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(ROUNDS)
}

fn run(target: &Target) {
    if let Err(broken) = target.fuzz(SEED, rounds()) {
        let path = std::env::temp_dir().join(format!("fuzz-{}-{}", target.name, broken.round));
        fs::write(&path, &broken.input).expect("written");
        panic!(
            "{}, round {}: {}; input in {}",
            target.name,
            broken.round,
            broken.how,
            path.display()
        );
    }
}

/// Every file below a folder of the workspace.
fn files(folder: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").join(folder);
    let mut found = Vec::new();
    let mut queue = vec![root];
    while let Some(path) = queue.pop() {
        if path.is_dir() {
            queue
                .extend(fs::read_dir(&path).expect("readable").flatten().map(|entry| entry.path()));
        } else {
            found.push(fs::read(&path).expect("readable"));
        }
    }
    // The order of a folder is the filesystem's; the inputs must not depend on it.
    found.sort();
    found
}

#[test]
fn seeds() {
    let run_seed = |input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        if let Err(problems) = seed::parse("fuzz.toml", &text) {
            assert!(!problems.to_string().is_empty());
        }
    };
    let mut corpus = files("rootfs/seed/testdata");
    corpus.extend(files("images/lab").into_iter().take(4));
    run(&Target { name: "seed", corpus, run: run_seed });
}

#[test]
fn nocloud_volumes() {
    let corpus = vec![
        b"#edgepair-seed\nformat = 1\n".to_vec(),
        b"#cloud-config\nhostname: a\nseed: |\n  format = 1\n  [node]\n".to_vec(),
        b"Content-Type: multipart/mixed; boundary=\"x\"\nMIME-Version: 1.0\n\n--x\n\
          Content-Type: text/x-edgepair-seed\n\nformat = 1\n--x--\n"
            .to_vec(),
    ];
    let run_nocloud = |input: &[u8]| {
        let _either = seed::nocloud::find_seed(&String::from_utf8_lossy(input));
    };
    run(&Target { name: "nocloud", corpus, run: run_nocloud });
}

#[test]
fn manifests() {
    let run_manifest = |input: &[u8]| {
        let _either = seed::manifest::Manifest::from_json(&String::from_utf8_lossy(input));
    };
    let corpus = vec![
        br#"{"name":"lab","version":"1","seed_format":1,"source_date":0,"architecture":"amd64",
            "stand_in":false,"debug":true,"overlays":[],"packages":[],"users":[],"modules":[],
            "sysctls":{},"templates":[],"services":[]}"#
            .to_vec(),
    ];
    run(&Target { name: "manifest", corpus, run: run_manifest });
}

#[test]
fn partition_tables() {
    let mut table = disk::gpt::Table::new(disk::gpt::Guid::from_u128(1), 2048).expect("a table");
    table.partitions.push(disk::gpt::Partition {
        number: 1,
        type_guid: disk::gpt::types::ESP,
        guid: disk::gpt::Guid::from_u128(2),
        first_lba: 64,
        last_lba: 127,
        attributes: 0,
        name: "ESP".to_owned(),
    });
    let mut image = vec![0_u8; 2048 * 512];
    table.write_to(&mut image).expect("written");
    let run_gpt = |input: &[u8]| {
        let _either = disk::gpt::read(input);
    };
    run(&Target { name: "gpt", corpus: vec![image], run: run_gpt });
}

#[test]
fn fat_volumes() {
    let spec = disk::fat::Spec {
        size_bytes: 256 * 1024,
        serial: 1,
        label: "SEED",
        time: disk::fat::Timestamp::EPOCH,
    };
    let content = b"format = 1\n".to_vec();
    let files = [disk::fat::NewFile { path: "seed.toml", content: &content }];
    let volume = disk::fat::format_to_vec(&spec, &files).expect("formatted");
    let run_fat = |input: &[u8]| {
        let Ok(volume) = disk::fat::Volume::open(input) else { return };
        let _label = volume.label();
        let _file = volume.read_file("seed.toml", 1 << 20);
        let _list = volume.list("");
    };
    run(&Target { name: "fat", corpus: vec![volume], run: run_fat });
}

#[test]
fn kernel_command_lines() {
    let line = format!(
        "quiet edgepair.slot=a edgepair.root={} edgepair.verity=100:{}:{}",
        disk::gpt::Guid::from_u128(7),
        "0a".repeat(32),
        "5f".repeat(32)
    );
    let run_line = |input: &[u8]| {
        let _either = String::from_utf8_lossy(input).parse::<BootArguments>();
    };
    run(&Target { name: "cmdline", corpus: vec![line.into_bytes()], run: run_line });
}

const RELEASE: &[u8] = b"Origin: Debian\nSuite: stable\nCodename: trixie\n\
    Date: Sat, 12 Sep 2026 07:55:41 UTC\nAcquire-By-Hash: yes\nSHA256:\n \
    9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 4 main/binary-amd64/Packages\n";

#[test]
fn control_files() {
    let corpus = vec![
        b"Package: a\nVersion: 1\nDepends: b (>= 2) | c,\n d\nDescription: x\n long\n .\n\nPackage: e\n"
            .to_vec(),
        RELEASE.to_vec(),
    ];
    let run_control = |input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        for stanza in deb822::stanzas(&text) {
            let _fields = stanza.fields().flatten().count();
        }
        let _release = release::Release::parse(&text);
    };
    run(&Target { name: "deb822", corpus, run: run_control });
}

#[test]
fn requests_to_pid_1() {
    let requests = [
        control::Request::Status,
        control::Request::Logs(control::Logs {
            service: Some("k3s".parse().expect("a name")),
            lines: 10,
            follow: true,
            from_seq: None,
        }),
        control::Request::Restart { service: "haproxy".parse().expect("a name") },
    ];
    let corpus = requests.iter().map(|request| request.to_line().expect("short")).collect();
    let run_request = |input: &[u8]| {
        // In pieces, as a client may send them: one that never ends must not grow.
        let mut inbox = control::Inbox::new();
        let room = inbox.capacity();
        let asked = input.chunks(7).filter(|piece| matches!(inbox.push(piece), Ok(Some(_))));
        assert!(asked.count() <= 1, "one connection asks one thing");
        assert_eq!(inbox.capacity(), room);
    };
    run(&Target { name: "requests", corpus, run: run_request });
}

#[test]
fn apt_sources() {
    let corpus = vec![
        b"deb [signed-by=/k.gpg arch=amd64] http://mirror.example/debian trixie main\n".to_vec(),
        b"Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\nComponents: main\n"
            .to_vec(),
    ];
    let run_sources = |input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        let _list = sources::addresses_in_list(&text);
        let _deb822 = sources::addresses_in_stanzas(&text);
    };
    run(&Target { name: "sources", corpus, run: run_sources });
}

/// An archive with a folder, a file and links, as packages have them.
fn tar_example() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut entry = |kind: tar::EntryType, path: &str, link: &str, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(data.len() as u64);
        if link.is_empty() {
            builder.append_data(&mut header, path, data).expect("appended");
        } else {
            builder.append_link(&mut header, path, link).expect("appended");
        }
    };
    entry(tar::EntryType::Directory, "./usr/", "", b"");
    entry(tar::EntryType::Regular, "./usr/file", "", b"content");
    entry(tar::EntryType::Symlink, "./usr/link", "file", b"");
    entry(tar::EntryType::Link, "./usr/hard", "./usr/file", b"");
    entry(tar::EntryType::Regular, &format!("./usr/{}", "long".repeat(40)), "", b"x");
    builder.into_inner().expect("finished")
}

#[test]
fn tar_archives() {
    let run_tar = |mut input: &[u8]| {
        let _either = tarball::read_tar(&mut input, &mut io::sink(), 1 << 20);
    };
    run(&Target { name: "tar", corpus: vec![tar_example()], run: run_tar });
}

#[test]
fn package_containers() {
    let member = |name: &str, data: &[u8]| {
        let mut bytes =
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, data.len())
                .into_bytes();
        bytes.extend_from_slice(data);
        if data.len() % 2 == 1 {
            bytes.push(b'\n');
        }
        bytes
    };
    let mut package = b"!<arch>\n".to_vec();
    package.extend(member("debian-binary", b"2.0\n"));
    package.extend(member("control.tar.xz", b"control"));
    package.extend(member("data.tar.xz", b"data"));
    let run_deb = |input: &[u8]| {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(input).expect("written");
        let _either = deb::members(&file);
    };
    run(&Target { name: "deb", corpus: vec![package], run: run_deb });
}

#[test]
fn kernel_images() {
    // The test itself is an executable of another format, which must be refused as calmly.
    let own = fs::read(std::env::current_exe().expect("a path")).expect("readable");
    let mut corpus = vec![own[..4096].to_vec(), b"MZ".to_vec()];
    let mut portable = vec![0; 1024];
    portable[..2].copy_from_slice(b"MZ");
    portable[0x3c] = 0x40;
    portable[0x40..0x44].copy_from_slice(b"PE\0\0");
    portable[0x44..0x46].copy_from_slice(&0x8664_u16.to_le_bytes());
    portable[0x46] = 1;
    portable[0x54] = 0xf0;
    portable[0x58..0x5a].copy_from_slice(&0x20b_u16.to_le_bytes());
    corpus.push(portable);
    let run_uki = |input: &[u8]| {
        let _names = uki::section_names(input);
        let _section = uki::read_section(input, ".cmdline");
    };
    run(&Target { name: "uki", corpus, run: run_uki });
}

/// What comes over the sockets of PID 1 and pgkeeper, and what a desk reads from a node.
#[test]
fn control_words() {
    let request = |input: &[u8]| {
        if let Err(error) = control::Inbox::new().push(input) {
            assert!(!error.to_string().is_empty());
        }
        let _ = control::Answer::parse(input);
    };
    let lines = [
        r#"{"version":1,"request":{"pg":{"maintenance":{"on":true}}}}"#,
        r#"{"version":1,"request":{"pg":{"restore":{"to":{"backup":{"label":"20261120-115500F"}},"accept_data_loss":true}}}}"#,
        r#"{"database":{"role":"primary","epoch":7,"gate_open":true,"notes":[]}}"#,
        r#"{"backups":{"target":"/state/backup","state":"idle","backups":[]}}"#,
    ];
    let corpus = lines.map(|line| format!("{line}\n").into_bytes()).to_vec();
    run(&Target { name: "control-words", corpus, run: request });
}

/// What pgBackRest tells of its backups.
#[test]
fn backup_info() {
    let read = |input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        let _ = pgkeeper::backup::info::Info::parse(&text, "plant3");
        let _ = pgkeeper::backup::Config::parse(&text);
    };
    let told = r#"[{"archive":[{"id":"17-1","max":"000000010000000000000005","min":"000000010000000000000001"}],"backup":[{"error":false,"info":{"delta":3,"repository":{"delta":4,"size":4},"size":31},"label":"20261120-115500F","timestamp":{"start":1795175700,"stop":1795175710}}],"db":[{"id":1}],"name":"plant3"}]"#;
    run(&Target { name: "backup-info", corpus: vec![told.as_bytes().to_vec()], run: read });
}
