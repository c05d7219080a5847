//! The rules of the house, enforced by a test instead of by hope.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use builder::node;

/// Crates that must stay free of IO, clocks and processes.
const PURE: [&str; 8] = [
    "rootfs/admission",
    "rootfs/control",
    "rootfs/disk",
    "rootfs/failover",
    "rootfs/logs",
    "rootfs/seed",
    "rootfs/supervise",
    "rootfs/vrrp",
];
/// Folders of other crates for which the same holds: decisions beside the shell that carries them out.
const PURE_FOLDERS: [&str; 2] = ["qemu-tests/ledger/src/check/", "rootfs/clockd/src/ntp/"];
/// What a pure crate's own code never names. Tests may read their test data.
const IMPURE: [&str; 10] = [
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "std::thread",
    "std::process",
    "std::env::",
    "Instant::now",
    "SystemTime::now",
];
/// What no dependency of a pure crate may be: runtimes, system calls, sockets.
const IMPURE_CRATES: [&str; 6] = ["tokio", "mio", "rustix", "nix", "socket2", "ureq"];
const FILE_LINES_MAX: usize = 800;
const LINE_COLUMNS_MAX: usize = 110;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

/// Every file that belongs to the project, by its path from the root.
fn project_files() -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    let mut queue = vec![root()];
    while let Some(folder) = queue.pop() {
        for entry in fs::read_dir(&folder).expect("readable").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let generated = ["target", ".git", "out", "secrets", "Cargo.lock"];
            if generated.contains(&name.as_str()) || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                queue.push(path);
                continue;
            }
            let below = path.strip_prefix(root()).expect("below the root");
            files.push((below.to_string_lossy().into_owned(), path));
        }
    }
    files.sort();
    files
}

fn text(path: &Path) -> Option<String> {
    String::from_utf8(fs::read(path).expect("readable")).ok()
}

/// The code of a source file without the tests at its end.
fn code_of(source: &str) -> &str {
    source.split("#[cfg(test)]").next().unwrap_or(source)
}

fn rust_files() -> impl Iterator<Item = (String, String)> {
    project_files()
        .into_iter()
        .filter(|(name, _)| name.ends_with(".rs"))
        .filter_map(|(name, path)| Some((name, text(&path)?)))
}

fn fail(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn pure_crates_name_nothing_impure() {
    let mut found = Vec::new();
    for (name, source) in rust_files() {
        let pure = PURE.iter().any(|folder| name.starts_with(&format!("{folder}/src/")))
            || PURE_FOLDERS.iter().any(|folder| name.starts_with(folder));
        if pure && !name.ends_with("tests.rs") && !name.contains("/tests/") {
            let code = code_of(&source);
            let named = IMPURE.iter().filter(|word| code.contains(**word));
            found.extend(named.map(|word| format!("{name}: {word}")));
        }
    }
    fail("a pure crate does no IO and reads no clock", &found);
}

#[test]
fn pure_crates_depend_on_nothing_impure() {
    for folder in PURE {
        let name = folder.rsplit('/').next().expect("a name");
        let output = node::cargo()
            .args(["tree", "--package", name, "--edges", "normal", "--prefix", "none"])
            .args(["--format", "{lib}", "--offline", "--locked"])
            .current_dir(root())
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8_lossy(&output.stdout).into_owned();
        let crates: BTreeSet<&str> = tree.lines().map(str::trim).collect();
        assert!(crates.contains(name), "cargo lists the crate itself: {tree}");
        let impure: Vec<String> = IMPURE_CRATES
            .iter()
            .filter(|bad| crates.contains(**bad))
            .map(|bad| format!("{name} -> {bad}"))
            .collect();
        fail("a pure crate depends on nothing that does IO", &impure);
    }
}

#[test]
fn only_sys_says_unsafe() {
    let says = |code: &str| {
        ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
            .iter()
            .any(|word| code.contains(word))
    };
    let found: Vec<String> = rust_files()
        .filter(|(name, _)| !name.starts_with("rootfs/sys/") && name != "qemu-tests/tests/house.rs")
        .filter(|(_, source)| says(source))
        .map(|(name, _)| name)
        .collect();
    fail("only rootfs/sys has unsafe code", &found);
}

#[test]
fn files_and_lines_stay_readable() {
    let mut found = Vec::new();
    for (name, source) in rust_files() {
        let lines = source.lines().count();
        if lines > FILE_LINES_MAX {
            found.push(format!("{name}: {lines} lines; split it by what it is about"));
        }
        // The expected message of a test is one line, however long the message is.
        let quotes_messages = name.contains("/tests/");
        for (number, line) in source.lines().enumerate() {
            let long = line.chars().count() > LINE_COLUMNS_MAX && !line.contains("://");
            if long && !quotes_messages {
                found.push(format!("{name}:{}: a long line", number + 1));
            }
        }
    }
    fail("files of at most 800 lines, lines that fit a screen", &found);
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let found: Vec<String> = rust_files()
        .filter(|(_, source)| !source.starts_with("//!"))
        .map(|(name, _)| name)
        .collect();
    fail("each file opens with what it is for", &found);
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!("), "#[ignore"];
    let mut found = Vec::new();
    for (name, source) in rust_files().filter(|(name, _)| !name.ends_with("tests/house.rs")) {
        let named = marks.iter().filter(|mark| source.contains(**mark));
        found.extend(named.map(|mark| format!("{name}: {mark}")));
    }
    fail("no unfinished work and no ignored tests", &found);
}

#[test]
fn no_registry_is_named() {
    let registries = ["debian.org", "crates.io", "pypi.org", "npmjs.", "docker.io/"];
    let mut found = Vec::new();
    for (name, path) in project_files() {
        if name.ends_with("tests/house.rs") {
            continue;
        }
        let Some(source) = text(&path) else { continue };
        for (number, line) in source.lines().enumerate() {
            let address = line.contains("http://") || line.contains("https://");
            let named = registries.iter().any(|registry| line.contains(registry));
            if address && named {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    fail("a mirror comes from a flag, the image definition or the host", &found);
}

#[test]
fn overlays_are_of_one_shape() {
    let mut found = Vec::new();
    let folders = ["overlays", "qemu-tests/overlays", "qemu-tests/peers/overlays"];
    let overlays =
        folders.iter().flat_map(|folder| fs::read_dir(root().join(folder)).expect("overlays"));
    for entry in overlays.flatten() {
        let name = entry.path().display().to_string();
        for wanted in ["overlay.toml", "README.md"] {
            if !entry.path().join(wanted).is_file() {
                found.push(format!("{name} has no {wanted}"));
            }
        }
        for part in fs::read_dir(entry.path()).expect("readable").flatten() {
            let part = part.file_name().to_string_lossy().into_owned();
            if !["overlay.toml", "README.md", "files", "templates"].contains(&part.as_str()) {
                found.push(format!("{name}/{part} does not belong there"));
            }
        }
    }
    fail("an overlay has overlay.toml, README.md, files/, templates/ and nothing else", &found);
}

#[test]
fn templates_are_in_overlays_and_rust_is_in_crates() {
    let found: Vec<String> = project_files()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| {
            // Peers that are measured beside us have overlays, too.
            let in_overlays = name.starts_with("overlays/") || name.contains("/overlays/");
            let template = name.ends_with(".hbs") && !name.contains("/testdata/");
            (template && !in_overlays) || (name.ends_with(".rs") && in_overlays)
        })
        .collect();
    fail("an overlay holds no Rust; a crate holds no templates", &found);
}
