//! Which of several releases of a suite is taken.

use builder::debian::archive::ArchiveError;
use builder::debian::{Archive, Network, Store};
use builder::progress::Progress;

use crate::fixture::{Fixture, release_head, request_at, store};
use crate::shared::archive_pieces::key;

const DAY: u64 = 86_400;
/// The date of [`release_head`].
const MADE: u64 = 1_794_967_824;

#[test]
fn offline_the_newest_good_release_is_taken_whatever_mirror_it_came_from() {
    let cache = tempfile::tempdir().expect("a folder");
    let (old, new) = (Fixture::new(), Fixture::new());
    new.sign(&release_head().replace("18 Nov", "19 Nov"), key());
    for fixture in [&new, &old] {
        let store = store(cache.path(), &fixture.mirror());
        Archive::open(&store, &fixture.request(), &Progress::quiet()).expect("opened");
    }
    let other = "http://other.test/debian".parse().expect("a mirror");
    for mirrors in [Vec::new(), vec![other]] {
        let network = Network { offline: true, mirrors, ..Network::default() };
        let store = Store::open(cache.path(), network).expect("a cache");
        let open = || Archive::open(&store, &old.request(), &Progress::quiet());
        assert_eq!(open().expect("from the cache").date(), MADE + DAY);
    }
    let nowhere = Network { offline: true, ..Network::default() };
    let store = Store::open(cache.path(), nowhere).expect("a cache");
    let open = || Archive::open(&store, &request_at(old.folder.path()), &Progress::quiet());
    let saved = saved_releases(cache.path());
    assert_eq!(saved.len(), 2);
    for path in &saved {
        if std::fs::read_to_string(path).expect("read").contains("19 Nov") {
            std::fs::write(path, "damaged").expect("written");
        }
    }
    assert_eq!(open().expect("the other one").date(), MADE);
    for path in &saved {
        std::fs::write(path, "damaged").expect("written");
    }
    let error = open().map(|archive| archive.len()).expect_err("none is good");
    assert!(matches!(error, ArchiveError::Signature { .. }), "{error}");
}

/// The `InRelease` files of the cache.
fn saved_releases(cache: &std::path::Path) -> Vec<std::path::PathBuf> {
    let folders = std::fs::read_dir(cache.join("suites/mini")).expect("read");
    folders.map(|folder| folder.expect("read").path().join("InRelease")).collect()
}
