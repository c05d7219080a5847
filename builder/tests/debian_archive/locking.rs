//! A lock pins packages by hash; with it no index is read.

use builder::debian::{Lock, Network, Store};
use builder::progress::Progress;

use crate::fixture::{Fixture, offline_store, store};

fn locked(fixture: &Fixture) -> Lock {
    let archive = fixture.open().expect("opened");
    Lock::new(&archive, &archive.resolve(&["app"]).expect("resolved"))
}

#[test]
fn a_lock_is_read_back_as_it_was_written() {
    let (fixture, folder) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let lock = locked(&fixture);
    let path = folder.path().join("mini.lock");
    lock.save(&path).expect("saved");
    let again = Lock::load(&path).expect("loaded");
    assert_eq!(again, lock);
    let text = std::fs::read_to_string(&path).expect("read");
    again.save(&path).expect("saved");
    assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
    assert!(!text.contains("file:"), "a lock names no mirror:\n{text}");
    let names: Vec<_> = lock.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!((names, lock.date), (vec!["app", "lib"], 1_794_967_824));
}

#[test]
fn locked_packages_need_no_index() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let lock = locked(&fixture);
    std::fs::remove_dir_all(fixture.path("dists")).expect("removed");
    let chosen = lock.resolve(&["app"]).expect("resolved");
    assert_eq!(chosen.dependencies_of("app")[0].name, "lib");
    assert_eq!(chosen.chain("lib"), ["app", "lib"]);
    let online = store(cache.path(), &fixture.mirror());
    online.fetch(chosen.packages(), &Progress::quiet()).expect("fetched");
    let nowhere = Store::open(cache.path(), Network { offline: true, ..Network::default() });
    let nowhere = nowhere.expect("a cache");
    for package in chosen.packages() {
        nowhere.unpack(package, &Progress::quiet()).expect("from the cache");
    }
}

#[test]
fn a_locked_package_that_vanished_is_named_with_the_mend() {
    let (fixture, cache) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let chosen = locked(&fixture).resolve(&["app"]).expect("resolved");
    std::fs::remove_file(fixture.path("pool/lib_2.0_amd64.deb")).expect("removed");
    let store = store(cache.path(), &fixture.mirror());
    let error = store.fetch(chosen.packages(), &Progress::quiet()).expect_err("gone").to_string();
    assert!(error.contains("lib 2.0") && error.contains("builder lock"), "{error}");
    let offline = offline_store(tempfile::tempdir().expect("a folder").path(), &fixture.mirror());
    let error = offline.fetch(chosen.packages(), &Progress::quiet()).expect_err("empty");
    assert!(error.to_string().contains("--offline"), "{error}");
}

#[test]
fn what_is_not_locked_or_no_lock_is_refused() {
    let (fixture, folder) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let lock = locked(&fixture);
    let error = lock.resolve(&["other"]).expect_err("not locked").to_string();
    assert!(error.contains("other") && error.contains("builder lock"), "{error}");
    let path = folder.path().join("mini.lock");
    lock.save(&path).expect("saved");
    let text = std::fs::read_to_string(&path).expect("read");
    for (from, to, word) in [
        ("format = 1", "format = 2", "format 2"),
        ("size", "sise", "unknown field"),
        ("pool/lib", "../lib", "Filename"),
        ("name = \"lib\"", "name = \"li b\"", "Package"),
        ("sha256 = \"", "sha256 = \"x", "SHA-256"),
    ] {
        std::fs::write(&path, text.replace(from, to)).expect("written");
        let error = Lock::load(&path).expect_err(to).to_string();
        assert!(error.contains(word) && error.contains("builder lock"), "{error}");
    }
    let error = Lock::load(&folder.path().join("none")).expect_err("nothing").to_string();
    assert!(error.contains("builder lock"), "{error}");
}
