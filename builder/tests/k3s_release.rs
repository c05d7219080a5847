//! K3s's release files, from a server on this machine, from a folder, and from the cache.

mod release_server;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use builder::debian::{Digest, Network, Store};
use builder::k3s::{K3sError, K3sFiles, LockedArtifact, Release, obtain};
use builder::progress::Progress;
use builder::root::definition::Architecture;
use release_server::{Fault, ReleaseServer};

const VERSION: &str = "v1.37.1+k3s1";
const FOLDER: &str = "/k3s/v1.37.1%2Bk3s1";
const BINARY: &str = "k3s";
const IMAGES: &str = "k3s-airgap-images-amd64.tar.zst";
const LIST: &str = "sha256sum-amd64.txt";

/// Not K3s: some bytes that stand for it.
fn fake_binary() -> Vec<u8> {
    (0..75_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn fake_images() -> Vec<u8> {
    b"no images".repeat(1000)
}

fn list() -> String {
    let (binary, images) = (Digest::of(&fake_binary()), Digest::of(&fake_images()));
    format!("{images}  {IMAGES}\n{binary}  {BINARY}\n")
}

fn server() -> ReleaseServer {
    let server = ReleaseServer::start();
    server.put(&format!("{FOLDER}/{BINARY}"), &fake_binary());
    server.put(&format!("{FOLDER}/{IMAGES}"), &fake_images());
    server.put(&format!("{FOLDER}/{LIST}"), list().as_bytes());
    server
}

fn release_at(base: &str) -> Release {
    let base = format!("{base}/k3s/{{version}}");
    Release::new(VERSION, &base, Architecture::Amd64).expect("a release")
}

struct Desk {
    cache: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let cache = tempfile::tempdir().expect("a temporary folder");
        Self { cache }
    }

    fn store(&self, offline: bool) -> Store {
        let network = Network { offline, ..Network::default() };
        Store::open(self.cache.path(), network).expect("a cache")
    }

    fn online(&self, release: &Release) -> Result<K3sFiles, K3sError> {
        obtain(&self.store(false), release, None, None, &Progress::quiet())
    }

    fn offline(&self, release: &Release) -> Result<K3sFiles, K3sError> {
        obtain(&self.store(true), release, None, None, &Progress::quiet())
    }

    fn locked(&self, release: &Release, lock: &[LockedArtifact]) -> Result<K3sFiles, K3sError> {
        obtain(&self.store(false), release, None, Some(lock), &Progress::quiet())
    }

    fn given(&self, path: &Path, lock: Option<&[LockedArtifact]>) -> Result<K3sFiles, K3sError> {
        let release = release_at("http://unused.invalid");
        obtain(&self.store(true), &release, Some(path), lock, &Progress::quiet())
    }
}

fn assert_whole(files: &K3sFiles) {
    assert_eq!(fs::read(&files.binary).expect("the binary"), fake_binary());
    let images = files.images.as_ref().expect("images");
    assert_eq!(fs::read(images).expect("the images"), fake_images());
    assert_eq!(files.version, VERSION);
    let names: Vec<&str> = files.artifacts.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["v1.37.1+k3s1/k3s", "v1.37.1+k3s1/k3s-airgap-images-amd64.tar.zst"]);
    assert_eq!(files.artifacts[0].sha256, Digest::of(&fake_binary()));
    assert_eq!(files.artifacts[0].size, 300_000);
}

#[test]
fn a_release_is_downloaded_once() {
    let (server, desk) = (server(), Desk::new());
    let release = release_at(&server.url());
    assert_whole(&desk.online(&release).expect("downloaded"));
    assert_eq!(server.requests().len(), 3);
    assert_whole(&desk.online(&release).expect("from the cache"));
    assert_whole(&desk.offline(&release).expect("from the cache"));
    assert_eq!(server.requests().len(), 3, "nothing was asked for again");
}

#[test]
fn what_a_disk_damaged_in_the_cache_is_never_used() {
    let (server, desk) = (server(), Desk::new());
    let release = release_at(&server.url());
    let files = desk.online(&release).expect("downloaded");
    let damage = || {
        let mut bytes = fake_binary();
        bytes[150_000] ^= 1;
        fs::write(&files.binary, bytes).expect("damaged");
    };
    damage();
    let error = desk.offline(&release).expect_err("damaged").to_string();
    assert!(error.starts_with(&files.binary.display().to_string()), "{error}");
    assert!(error.contains("was damaged in the cache"), "{error}");
    assert!(error.contains("run once without --offline"), "{error}");
    assert_whole(&desk.online(&release).expect("fetched again"));
    damage();
    assert_whole(&desk.locked(&release, &files.artifacts).expect("fetched again"));
    assert_whole(&desk.offline(&release).expect("from the cache"));
}

#[test]
fn a_download_that_breaks_off_is_resumed() {
    let (server, desk) = (server(), Desk::new());
    server.fail(&format!("{FOLDER}/{BINARY}"), Fault::BreakOffAfter(100_000), 1);
    assert_whole(&desk.online(&release_at(&server.url())).expect("resumed"));
    let requests = server.requests();
    let ranges: Vec<&str> = requests.iter().filter_map(|one| one.range.as_deref()).collect();
    assert_eq!(ranges.len(), 1, "{requests:?}");
    let from = ranges[0].trim_start_matches("bytes=").trim_end_matches('-');
    let from: usize = from.parse().expect("a number");
    assert!((1..=100_000).contains(&from), "resumed at {from}");
}

#[test]
fn a_server_that_always_breaks_off_is_named_and_the_rest_is_kept() {
    let (server, desk) = (server(), Desk::new());
    server.fail(&format!("{FOLDER}/{BINARY}"), Fault::BreakOffAfter(0), 9);
    let error = desk.online(&release_at(&server.url())).expect_err("broken").to_string();
    assert!(error.contains("/k3s/v1.37.1%2Bk3s1/k3s can't be had"), "{error}");
    server.fail(&format!("{FOLDER}/{BINARY}"), Fault::BreakOffAfter(0), 0);
    assert_whole(&desk.online(&release_at(&server.url())).expect("downloaded"));
}

#[test]
fn another_file_than_the_list_says_is_refused_with_both_hashes() {
    let (server, desk) = (server(), Desk::new());
    server.put(&format!("{FOLDER}/{BINARY}"), b"tampered");
    let error = desk.online(&release_at(&server.url())).expect_err("tampered");
    assert!(matches!(error, K3sError::Mismatch { .. }), "{error}");
    let text = error.to_string();
    for part in [Digest::of(b"tampered"), Digest::of(&fake_binary())] {
        assert!(text.contains(&part.to_string()), "{text}");
    }
    assert!(text.contains("sha256sum-amd64.txt says"), "{text}");
    let blob = desk.store(true).blob_path(&Digest::of(&fake_binary()));
    assert!(!blob.exists(), "nothing was kept");
}

#[test]
fn a_release_that_does_not_exist_is_named() {
    let (server, desk) = (ReleaseServer::start(), Desk::new());
    let error = desk.online(&release_at(&server.url())).expect_err("absent");
    assert!(matches!(error, K3sError::NotFound { .. }), "{error}");
    assert!(error.to_string().contains("check that the release v1.37.1+k3s1 exists"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let (server, desk) = (server(), Desk::new());
    server.remove(&format!("{FOLDER}/{IMAGES}"));
    let error = desk.online(&release_at(&server.url())).expect_err("absent").to_string();
    assert!(error.contains(&format!("{FOLDER}/{IMAGES}: not found")), "{error}");
}

#[test]
fn a_login_page_is_no_list() {
    let (server, desk) = (server(), Desk::new());
    server.put(&format!("{FOLDER}/{LIST}"), b"<html>Please log in</html>\n");
    let release = release_at(&server.url());
    let error = desk.online(&release).expect_err("no list").to_string();
    assert!(error.contains("is no list of checksums: line 1"), "{error}");
    server.put(&format!("{FOLDER}/{LIST}"), list().as_bytes());
    assert_whole(&desk.online(&release).expect("it was not kept"));
}

#[test]
fn an_unreachable_host_is_named_with_what_to_bring() {
    // A port that was just given back: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let base = format!("http://{}", port.expect("a port"));
    let error = Desk::new().online(&release_at(&base)).expect_err("nobody").to_string();
    assert!(error.starts_with(&base), "{error}");
    let mend = format!(
        "download k3s, {IMAGES} and {LIST} from {base}{FOLDER}/ into one folder, and give that with \
         --k3s FOLDER"
    );
    assert!(error.ends_with(&mend), "{error}");
}

#[test]
fn offline_without_a_cache_says_what_is_missing() {
    let (server, desk) = (server(), Desk::new());
    let error = desk.offline(&release_at(&server.url())).expect_err("offline").to_string();
    assert!(error.starts_with("sha256sum-amd64.txt of K3s v1.37.1+k3s1 is not in"), "{error}");
    assert!(server.requests().is_empty());
}

#[test]
fn several_at_once_download_once() {
    let (server, desk) = (server(), Desk::new());
    let release = release_at(&server.url());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_whole(&desk.online(&release).expect("downloaded")));
        }
    });
    let path = format!("{FOLDER}/{BINARY}");
    let requests = server.requests();
    assert_eq!(requests.iter().filter(|one| one.path == path).count(), 1, "{requests:?}");
}

#[test]
fn a_lock_stands_for_the_list_and_refuses_what_changed() {
    let (server, desk) = (server(), Desk::new());
    let release = release_at(&server.url());
    let lock = desk.online(&release).expect("downloaded").artifacts;
    let other = Desk::new();
    server.remove(&format!("{FOLDER}/{LIST}"));
    assert_whole(&other.locked(&release, &lock).expect("downloaded"));

    server.put(&format!("{FOLDER}/{BINARY}"), &vec![7; 300_000]);
    let error = Desk::new().locked(&release, &lock).expect_err("changed").to_string();
    assert!(error.contains("the lock says"), "{error}");
}

#[test]
fn a_lock_of_another_version_is_refused() {
    let (server, desk) = (server(), Desk::new());
    let mut lock = desk.online(&release_at(&server.url())).expect("downloaded").artifacts;
    for artifact in &mut lock {
        artifact.name = artifact.name.replace("v1.37.1", "v1.36.3");
    }
    let error = desk.locked(&release_at(&server.url()), &lock).expect_err("other").to_string();
    assert_eq!(error, "the lock has no v1.37.1+k3s1/k3s: run `builder lock` to add it");
}

#[test]
fn a_lock_survives_being_written() {
    let artifact =
        LockedArtifact { name: "v1.37.1+k3s1/k3s".to_owned(), sha256: Digest::of(b"x"), size: 1 };
    let text = toml::to_string(&artifact).expect("TOML");
    assert_eq!(toml::from_str::<LockedArtifact>(&text).expect("read"), artifact);
    assert!(toml::from_str::<LockedArtifact>(&format!("{text}more = 1\n")).is_err());
}

/// A folder as somebody would bring it on a stick.
fn stick(with_images: bool, with_list: bool) -> (tempfile::TempDir, PathBuf) {
    let stick = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| {
        fs::write(stick.path().join(name), bytes).expect("written");
    };
    write(BINARY, &fake_binary());
    if with_images {
        write(IMAGES, &fake_images());
    }
    if with_list {
        write(LIST, list().as_bytes());
    }
    let binary = stick.path().join(BINARY);
    (stick, binary)
}

#[test]
fn a_given_folder_needs_no_network() {
    let (stick, _) = stick(true, true);
    assert_whole(&Desk::new().given(stick.path(), None).expect("given"));
}

#[test]
fn a_given_folder_may_lack_the_images_but_not_the_binary() {
    let (stick, binary) = stick(false, true);
    let files = Desk::new().given(stick.path(), None).expect("given");
    assert!(files.images.is_none());
    assert_eq!(files.artifacts.len(), 1);
    fs::remove_file(binary).expect("removed");
    let error = Desk::new().given(stick.path(), None).expect_err("incomplete").to_string();
    assert!(error.ends_with("has no k3s: put it there, from the release v1.37.1+k3s1"), "{error}");
}

#[test]
fn given_images_that_the_lock_has_must_be_there() {
    let (full, _) = stick(true, true);
    let lock = Desk::new().given(full.path(), None).expect("given").artifacts;
    let (part, _) = stick(false, true);
    let error = Desk::new().given(part.path(), Some(&lock)).expect_err("incomplete");
    assert!(matches!(error, K3sError::Incomplete { .. }), "{error}");
}

#[test]
fn a_given_binary_is_proven_by_the_list_beside_it_or_by_the_lock() {
    let (_stick, binary) = stick(false, true);
    let lock = Desk::new().given(&binary, None).expect("listed").artifacts;
    let (_stick, bare) = stick(false, false);
    Desk::new().given(&bare, Some(&lock)).expect("locked");
    let error = Desk::new().given(&bare, None).expect_err("unproven").to_string();
    assert!(error.contains("nothing says that"), "{error}");
    assert!(error.contains("`sha256sum k3s > sha256sum-amd64.txt`"), "{error}");
}

#[test]
fn a_given_binary_that_is_another_is_refused() {
    let (_stick, binary) = stick(false, true);
    let lock = Desk::new().given(&binary, None).expect("listed").artifacts;
    fs::write(&binary, b"tampered").expect("written");
    let error = Desk::new().given(&binary, None).expect_err("tampered");
    assert!(matches!(error, K3sError::Mismatch { .. }), "{error}");
    // Somebody who changes the list too still meets the lock.
    let list = format!("{}  k3s\n", Digest::of(b"tampered"));
    fs::write(binary.with_file_name(LIST), list).expect("written");
    let error = Desk::new().given(&binary, Some(&lock)).expect_err("tampered");
    assert!(matches!(error, K3sError::NotLocked { .. }), "{error}");
}

#[test]
fn a_given_path_that_is_not_there_is_named() {
    let missing = Path::new("/nowhere/k3s");
    let error = Desk::new().given(missing, None).expect_err("absent").to_string();
    assert!(error.starts_with("--k3s /nowhere/k3s: there is no such file"), "{error}");
}
