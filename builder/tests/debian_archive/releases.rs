//! Which of several releases of a suite is taken.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

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

/// What progress says, for a look at it.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("unpoisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_mirror_that_goes_back_in_time_is_not_followed_and_told_of() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let store = store(cache.path(), &fixture.mirror());
    let publish = |day: &str| {
        fixture.sign(&release_head().replace("18 Nov", day), key());
        let told = Told::default();
        let progress = Progress::lines(Box::new(told.clone()));
        let archive = Archive::open(&store, &fixture.request(), &progress).expect("opened");
        let said = told.0.lock().expect("unpoisoned").clone();
        (archive.date(), String::from_utf8(said).expect("text"))
    };
    assert_eq!(publish("18 Nov").0, MADE);
    for _ in 0..2 {
        let (date, said) = publish("17 Nov");
        assert_eq!(date, MADE);
        for part in ["warning: ", "of 2026-11-17 02:10 UTC", "of 2026-11-18 02:10 UTC", "remove "] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    let (date, said) = publish("19 Nov");
    assert_eq!(date, MADE + DAY);
    assert!(!said.contains("warning"), "{said}");
}

/// The `InRelease` files of the cache.
fn saved_releases(cache: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(cache.join("suites/mini")).expect("read");
    folders.map(|folder| folder.expect("read").path().join("InRelease")).collect()
}
