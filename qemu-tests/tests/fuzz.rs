//! A short fuzzing run of every parser that meets bytes from outside. For a long one:
//! `FUZZ_ROUNDS=1000000 cargo test --release -p qemu-tests --test fuzz`.

use std::fs;
use std::path::Path;

use disk::boot::BootArguments;
use qemu_tests::fuzz::Target;

const ROUNDS: u64 = 3000;
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
