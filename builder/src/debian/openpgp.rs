//! Checks the signature of a clear-signed `InRelease`, and gives back only what was signed.
//!
//! The armour is taken apart here, byte by byte, because this is where attacks on clear-signed
//! text happen: whatever stands outside of the signed part, or is escaped inside of it, must not
//! reach the parser of the Release. The cryptography itself is the `pgp` crate's.
//!
//! One good signature suffices (Debian signs with the keys of two releases), if it was made with
//! SHA-256 or better by a key of the keyring, or a signing subkey bound to one, that is neither
//! revoked nor expired.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use pgp::armor::{BlockType, Dearmor};
use pgp::composed::{Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Packet, PacketParser, Signature, SignatureType};
use pgp::types::{KeyDetails, Tag, Timestamp, VerifyingKey};
use thiserror::Error;

/// Debian's keys for bookworm and trixie; `keyring/README.md` says where they come from.
const EMBEDDED: [&[u8]; 2] =
    [include_bytes!("keyring/bookworm.gpg"), include_bytes!("keyring/trixie.gpg")];

/// Debian's largest keyring, with removed keys, has 73 kB.
const KEYRING_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// A signature has 0.8 kB and Debian makes three; more signatures mean more public-key work.
const SIGNATURE_BYTES_MAX: usize = 64 * 1024;
const SIGNATURES_MAX: usize = 16;

/// The keys that may sign an archive.
#[derive(Clone, Debug)]
pub struct Keyring {
    keys: Vec<SignedPublicKey>,
    name: String,
}

/// Why a signed text isn't trusted.
#[derive(Debug, Error)]
pub enum OpenpgpError {
    #[error("the keyring {path} can't be read: {reason}; give another one with --keyring")]
    Keyring { path: PathBuf, reason: String },
    #[error("it is not clear-signed ({0}); the mirror, or somebody in between, changed it")]
    NotSigned(&'static str),
    #[error("its signature can't be read: {0}")]
    Unreadable(String),
    #[error(
        "no signature by a key of {keyring}; it was made by {issuers}: if you trust that key, \
         give a keyring that has it with --keyring"
    )]
    UnknownKey { keyring: String, issuers: String },
    #[error("its signature by {key} is wrong ({reason}); the text was changed after signing")]
    Bad { key: String, reason: String },
}

impl Keyring {
    /// The keys that are built in.
    pub fn embedded() -> Result<Self, OpenpgpError> {
        let mut keys = Vec::new();
        for bytes in EMBEDDED {
            keys.extend(read_keys(bytes, Path::new("(built in)"))?);
        }
        Ok(Self { keys, name: "the built-in keyring".to_owned() })
    }

    /// The keys of a file, binary or ASCII-armoured.
    pub fn load(path: &Path) -> Result<Self, OpenpgpError> {
        let refuse = |reason: String| OpenpgpError::Keyring { path: path.to_owned(), reason };
        let size = std::fs::metadata(path).map_err(|error| refuse(error.to_string()))?.len();
        if size > KEYRING_BYTES_MAX {
            return Err(refuse(format!("it has {size} bytes, more than any keyring")));
        }
        let bytes = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
        let keys = read_keys(&bytes, path)?;
        if keys.is_empty() {
            return Err(refuse("it holds no public key".to_owned()));
        }
        Ok(Self { keys, name: path.display().to_string() })
    }

    /// Checks a clear-signed text at a point in time and returns what was signed, unescaped.
    pub fn verify(&self, signed: &str, now: u64) -> Result<String, OpenpgpError> {
        let parts = take_apart(signed)?;
        let signatures = read_signatures(parts.armour)?;
        let mut bad = None;
        for signature in &signatures {
            match self.check(signature, &parts.hashed, now) {
                Some(Ok(())) => return Ok(parts.text),
                Some(Err(error)) => bad = Some(error),
                None => {}
            }
        }
        Err(bad.unwrap_or_else(|| OpenpgpError::UnknownKey {
            keyring: self.name.clone(),
            issuers: issuers(&signatures),
        }))
    }

    /// None when no key of ours made it.
    fn check(&self, signature: &Signature, hashed: &str, now: u64) -> Option<Checked> {
        for key in &self.keys {
            if made_by(signature, key) {
                let usable = primary_is_usable(key, now);
                return Some(judge(signature, &key.primary_key, usable, hashed, now));
            }
            for subkey in &key.public_subkeys {
                if made_by(signature, &subkey.key) {
                    let usable = primary_is_usable(key, now)
                        .and_then(|()| subkey_is_usable(key, subkey, now));
                    return Some(judge(signature, &subkey.key, usable, hashed, now));
                }
            }
        }
        None
    }
}

type Checked = Result<(), OpenpgpError>;

fn judge(
    signature: &Signature,
    key: &impl VerifyingKey,
    usable: Result<(), String>,
    hashed: &str,
    now: u64,
) -> Checked {
    let bad = |reason| OpenpgpError::Bad { key: key.fingerprint().to_string(), reason };
    usable.map_err(bad)?;
    let strong = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];
    if !signature.hash_alg().is_some_and(|hash| strong.contains(&hash)) {
        return Err(bad("its hash algorithm is too weak".to_owned()));
    }
    if !matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary)) {
        return Err(bad("it is no signature of a text".to_owned()));
    }
    let created = signature.created().map(|time| u64::from(time.as_secs()));
    let Some(created) = created else {
        return Err(bad("it has no date".to_owned()));
    };
    if let Some(life) = signature.signature_expiration_time()
        && life.as_secs() != 0
        && created + u64::from(life.as_secs()) < now
    {
        return Err(bad("it has expired".to_owned()));
    }
    signature.verify(key, hashed.as_bytes()).map_err(|error| bad(error.to_string()))
}

/// Whether the signature names this key as its maker, by fingerprint or at least by key id.
fn made_by(signature: &Signature, key: &impl KeyDetails) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    if fingerprints.is_empty() {
        return signature.issuer_key_id().contains(&&key.legacy_key_id());
    }
    fingerprints.contains(&&key.fingerprint())
}

fn issuers(signatures: &[Signature]) -> String {
    let name = |signature: &Signature| match signature.issuer_fingerprint().first() {
        Some(fingerprint) => fingerprint.to_string(),
        None => match signature.issuer_key_id().first() {
            Some(id) => id.to_string(),
            None => "an unnamed key".to_owned(),
        },
    };
    let names: Vec<String> = signatures.iter().map(name).collect();
    names.join(", ")
}

/// A primary key must not be revoked, and the newest of its self-signatures of either kind say
/// until when it lives. A revocation counts only if it verifies, or anybody could revoke a key.
fn primary_is_usable(key: &SignedPublicKey, now: u64) -> Result<(), String> {
    let primary = &key.primary_key;
    if key.details.revocation_signatures.iter().any(|sig| sig.verify_key(primary).is_ok()) {
        return Err("the key was revoked".to_owned());
    }
    let certified = key.details.users.iter().flat_map(|user| {
        let own =
            user.signatures.iter().filter(|sig| sig.typ() != Some(SignatureType::CertRevocation));
        own.filter(|sig| sig.verify_certification(primary, Tag::UserId, &user.id).is_ok())
    });
    let direct = key.details.direct_signatures.iter();
    let direct = direct.filter(|sig| sig.verify_key(primary).is_ok());
    // Most direct signatures only name who may revoke the key; one without a life says nothing.
    let direct = direct.filter(|sig| sig.key_expiration_time().is_some());
    let newest = [newest_of(certified), newest_of(direct)];
    if newest.iter().all(Option::is_none) {
        return Err("the key has no valid self-signature".to_owned());
    }
    let created = u64::from(primary.created_at().as_secs());
    newest.into_iter().flatten().try_for_each(|signature| is_alive(signature, created, now))
}

fn newest_of<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|signature| signature.created().map(Timestamp::as_secs))
}

/// A subkey signs for its primary only if both say so.
fn subkey_is_usable(
    key: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    now: u64,
) -> Result<(), String> {
    let primary = &key.primary_key;
    let mut bound = None;
    for binding in &subkey.signatures {
        if binding.verify_subkey_binding(primary, &subkey.key).is_err() {
            continue;
        }
        if binding.typ() == Some(SignatureType::SubkeyRevocation) {
            return Err("the subkey was revoked".to_owned());
        }
        let agrees = |back: &Signature| back.verify_primary_key_binding(&subkey.key, primary);
        let may_sign = binding.key_flags().sign()
            && binding.embedded_signature().is_some_and(|back| agrees(back).is_ok());
        if may_sign {
            let newer = |old: &&Signature| {
                old.created().map(Timestamp::as_secs) >= binding.created().map(Timestamp::as_secs)
            };
            bound = bound.filter(newer).or(Some(binding));
        }
    }
    let bound = bound.ok_or("the subkey is not bound to its key for signing")?;
    is_alive(bound, u64::from(subkey.key.created_at().as_secs()), now)
}

fn is_alive(signature: &Signature, created: u64, now: u64) -> Result<(), String> {
    match signature.key_expiration_time() {
        Some(life) if life.as_secs() != 0 && created + u64::from(life.as_secs()) < now => {
            Err("the key has expired".to_owned())
        }
        _ => Ok(()),
    }
}

fn read_keys(bytes: &[u8], path: &Path) -> Result<Vec<SignedPublicKey>, OpenpgpError> {
    let refuse = |error: pgp::errors::Error| OpenpgpError::Keyring {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let armoured = bytes.starts_with(b"-----BEGIN");
    let keys: Result<Vec<_>, _> = if armoured {
        SignedPublicKey::from_armor_many(bytes).map_err(refuse)?.0.collect()
    } else {
        SignedPublicKey::from_bytes_many(bytes).map_err(refuse)?.collect()
    };
    keys.map_err(refuse)
}

fn read_signatures(armour: &str) -> Result<Vec<Signature>, OpenpgpError> {
    let unreadable = |error: pgp::errors::Error| OpenpgpError::Unreadable(error.to_string());
    if armour.len() > SIGNATURE_BYTES_MAX {
        return Err(OpenpgpError::Unreadable("it is longer than any signature".to_owned()));
    }
    let mut dearmor = Dearmor::new(armour.as_bytes());
    dearmor.read_header().map_err(unreadable)?;
    if dearmor.typ != Some(BlockType::Signature) {
        return Err(OpenpgpError::NotSigned("its armour holds no signature"));
    }
    let mut signatures = Vec::new();
    for packet in PacketParser::new(BufReader::new(dearmor)) {
        match packet.map_err(unreadable)? {
            Packet::Signature(signature) => signatures.push(signature),
            _ => {
                return Err(OpenpgpError::NotSigned("its armour holds more than signatures"));
            }
        }
        if signatures.len() > SIGNATURES_MAX {
            return Err(OpenpgpError::Unreadable("it has more signatures than sensible".into()));
        }
    }
    if signatures.is_empty() {
        return Err(OpenpgpError::NotSigned("its armour is empty"));
    }
    Ok(signatures)
}

/// A clear-signed message in its parts.
#[derive(Debug, PartialEq, Eq)]
struct Parts<'a> {
    /// What was signed, with plain line ends: the only text that is used afterwards.
    text: String,
    /// The same as it was hashed: without blanks at the ends of lines, with CR LF between them.
    hashed: String,
    /// The armoured signature.
    armour: &'a str,
}

const BEGIN_TEXT: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const BEGIN_SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END_SIGNATURE: &str = "-----END PGP SIGNATURE-----";

fn take_apart(signed: &str) -> Result<Parts<'_>, OpenpgpError> {
    use OpenpgpError::NotSigned;
    let mut lines = signed.split_inclusive('\n');
    if lines.next().map(str::trim_end) != Some(BEGIN_TEXT) {
        return Err(NotSigned("it doesn't begin with a signed message"));
    }
    loop {
        let header = lines.next().ok_or(NotSigned("it ends too early"))?.trim_end();
        if header.is_empty() {
            break;
        }
        // Other headers are what forgers use to hide text in front of the signed part.
        if !header.starts_with("Hash: ") {
            return Err(NotSigned("it has a header that has no business there"));
        }
    }
    let (mut text, mut hashed) = (String::new(), String::new());
    let mut armour_length = 0;
    for line in lines.by_ref() {
        let line_text = line.trim_end_matches(['\n', '\r', ' ', '\t']);
        if line_text == BEGIN_SIGNATURE {
            armour_length = line.len();
            break;
        }
        let plain = match line_text.strip_prefix("- ") {
            Some(escaped) => escaped,
            None if line_text == "-" => "",
            None if line_text.starts_with('-') => {
                return Err(NotSigned("a line that starts with a dash isn't escaped"));
            }
            None => line_text,
        };
        // The line end before the signature isn't signed, so ends go between lines.
        if !text.is_empty() || !hashed.is_empty() {
            hashed.push_str("\r\n");
        }
        hashed.push_str(plain);
        text.push_str(plain);
        text.push('\n');
    }
    let rest: usize = lines.map(str::len).sum();
    if armour_length == 0 {
        return Err(NotSigned("it has no signature"));
    }
    let armour = &signed[signed.len() - rest - armour_length..];
    let (_, after) = armour.split_once(END_SIGNATURE).ok_or(NotSigned("it ends too early"))?;
    if !after.trim().is_empty() {
        return Err(NotSigned("something follows the signature"));
    }
    Ok(Parts { text, hashed, armour })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(body: &str) -> String {
        format!("{BEGIN_TEXT}\nHash: SHA256\n\n{body}\n{BEGIN_SIGNATURE}\n\nxx\n{END_SIGNATURE}\n")
    }

    #[test]
    fn the_signed_text_is_unescaped_and_normalised() {
        let signed = message("a: 1  \n- -----x\n\nb: 2");
        let parts = take_apart(&signed).expect("parts");
        assert_eq!(parts.text, "a: 1\n-----x\n\nb: 2\n");
        assert_eq!(parts.hashed, "a: 1\r\n-----x\r\n\r\nb: 2");
        assert!(parts.armour.starts_with(BEGIN_SIGNATURE));
    }

    #[test]
    fn text_outside_of_the_signed_part_is_refused() {
        let good = message("a: 1");
        for (what, text) in [
            ("front", format!("Date: x\n{good}")),
            ("behind", format!("{good}Date: x\n")),
            ("headers", good.replace("Hash: SHA256", "Hash: SHA256\nSHA256: x")),
            ("no signature", good[..40].to_owned()),
            ("no end", good.replace(END_SIGNATURE, "")),
            ("dash", message("-----BEGIN X")),
            ("plain", "Origin: Debian\n".to_owned()),
        ] {
            assert!(matches!(take_apart(&text), Err(OpenpgpError::NotSigned(_))), "{what}");
        }
    }

    #[test]
    fn the_embedded_keys_are_six_and_usable() {
        let keyring = Keyring::embedded().expect("read");
        assert_eq!(keyring.keys.len(), 6);
        // 2026-11-20; they expire from 2031 on.
        for key in &keyring.keys {
            primary_is_usable(key, 1_795_132_800).expect("usable");
            assert!(primary_is_usable(key, 4_000_000_000).is_err(), "never expires");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_panic(body in "[-a: \t\r\n]{0,60}") {
            let keyring = Keyring { keys: Vec::new(), name: "none".to_owned() };
            prop_assert!(keyring.verify(&body, 0).is_err());
            prop_assert!(keyring.verify(&message(&body), 0).is_err());
        }
    }
}
