//! `builder lock` from the command line, against an archive in a folder.

mod shared {
    pub(crate) mod archive_pieces;
    pub(crate) mod command;
    pub(crate) mod definition;
}

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use builder::build::source::{Reach, Source};
use builder::build::{BuildError, obtain_k3s};
use builder::debian::digest::Digest;
use builder::k3s::K3sFiles;
use builder::progress::Progress;
use builder::root::definition::Definition;
use builder::root::overlay;
use serde_json::Value;
use tempfile::TempDir;

use shared::archive_pieces::{clear_sign, key, keyring, xz};
use shared::command::{command, finish};
use shared::definition::definition_text;

/// Without an end of validity, so that the test does not depend on today.
const RELEASE: &str = "Origin: Mini\nSuite: stable\nCodename: mini\n\
    Date: Tue, 18 Nov 2025 02:10:24 UTC\nAcquire-By-Hash: no\nSHA256:\n";

const OVERLAY: &str = r#"
summary = "a tool"
[[packages]]
name = "tool"
executables = ["/usr/bin/tool"]
"#;

/// K3s's files in the test's own release.
const BINARY: &str = "k3s";
const IMAGES: &str = "k3s-airgap-images-amd64.tar.zst";
const LIST: &str = "sha256sum-amd64.txt";

/// A project, an archive and a cache.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().expect("a folder") };
        let definition = definition_text(&["tool"], [2, 1, 1]);
        let definition = definition.replace("tiny", "mini").replace("trixie", "mini");
        desk.write("project/images/mini.toml", definition.as_bytes());
        desk.write("project/overlays/tool/overlay.toml", OVERLAY.as_bytes());
        desk.write("project/overlays/tool/README.md", b"A tool.\n");
        desk.write("keyring.asc", keyring().as_bytes());
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, bytes).expect("written");
    }

    /// Publishes these versions; a lock needs the packages' hashes, not their files.
    fn publish(&self, packages: &[(&str, &str, &str)]) {
        let stanza = |(name, version, fields): &(&str, &str, &str)| {
            let digest = Digest::of(format!("{name} {version}").as_bytes());
            format!(
                "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{fields}\
                 Filename: pool/{name}_{version}.deb\nSize: 100\nSHA256: {digest}\n\
                 Description: {name}\n\n"
            )
        };
        let stanzas: Vec<String> = packages.iter().map(stanza).collect();
        let text = stanzas.concat();
        let packed = xz(text.as_bytes());
        let mut release = RELEASE.to_owned();
        for (name, bytes) in [("Packages", text.as_bytes()), ("Packages.xz", &packed)] {
            let path = format!("main/binary-amd64/{name}");
            let line = format!(" {} {} {path}\n", Digest::of(bytes), bytes.len());
            release.push_str(&line);
            self.write(&format!("archive/dists/mini/{path}"), bytes);
        }
        let signed = clear_sign(&release, key());
        self.write("archive/dists/mini/InRelease", signed.as_bytes());
    }

    /// Publishes this release of K3s and lets the overlay want it.
    fn publish_k3s(&self, version: &str, binary: &[u8]) {
        let images = b"no images".as_slice();
        let mut list = String::new();
        for (name, bytes) in [(BINARY, binary), (IMAGES, images)] {
            self.write(&k3s_path(version, name), bytes);
            list.push_str(&format!("{}  {name}\n", Digest::of(bytes)));
        }
        self.write(&k3s_path(version, LIST), list.as_bytes());
        let releases = self.path("k3s");
        let pin = format!(
            "[k3s]\nversion = \"{version}\"\nbase_url = \"file://{}/{{version}}\"\n",
            releases.display()
        );
        let overlay = format!("{OVERLAY}{pin}");
        self.write("project/overlays/tool/overlay.toml", overlay.as_bytes());
    }

    /// What a locked build takes of K3s, into a cache of its own.
    fn locked_k3s(&self, cache: &str) -> Result<Option<K3sFiles>, BuildError> {
        let definition = Definition::load(&self.path("project/images/mini.toml")).expect("good");
        let folders = [self.path("project/overlays")];
        let overlays = overlay::load_all(&folders, &definition.overlays).expect("good");
        let mirrors = vec![format!("file:{}", self.path("archive").display())];
        let reach = Reach { mirrors, locked: true, ..Reach::default() };
        let progress = Progress::quiet();
        let source = Source::open(&definition, &reach, &self.path(cache), &progress);
        obtain_k3s(None, &definition, &overlays, &source.expect("a lock"), &progress)
    }

    fn lock(&self, more: &[&str]) -> (i32, String) {
        let ran = finish(&mut self.command(more));
        (ran.code, ran.out + &ran.err)
    }

    fn command(&self, more: &[&str]) -> Command {
        let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let mut command = command();
        command
            .arg("--quiet")
            .arg(flag("project", &self.path("project")))
            .arg(flag("cache", &self.path("cache")))
            .args(["lock", "--image", "mini"])
            .arg(flag("keyring", &self.path("keyring.asc")))
            .arg(format!("--mirror=file:{}", self.path("archive").display()))
            .args(more);
        command
    }
}

/// Where a file of a release lies.
fn k3s_path(version: &str, name: &str) -> String {
    format!("k3s/{version}/{name}")
}

const FIRST: [(&str, &str, &str); 4] = [
    ("linux-image-mini", "6.12", ""),
    ("systemd-boot-efi", "257", ""),
    ("tool", "1.0", "Depends: library\n"),
    ("library", "1.0", ""),
];

#[test]
fn a_lock_is_written_checked_and_followed() {
    let desk = Desk::new();
    desk.publish(&FIRST);
    let (code, text) = desk.lock(&["--check"]);
    assert_eq!(code, 1, "there is none yet: {text}");
    assert!(text.contains("mini.lock"), "{text}");

    let (code, text) = desk.lock(&[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("4 packages locked in ") && text.contains("mini.lock"), "{text}");
    let path = desk.path("project/images/mini.lock");
    let lock = fs::read_to_string(&path).expect("written beside the definition");
    assert!(lock.contains(&Digest::of(b"library 1.0").to_string()), "{lock}");
    assert_eq!(desk.lock(&["--check"]).0, 0);

    let mut newer = FIRST;
    newer[2].2 = "Depends: another\n";
    newer[3] = ("another", "3", "");
    newer[0].1 = "6.13";
    desk.publish(&newer);
    let (code, text) = desk.lock(&["--check"]);
    assert_eq!(code, 3, "{text}");
    for line in ["another: none -> 3", "library: 1.0 -> none", "linux-image-mini: 6.12 -> 6.13"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert_eq!(fs::read_to_string(&path).expect("there"), lock, "--check writes nothing");
    let (code, json) = desk.lock(&["--check", "--json"]);
    let json: Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!((code, json["current"].as_bool()), (3, Some(false)));
    assert_eq!(json["changes"].as_array().map(Vec::len), Some(3));

    assert_eq!(desk.lock(&[]).0, 0);
    assert_eq!(desk.lock(&["--check"]).0, 0);
}

#[test]
fn a_lock_that_can_not_be_read_is_written_anew() {
    let desk = Desk::new();
    desk.publish(&FIRST);
    desk.write("project/images/mini.lock", b"not a lock");
    let (code, text) = desk.lock(&["--check"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("builder lock"), "the mend is named: {text}");
    assert_eq!(desk.lock(&[]).0, 0);
    assert_eq!(desk.lock(&["--check"]).0, 0);
}

#[test]
fn a_proxy_that_is_none_matters_only_to_who_asks_somebody_and_its_password_is_not_shown() {
    let desk = Desk::new();
    desk.publish(&FIRST);
    assert_eq!(desk.lock(&[]).0, 0);
    let with_proxy = |more: &[&str]| {
        let mut command = desk.command(more);
        finish(command.env("http_proxy", "socks5://me:secret@proxy.test:1080"))
    };
    let refused = with_proxy(&["--check"]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(refused.err.contains("http_proxy=\"socks5://...@proxy.test"), "{}", refused.err);
    assert!(!refused.err.contains("secret"), "{}", refused.err);
    let offline = with_proxy(&["--check", "--offline"]);
    assert_eq!(offline.code, 0, "{}", offline.err);
}

#[test]
fn k3s_is_locked_and_a_locked_build_takes_exactly_that() {
    let desk = Desk::new();
    desk.publish(&FIRST);
    desk.publish_k3s("v1.37.1+k3s1", b"good K3s");
    let (code, text) = desk.lock(&[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("4 packages and K3s locked in "), "{text}");
    assert_eq!(desk.lock(&["--check"]).0, 0);

    // With a lock nobody asks for the list.
    let list = desk.path(&k3s_path("v1.37.1+k3s1", LIST));
    fs::remove_file(&list).expect("removed");
    let files = desk.locked_k3s("one").expect("had").expect("an overlay wants it");
    assert_eq!(fs::read(&files.binary).expect("read"), b"good K3s");
    assert_eq!(files.artifacts.len(), 2);
    desk.write(&k3s_path("v1.37.1+k3s1", BINARY), b"evil K3s");
    let error = desk.locked_k3s("two").expect_err("another file").to_string();
    assert!(error.contains("the lock says"), "{error}");

    desk.publish_k3s("v1.37.2+k3s1", b"newer K3s");
    let (code, text) = desk.lock(&["--check"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("k3s: v1.37.1+k3s1 -> v1.37.2+k3s1"), "{text}");
    let error = desk.locked_k3s("one").expect_err("the lock has another").to_string();
    assert!(error.contains("run `builder lock`"), "{error}");
}

#[test]
fn where_k3s_can_not_be_had_its_files_stay_locked_or_are_given() {
    let desk = Desk::new();
    desk.publish(&FIRST);
    desk.publish_k3s("v1.37.1+k3s1", b"good K3s");
    assert_eq!(desk.lock(&[]).0, 0);
    let path = desk.path("project/images/mini.lock");
    let lock = fs::read_to_string(&path).expect("written");
    let forget = || fs::remove_dir_all(desk.path("cache/k3s")).expect("removed");
    forget();
    let (code, text) = desk.lock(&["--offline"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("warning: K3s can't be had"), "{text}");
    assert_eq!(fs::read_to_string(&path).expect("there"), lock);

    desk.publish_k3s("v1.37.2+k3s1", b"newer K3s");
    let (code, text) = desk.lock(&["--offline"]);
    assert_eq!(code, 1, "of that release nothing was locked: {text}");
    assert!(text.contains("--k3s PATH"), "the mend is named: {text}");
    assert_eq!(fs::read_to_string(&path).expect("there"), lock);
    let folder = desk.path("k3s/v1.37.2+k3s1");
    let given = folder.to_str().expect("text");
    let (code, text) = desk.lock(&["--offline", "--k3s", given]);
    assert_eq!(code, 0, "{text}");
    assert!(fs::read_to_string(&path).expect("there").contains("v1.37.2+k3s1/k3s"));
}
