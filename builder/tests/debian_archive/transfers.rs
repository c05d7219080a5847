//! Downloads: resumed, retried, shared, through a proxy, and never wrong under a final name.

use std::path::Path;
use std::process::Command;

use builder::debian::download::Wanted;
use builder::debian::proxy::Proxies;
use builder::debian::store::StoreError;
use builder::debian::{Archive, Network, Package, Store};
use builder::progress::Progress;
use builder::root::tree::NodeKind;

use crate::fixture::{Fixture, offline_store, request_at, store};
use crate::server::{Fault, Server};

const LIB: &str = "pool/lib_2.0_amd64.deb";

fn lib(store: &Store, fixture: &Fixture) -> Package {
    let archive = Archive::open(store, &fixture.request(), &Progress::quiet()).expect("opened");
    archive.package("lib").expect("read").expect("there")
}

fn fetch(store: &Store, package: &Package) -> Result<(), StoreError> {
    store.fetch([package], &Progress::quiet())
}

/// Names of all files in the cache's blobs.
fn blobs(cache: &Path) -> Vec<String> {
    let folders = std::fs::read_dir(cache.join("blobs/sha256")).expect("read");
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.expect("read").path()));
    files
        .flatten()
        .map(|file| file.expect("read").file_name().into_string().expect("text"))
        .collect()
}

#[test]
fn packages_come_by_hash_and_are_fetched_once() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let server = Server::start(fixture.folder.path());
    let store = store(cache.path(), &server.url());
    let package = lib(&store, &fixture);
    assert!(server.take_log().iter().any(|line| line.contains("/by-hash/SHA256/")));
    fetch(&store, &package).expect("fetched");
    fetch(&store, &package).expect("there");
    assert_eq!(server.take_log(), [format!("/{LIB} 0")]);
    let files = store.unpack(&package, &Progress::quiet()).expect("unpacked");
    assert_eq!(files.entries[0].path.as_str(), "/usr/lib/lib.so");
    assert!(server.take_log().is_empty());
}

#[test]
fn an_unchanged_release_is_asked_for_but_not_sent_again() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let server = Server::start(fixture.folder.path());
    let store = store(cache.path(), &server.url());
    lib(&store, &fixture);
    server.take_log();
    lib(&store, &fixture);
    // The server answers 304 with an empty body, so the text must have come from the cache.
    assert_eq!(server.take_log(), ["/dists/mini/InRelease 0"]);
}

#[test]
fn a_cut_connection_is_resumed_where_it_was_cut() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let server = Server::start(fixture.folder.path());
    let store = store(cache.path(), &server.url());
    let package = lib(&store, &fixture);
    server.take_log();
    server.misbehave(Fault::Cut { path: LIB, bytes: 300_000, times: 2 });
    fetch(&store, &package).expect("fetched");
    let expected = [0, 300_000, 600_000].map(|start| format!("/{LIB} {start}"));
    assert_eq!(server.take_log(), expected);
}

#[test]
fn what_an_earlier_run_left_is_continued() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let server = Server::start(fixture.folder.path());
    let store = store(cache.path(), &server.url());
    let package = lib(&store, &fixture);
    server.misbehave(Fault::Cut { path: LIB, bytes: 1000, times: 99 });
    let error = fetch(&store, &package).expect_err("always cut");
    assert!(error.to_string().contains(LIB), "{error}");
    assert!(!blobs(cache.path()).contains(&package.sha256.to_string()));
    let honest = Server::start(fixture.folder.path());
    let again = self::store(cache.path(), &honest.url());
    fetch(&again, &Package { mirror: None, ..package }).expect("fetched");
    assert_eq!(honest.take_log(), [format!("/{LIB} 4000")]);
}

#[test]
fn a_partial_file_of_something_else_is_begun_anew() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let store = store(cache.path(), &fixture.mirror());
    let package = lib(&store, &fixture);
    for garbage in [vec![b'x'; 1000], vec![b'x'; 3_000_000]] {
        let blob = store.blob_path(&package.sha256);
        std::fs::create_dir_all(blob.parent().expect("a parent")).expect("made");
        let _ = std::fs::remove_file(&blob);
        std::fs::write(blob.with_extension("partial"), garbage).expect("written");
        fetch(&store, &package).expect("fetched");
    }
}

#[test]
fn a_file_of_unknown_size_is_told_by_its_hash_alone() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let server = Server::start(fixture.folder.path());
    let store = store(cache.path(), &server.url());
    let good = std::fs::read(fixture.path(LIB)).expect("read");
    let digest = builder::debian::Digest::of(&good);
    let urls = vec![format!("{}/absent", server.url()), format!("{}/{LIB}", server.url())];
    let wanted = Wanted { label: "k3s", digest, size: None, urls };
    let blob = store.blob_path(&digest);
    // Complete but not renamed; longer than what the server has; and a good beginning.
    for left in [good.clone(), vec![0; good.len() + 1], good[..5000].to_vec(), Vec::new()] {
        let _ = std::fs::remove_file(&blob);
        std::fs::create_dir_all(blob.parent().expect("a parent")).expect("made");
        std::fs::write(blob.with_extension("partial"), left).expect("written");
        store.obtain(&wanted, &Progress::quiet()).expect("obtained");
        assert_eq!(std::fs::read(&blob).expect("read"), good);
    }
    let sums = store.fetch_small(&format!("{}/keyring.asc", server.url()), 5000).expect("fetched");
    assert!(sums.starts_with(b"-----BEGIN"));
    let error = store.fetch_small(&format!("{}/{LIB}", server.url()), 5000).expect_err("long");
    assert!(error.to_string().contains("5000 bytes"), "{error}");
}

#[test]
fn a_busy_server_is_asked_again() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let server = Server::start(fixture.folder.path());
    server.misbehave(Fault::Status { path: "InRelease", status: 503, times: 1 });
    server.misbehave(Fault::Status { path: LIB, status: 503, times: 2 });
    let store = store(cache.path(), &server.url());
    let package = lib(&store, &fixture);
    fetch(&store, &package).expect("fetched");
    server.misbehave(Fault::Status { path: "other", status: 403, times: 1 });
    let other = Package {
        filename: "other".to_owned(),
        sha256: builder::debian::Digest::of(b""),
        ..package
    };
    let error = fetch(&store, &other).expect_err("forbidden").to_string();
    assert!(error.contains("403"), "{error}");
}

#[test]
fn a_vanished_package_is_named_with_the_mend() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let store = store(cache.path(), &fixture.mirror());
    let package = lib(&store, &fixture);
    std::fs::remove_file(fixture.path(LIB)).expect("removed");
    let error = fetch(&store, &package).expect_err("gone").to_string();
    for part in ["lib 2.0", LIB, "builder lock"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_tampered_package_never_gets_its_final_name() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let store = store(cache.path(), &fixture.mirror());
    let package = lib(&store, &fixture);
    let good = std::fs::read(fixture.path(LIB)).expect("read");
    let mut changed = good.clone();
    changed[5000] ^= 1;
    for (bad, word) in [
        (changed, "other content"),
        ([good.as_slice(), b"x"].concat(), "longer than"),
        (good[..good.len() - 1].to_vec(), "bytes, again and again"),
    ] {
        fixture.write(LIB, &bad);
        let error = fetch(&store, &package).expect_err("it was taken").to_string();
        assert!(error.contains(word) && error.contains("lib 2.0"), "{error}");
        assert!(!blobs(cache.path()).contains(&package.sha256.to_string()));
    }
    fixture.write(LIB, &good);
    fetch(&store, &package).expect("the cache is sound");
}

#[test]
fn a_file_that_rotted_in_the_cache_is_fetched_again() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let store = store(cache.path(), &fixture.mirror());
    let package = lib(&store, &fixture);
    fetch(&store, &package).expect("fetched");
    let blob = store.blob_path(&package.sha256);
    let mut rotten = std::fs::read(&blob).expect("read");
    rotten[5000] ^= 1;
    std::fs::write(&blob, &rotten).expect("written");
    store.unpack(&package, &Progress::quiet()).expect("fetched anew and unpacked");
    std::fs::write(&blob, &rotten[..10]).expect("written");
    let _ = std::fs::remove_dir_all(cache.path().join("unpacked"));
    store.unpack(&package, &Progress::quiet()).expect("fetched anew and unpacked");
}

#[test]
fn unpacked_files_that_were_damaged_are_unpacked_again() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let store = store(cache.path(), &fixture.mirror());
    let package = lib(&store, &fixture);
    let length = |store: &Store| {
        let files = store.unpack(&package, &Progress::quiet()).expect("unpacked");
        let NodeKind::File(content) = &files.entries[0].kind else { panic!("no file") };
        content.to_vec().expect("readable to its end").len()
    };
    assert_eq!(length(&store), 1_000_000);
    let unpacked =
        |extension| cache.path().join(format!("unpacked/{}.{extension}", package.sha256));
    for (extension, content) in [("tar", "short"), ("index", "{"), ("index", r#"{"format":0}"#)] {
        std::fs::write(unpacked(extension), content).expect("written");
        assert_eq!(length(&store), 1_000_000, "{extension} {content}");
    }
}

#[test]
fn offline_uses_the_cache_only_and_says_what_is_missing() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let offline = offline_store(cache.path(), &fixture.mirror());
    let opened = Archive::open(&offline, &fixture.request(), &Progress::quiet());
    let error = opened.map(|archive| archive.len()).expect_err("nothing there").to_string();
    assert!(error.contains("suite mini") && error.contains("--offline"), "{error}");
    let package = lib(&store(cache.path(), &fixture.mirror()), &fixture);
    let again = lib(&offline, &fixture);
    assert_eq!(again.sha256, package.sha256);
    let mut later = fixture.request();
    later.now += 365 * 86_400;
    Archive::open(&offline, &later, &Progress::quiet()).expect("the cache doesn't go stale");
    let error = fetch(&offline, &package).expect_err("not there").to_string();
    assert!(error.contains("lib 2.0") && error.contains("--offline"), "{error}");
}

#[test]
fn plain_requests_go_to_the_proxy_whole() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let proxy = Server::start(fixture.folder.path());
    let address = format!("http://user:secret@{}", proxy.address());
    let proxies = Proxies::read(|name| (name == "http_proxy").then(|| address.clone()));
    let proxies = proxies.expect("a proxy");
    let mirrors = vec!["http://mirror.invalid".parse().expect("a mirror")];
    let network = Network { offline: false, mirrors, proxies };
    let store = Store::open(cache.path(), network).expect("a cache");
    let package = lib(&store, &fixture);
    fetch(&store, &package).expect("fetched");
    let log = proxy.take_log();
    assert!(log.contains(&format!("http://mirror.invalid/{LIB} 0")), "{log:?}");
    assert!(log.contains(&"login Basic dXNlcjpzZWNyZXQ=".to_owned()), "{log:?}");
}

#[test]
fn excepted_hosts_are_asked_without_the_proxy() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let server = Server::start(fixture.folder.path());
    let proxies = Proxies::read(|name| match name {
        // Nothing listens there, so asking the proxy would fail.
        "http_proxy" => Some("http://127.0.0.2:9".to_owned()),
        "no_proxy" => Some("127.0.0.1".to_owned()),
        _ => None,
    });
    let proxies = proxies.expect("a proxy");
    let mirrors = vec![server.url().parse().expect("a mirror")];
    let network = Network { offline: false, mirrors, proxies };
    lib(&Store::open(cache.path(), network).expect("a cache"), &fixture);
    assert!(server.take_log().contains(&"/dists/mini/InRelease 0".to_owned()));
}

#[test]
fn builders_that_share_a_cache_download_once() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let server = Server::start(fixture.folder.path());
    let package = lib(&store(cache.path(), &server.url()), &fixture);
    server.take_log();
    // Locks belong to open files, so threads with their own stores are as good as processes.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let store = store(cache.path(), &server.url());
                fetch(&store, &package).expect("fetched");
                store.unpack(&package, &Progress::quiet()).expect("unpacked");
            });
        }
    });
    assert_eq!(server.take_log(), [format!("/{LIB} 0")]);
    assert!(blobs(cache.path()).iter().all(|name| !name.ends_with("partial")));
}

#[test]
fn the_first_mirror_that_has_a_suite_wins() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let empty = tempfile::tempdir().expect("a folder");
    let dead = "http://127.0.0.1:9".to_owned();
    let nothing = format!("file:{}", empty.path().display());
    let parse = |mirrors: &[String]| mirrors.iter().map(|m| m.parse().expect("one")).collect();
    let open = |mirrors: &[String]| {
        let network = Network { mirrors: parse(mirrors), ..Network::default() };
        let store = Store::open(cache.path(), network).expect("a cache");
        Archive::open(&store, &fixture.request(), &Progress::quiet())
    };
    let archive = open(&[nothing.clone(), fixture.mirror()]).expect("opened");
    assert_eq!(archive.suites()[0].mirror.as_str(), fixture.mirror());
    let error = open(std::slice::from_ref(&nothing)).map(drop).expect_err("nowhere").to_string();
    assert!(error.contains("mini") && error.contains(&nothing), "{error}");
    let error = open(&[dead.clone(), nothing]).map(drop).expect_err("nowhere").to_string();
    assert!(error.contains(&dead), "{error}");
}

const CHILD: &str = "DEBIAN_TEST_FULL_DISK";

/// A limit on the size of files does to a download what a full disk does, and needs no root. The
/// shell sets it for this very test, run again as a child.
#[test]
fn a_full_disk_is_said_clearly_and_leaves_nothing_wrong() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let folder = Path::new(&folder);
        let cache = std::env::var_os("DEBIAN_TEST_CACHE").expect("set together");
        let store = store(Path::new(&cache), &format!("file:{}", folder.display()));
        let archive = Archive::open(&store, &request_at(folder), &Progress::quiet());
        let package = archive.expect("opened").package("lib").expect("read").expect("there");
        let error = fetch(&store, &package).expect_err("no room").to_string();
        assert!(error.contains("no room") && error.contains("--cache"), "{error}");
        return;
    }
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let program = std::env::current_exe().expect("a path");
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$0\" \"$@\""])
        .arg(program)
        .args(["--exact", "transfers::a_full_disk_is_said_clearly_and_leaves_nothing_wrong"])
        .env(CHILD, fixture.folder.path())
        .env("DEBIAN_TEST_CACHE", cache.path())
        .output();
    let output = status.expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let left = blobs(cache.path());
    assert!(left.iter().all(|name| !name.ends_with("partial")), "{left:?}");
    let store = store(cache.path(), &fixture.mirror());
    fetch(&store, &lib(&store, &fixture)).expect("with room it goes on");
}
