//! The real archive, as this host's apt sources name it. Skipped, with the reason, where there is
//! none: nothing here may fail because a machine is offline.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use builder::debian::archive::ArchiveError;
use builder::debian::mirror::candidates;
use builder::debian::proxy::Proxies;
use builder::debian::store::StoreError;
use builder::debian::{Archive, ArchiveRequest, Network, Store};
use builder::progress::Progress;
use builder::root::tree::NodeKind;

#[test]
fn trixie_is_verified_resolved_fetched_and_unpacked() {
    let mirrors = match candidates(&[], &[], Path::new("/")) {
        Ok(mirrors) => mirrors,
        Err(error) => return println!("skipped: {error}"),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let root = std::env::var_os("DEBIAN_TEST_CACHE").map_or(folder.path().to_owned(), Into::into);
    let proxies = Proxies::from_environment().expect("sound proxies");
    let network = Network { offline: false, mirrors, proxies };
    let store = Store::open(&root, network.clone()).expect("a cache");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let request = ArchiveRequest {
        architecture: "amd64".to_owned(),
        suites: ["trixie", "trixie-updates", "trixie-security"].map(str::to_owned).to_vec(),
        components: vec!["main".to_owned()],
        keyring: None,
        now,
    };
    let progress = Progress::quiet();
    let begun = Instant::now();
    let archive = match Archive::open(&store, &request, &progress) {
        Ok(archive) => archive,
        Err(
            error @ (ArchiveError::Store(StoreError::Http(_)) | ArchiveError::SuiteNotFound { .. }),
        ) => {
            return println!("skipped: {error}");
        }
        Err(error) => panic!("{error}"),
    };
    let opened = begun.elapsed();
    assert!(archive.len() > 60_000, "only {} packages", archive.len());
    let begun = Instant::now();
    let resolution = archive.resolve(&["postgresql-17"]).expect("resolved");
    let resolved = begun.elapsed();
    assert!(resolution.get("libc6").is_some());
    // A compiler of a hundred megabytes would only make the measurement longer.
    let packages = || resolution.packages().filter(|package| package.name != "libllvm19");
    let libraries = resolution.dependencies_of("postgresql-17");
    assert!(libraries.iter().any(|package| package.name == "libssl3t64"));
    let begun = Instant::now();
    store.fetch(packages(), &progress).expect("fetched");
    let fetched = begun.elapsed();
    let begun = Instant::now();
    let mut files = 0;
    for package in packages() {
        files += store.unpack(package, &progress).expect("unpacked").entries.len();
    }
    let unpacked = begun.elapsed();
    let postgres = &resolution.get("postgresql-17").expect("chosen").package;
    let binary = "/usr/lib/postgresql/17/bin/postgres";
    let entries = store.unpack(postgres, &progress).expect("unpacked").entries;
    let entry = entries.iter().find(|entry| entry.path.as_str() == binary).expect("the server");
    let NodeKind::File(content) = &entry.kind else { panic!("{binary} is no file") };
    let mut head = [0; 4];
    content.read_exact_at(&mut head, 0).expect("read");
    assert_eq!(&head, b"\x7fELF");
    let begun = Instant::now();
    let offline = Store::open(&root, Network { offline: true, ..network }).expect("the cache");
    let again = Archive::open(&offline, &request, &progress).expect("from the cache");
    let reopened = begun.elapsed();
    assert_eq!(again.date(), archive.date());
    report(&[
        ("open", opened),
        ("resolve", resolved),
        ("fetch", fetched),
        ("unpack", unpacked),
        ("open again, offline", reopened),
    ]);
    println!("{} packages of {}, {files} entries", resolution.packages.len(), archive.len());
}

fn report(steps: &[(&str, Duration)]) {
    for (name, time) in steps {
        println!("{name}: {:.0} ms", time.as_secs_f64() * 1000.0);
    }
}
