//! What is signed is used, and nothing else is.

use builder::debian::archive::ArchiveError;
use builder::debian::openpgp::OpenpgpError;

use crate::fixture::{Fixture, clear_sign, key, make_key, release_head};

const INRELEASE: &str = "dists/mini/InRelease";

fn open_with(inrelease: &str) -> ArchiveError {
    let fixture = Fixture::new();
    fixture.write(INRELEASE, inrelease.as_bytes());
    fixture
        .open()
        .map(|archive| archive.len())
        .expect_err("it was taken")
}

fn signed() -> String {
    std::fs::read_to_string(Fixture::new().path(INRELEASE)).expect("read")
}

#[test]
fn a_well_signed_archive_is_opened() {
    let archive = Fixture::new().open().expect("opened");
    assert_eq!((archive.len(), archive.date()), (3, 1_794_967_824));
    let app = archive.package("app").expect("read").expect("there");
    assert_eq!(
        (app.version.as_str(), app.summary.as_str()),
        ("1.0", "app for tests")
    );
    let chosen = archive.resolve(&["app"], &[""]).expect("resolved");
    let names: Vec<&str> = chosen
        .packages()
        .map(|package| package.name.as_str())
        .collect();
    assert_eq!(names, ["app", "lib"]);
    assert_eq!(chosen.dependencies_of("app")[0].name, "lib");
}

#[test]
fn an_unsigned_release_is_refused() {
    let error = open_with(&release_head());
    assert!(matches!(
        error,
        ArchiveError::Signature {
            source: OpenpgpError::NotSigned(_),
            ..
        }
    ));
}

#[test]
fn a_changed_release_is_refused() {
    let good = signed();
    for (from, to) in [
        ("Mini", "Evil"),
        ("By-Hash", "by-hash"),
        (" main/", " maim/"),
        ("Date:", "date:"),
    ] {
        assert!(good.contains(from), "{from} is not there to be changed");
        let changed = good.replacen(from, to, 1);
        let error = open_with(&changed);
        let refused = matches!(
            error,
            ArchiveError::Signature {
                source: OpenpgpError::Bad { .. },
                ..
            }
        );
        assert!(refused, "{from} -> {to}: {error}");
    }
}

#[test]
fn text_around_the_signed_part_never_counts() {
    let forged = format!("Codename: evil\n\n{}", signed());
    assert!(matches!(open_with(&forged), ArchiveError::Signature { .. }));
    let forged = format!("{}\nSHA256:\n", signed());
    assert!(matches!(open_with(&forged), ArchiveError::Signature { .. }));
}

#[test]
fn another_key_is_refused_and_named() {
    let fixture = Fixture::new();
    let stranger = make_key(2, "somebody");
    fixture.sign(&release_head(), &stranger);
    let error = fixture
        .open()
        .map(|archive| archive.len())
        .expect_err("it was taken")
        .to_string();
    let fingerprint = pgp::types::KeyDetails::fingerprint(&stranger.primary_key).to_string();
    assert!(
        error.contains(&fingerprint) && error.contains("--keyring"),
        "{error}"
    );
}

#[test]
fn debians_own_keys_are_not_enough_for_another_archive() {
    let fixture = Fixture::new();
    let cache = tempfile::tempdir().expect("a folder");
    let store = crate::fixture::store(cache.path(), &fixture.mirror());
    let mut request = fixture.request();
    request.keyring = None;
    let opened =
        builder::debian::Archive::open(&store, &request, &builder::progress::Progress::quiet());
    let error = opened
        .map(|archive| archive.len())
        .expect_err("it was taken");
    assert!(error.to_string().contains("built-in keyring"), "{error}");
}

#[test]
fn a_release_that_is_over_is_refused_with_both_mends() {
    let fixture = Fixture::new();
    let cache = tempfile::tempdir().expect("a folder");
    let store = crate::fixture::store(cache.path(), &fixture.mirror());
    let mut request = fixture.request();
    request.now += 30 * 86_400;
    let opened =
        builder::debian::Archive::open(&store, &request, &builder::progress::Progress::quiet());
    let error = opened
        .map(|archive| archive.len())
        .expect_err("it was taken")
        .to_string();
    for part in ["2026-11-25", "2026-12-20", "mirror", "clock"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn the_release_of_another_suite_is_refused() {
    let fixture = Fixture::new();
    let head = release_head().replace("mini", "maxi");
    fixture.sign(&head, key());
    let error = fixture
        .open()
        .map(|archive| archive.len())
        .expect_err("it was taken");
    assert!(matches!(error, ArchiveError::OtherSuite { .. }), "{error}");
}

#[test]
fn a_release_of_absurd_size_is_refused() {
    let error = open_with(&"x".repeat(5 * 1024 * 1024)).to_string();
    assert!(error.contains("longer than"), "{error}");
}

#[test]
fn an_index_with_other_content_is_refused() {
    for broken in [b"garbage".as_slice(), b""] {
        let fixture = Fixture::new();
        let folder = fixture.path("dists/mini/main/binary-amd64");
        for entry in std::fs::read_dir(folder.join("by-hash/SHA256")).expect("read") {
            std::fs::write(entry.expect("an entry").path(), broken).expect("written");
        }
        std::fs::write(folder.join("Packages.xz"), broken).expect("written");
        let error = fixture
            .open()
            .map(|archive| archive.len())
            .expect_err("taken")
            .to_string();
        assert!(error.contains("mini main/binary-amd64/Packages"), "{error}");
    }
}

#[test]
fn a_tampered_index_of_the_right_length_is_refused() {
    let fixture = Fixture::new();
    let folder = fixture.path("dists/mini/main/binary-amd64");
    let good = std::fs::read(folder.join("Packages.xz")).expect("read");
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    for entry in std::fs::read_dir(folder.join("by-hash/SHA256")).expect("read") {
        let path = entry.expect("an entry").path();
        if std::fs::read(&path).expect("read") == good {
            std::fs::write(path, &bad).expect("written");
        }
    }
    std::fs::write(folder.join("Packages.xz"), &bad).expect("written");
    let error = fixture
        .open()
        .map(|archive| archive.len())
        .expect_err("taken")
        .to_string();
    assert!(error.contains("other content than was signed"), "{error}");
}

#[test]
fn a_release_without_the_index_says_what_is_missing() {
    let fixture = Fixture::new();
    let text = clear_sign(&format!("{}SHA256:\n", release_head()), key());
    fixture.write(INRELEASE, text.as_bytes());
    let error = fixture
        .open()
        .map(|archive| archive.len())
        .expect_err("taken")
        .to_string();
    assert!(error.contains("main/binary-amd64/Packages"), "{error}");
}
