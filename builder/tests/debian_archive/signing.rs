//! What is signed is used, and nothing else is.

use builder::debian::archive::ArchiveError;
use builder::debian::openpgp::{Keyring, OpenpgpError};
use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, KeyType, SignedPublicKey, SignedSecretKey,
    SubkeyParamsBuilder,
};
use pgp::packet::{SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, Timestamp};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::fixture::{Fixture, NOW, release_head};
use crate::shared::archive_pieces::{KEY_MADE, clear_sign, generate, key, make_key};

const INRELEASE: &str = "dists/mini/InRelease";

fn open_with(inrelease: &str) -> ArchiveError {
    let fixture = Fixture::new();
    fixture.write(INRELEASE, inrelease.as_bytes());
    fixture.open().map(|archive| archive.len()).expect_err("it was taken")
}

fn signed() -> String {
    std::fs::read_to_string(Fixture::new().path(INRELEASE)).expect("read")
}

#[test]
fn a_well_signed_archive_is_opened() {
    let archive = Fixture::new().open().expect("opened");
    assert_eq!((archive.len(), archive.date()), (3, 1_794_967_824));
    let app = archive.package("app").expect("read").expect("there");
    assert_eq!((app.version.as_str(), app.filename.as_str()), ("1.0", "pool/app_1.0_amd64.deb"));
    let chosen = archive.resolve(&["app"]).expect("resolved");
    let names: Vec<&str> = chosen.packages().map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["app", "lib"]);
    assert_eq!(chosen.dependencies_of("app")[0].name, "lib");
}

#[test]
fn an_unsigned_release_is_refused() {
    let error = open_with(&release_head());
    assert!(matches!(error, ArchiveError::Signature { source: OpenpgpError::NotSigned(_), .. }));
}

#[test]
fn a_changed_release_is_refused() {
    let good = signed();
    for (from, to) in
        [("Mini", "Evil"), ("By-Hash", "by-hash"), (" main/", " maim/"), ("Date:", "date:")]
    {
        assert!(good.contains(from), "{from} is not there to be changed");
        let changed = good.replacen(from, to, 1);
        let error = open_with(&changed);
        let refused =
            matches!(error, ArchiveError::Signature { source: OpenpgpError::Bad { .. }, .. });
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
    let error = fixture.open().map(|archive| archive.len()).expect_err("it was taken").to_string();
    let fingerprint = stranger.primary_key.fingerprint().to_string();
    assert!(error.contains(&fingerprint) && error.contains("--keyring"), "{error}");
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
    let error = opened.map(|archive| archive.len()).expect_err("it was taken");
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
    let error = opened.map(|archive| archive.len()).expect_err("it was taken").to_string();
    for part in ["2026-11-25", "2026-12-20", "mirror", "clock"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn the_release_of_another_suite_is_refused() {
    let fixture = Fixture::new();
    let head = release_head().replace("mini", "maxi");
    fixture.sign(&head, key());
    let error = fixture.open().map(|archive| archive.len()).expect_err("it was taken");
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
        let error = fixture.open().map(|archive| archive.len()).expect_err("taken").to_string();
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
    let error = fixture.open().map(|archive| archive.len()).expect_err("taken").to_string();
    assert!(error.contains("other content than was signed"), "{error}");
}

#[test]
fn a_release_without_the_index_says_what_is_missing() {
    let fixture = Fixture::new();
    let text = clear_sign(&format!("{}SHA256:\n", release_head()), key());
    fixture.write(INRELEASE, text.as_bytes());
    let error = fixture.open().map(|archive| archive.len()).expect_err("taken").to_string();
    assert!(error.contains("main/binary-amd64/Packages"), "{error}");
}

/// A key that signs with a subkey, as Debian's do.
fn make_key_with_subkey(seed: u64) -> SignedSecretKey {
    let mut subkey = SubkeyParamsBuilder::default();
    let made = Timestamp::from_secs(KEY_MADE);
    subkey.key_type(KeyType::Ed25519Legacy).can_sign(true).created_at(made);
    generate(seed, "with a subkey", vec![subkey.build().expect("parameters")])
}

#[test]
fn a_signing_subkey_is_as_good_as_its_key() {
    let key = make_key_with_subkey(3);
    let rng = ChaCha8Rng::seed_from_u64(9);
    let subkey = &key.secret_subkeys[0].key;
    let text = signed_text();
    let signed = CleartextSignedMessage::sign(rng, &text, subkey, &"".into()).expect("signed");
    let signed = signed.to_armored_string(ArmorOptions::default()).expect("armoured");
    let public = key.to_public_key();
    assert_eq!(verify(&public, &signed).expect("verified"), text + "\n");
    let mut unbound = public.clone();
    unbound.public_subkeys[0].signatures =
        make_key_with_subkey(4).to_public_key().public_subkeys[0].signatures.clone();
    let error = verify(&unbound, &signed).expect_err("a stolen binding").to_string();
    assert!(error.contains("not bound"), "{error}");
}

#[test]
fn a_revoked_key_is_refused_and_a_false_revocation_is_not() {
    let key = make_key(5, "revoked");
    let signed = clear_sign(&signed_text(), &key);
    let revoke = |by: &SignedSecretKey| {
        let rng = ChaCha8Rng::seed_from_u64(9);
        let kind = SignatureType::KeyRevocation;
        let mut config = SignatureConfig::from_key(rng, &by.primary_key, kind).expect("a config");
        let made = SubpacketData::SignatureCreationTime(Timestamp::from_secs(1_700_000_001));
        let issuer = SubpacketData::IssuerFingerprint(by.primary_key.fingerprint());
        config.hashed_subpackets = [made, issuer]
            .into_iter()
            .map(|data| Subpacket::regular(data).expect("a subpacket"))
            .collect();
        let public = key.to_public_key().primary_key;
        config.sign_key(&by.primary_key, &"".into(), &public).expect("signed")
    };
    let mut public = key.to_public_key();
    verify(&public, &signed).expect("verified");
    public.details.revocation_signatures = vec![revoke(&make_key(6, "an enemy"))];
    verify(&public, &signed).expect("nobody else revokes a key");
    public.details.revocation_signatures = vec![revoke(&key)];
    let error = verify(&public, &signed).expect_err("revoked").to_string();
    assert!(error.contains("revoked"), "{error}");
}

fn signed_text() -> String {
    format!("{}- dashed", release_head())
}

fn verify(public: &SignedPublicKey, signed: &str) -> Result<String, OpenpgpError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keyring.gpg");
    std::fs::write(&path, public.to_bytes().expect("bytes")).expect("written");
    Keyring::load(&path).expect("a keyring").verify(signed, NOW)
}
