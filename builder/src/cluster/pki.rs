//! The site's certification authority, and what it certifies.
//!
//! Every site has a CA of its own, which certifies nodes, database clients and operators of this
//! site and nothing else. So no name constraints: whoever has its key owns the site anyway.
//!
//! **Keys** are ECDSA P-256: small, fast on edge processors, and understood by everything that
//! takes part (the database with OpenSSL, etcd and Kubernetes with Go, our own programs with rustls).
//!
//! **From when.** Certificates are valid from 1970 on. A node whose clock battery is dead boots in
//! 1970 or in 2000, or at the date of its image, and must still reach its peer, from which or from
//! NTP it then learns the time. The usual date ("now") would protect nobody: nobody can use a key
//! before it exists.
//!
//! **Until when.** The CA ends thirty years after it was made, and everything it certifies ends
//! with it. Edge hardware lasts ten to fifteen years and nobody visits it; a certificate that ends
//! after one year is an outage with a date. Short lives are a remedy against keys that leak
//! unnoticed where revocation doesn't work; here a key leaks with the whole machine, and the remedy
//! is a new CA for the site: move the secrets folder away, build the seeds again, and write them to
//! all nodes (`builder seed IMAGE --set SEED`). To renew just one node's certificates, remove its
//! folder below `nodes/` and build its seed again.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
    date_time_ymd,
};
use ring::rand::{SecureRandom, SystemRandom};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

/// How long a site's CA lasts; see the top of this file.
const CA_LIFE: Duration = Duration::from_hours(30 * 365 * 24);
/// A certificate that ends sooner is issued again when its node is built again.
const RENEW_BEFORE: Duration = Duration::from_hours(5 * 365 * 24);
/// This code is younger than that, so a desk whose clock says otherwise is wrong.
const CLOCK_FLOOR_SECONDS: u64 = 1_767_225_600;
/// Random bytes of a serial number: enough that two never meet, few enough for RFC 5280's limit.
const SERIAL_BYTES: usize = 16;

/// Why a certificate or key can't be made or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The library refused.
    #[error("making a certificate for \"{name}\" failed: {source}")]
    Issue { name: String, source: rcgen::Error },
    /// The operating system gave no random bytes.
    #[error("the operating system gives no random numbers: check that /dev/urandom works")]
    Random,
    /// The key is none, or of an unknown kind.
    #[error("{file} holds no private key that can be used ({source}): restore it from a backup")]
    Key { file: String, source: rcgen::Error },
    /// The certificate is none.
    #[error("{file} holds no certificate: restore it from a backup")]
    Certificate { file: String },
    /// A certificate is there that can't certify others.
    #[error("{file} is no certificate of a root CA: put the CA's own, self-signed one there")]
    NoAuthority { file: String },
    /// The two files don't belong together.
    #[error("{certificate} does not belong to {key}: restore both from the same backup")]
    Strangers { certificate: String, key: String },
    /// The CA is too old.
    #[error(
        "{file} ended on {end}: move the folder away, so that a new CA is made, and write new seeds \
         to all nodes of the site"
    )]
    Expired { file: String, end: String },
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A node: serves others, and calls them.
    Node,
    /// Only calls others.
    Client,
}

/// What a certificate shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) common_name: String,
    pub(super) hosts: BTreeSet<String>,
    pub(super) addresses: BTreeSet<IpAddr>,
    pub(super) purpose: Purpose,
}

impl Subject {
    /// A client is known by its common name alone.
    pub(super) fn client(common_name: &str) -> Self {
        Self {
            common_name: common_name.to_owned(),
            hosts: BTreeSet::new(),
            addresses: BTreeSet::new(),
            purpose: Purpose::Client,
        }
    }
}

/// A CA that is ready to certify.
pub(super) struct Authority {
    certificate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// A new private key as PEM.
pub(super) fn new_key() -> Result<String, PkiError> {
    let name = "a new key".to_owned();
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .map(|key| key.serialize_pem())
        .map_err(|source| PkiError::Issue { name, source })
}

/// The self-signed certificate of a new CA, as PEM.
pub(super) fn new_authority(cluster: &str, key: &str) -> Result<String, PkiError> {
    let name = format!("{cluster} site CA");
    let key = read_key("ca.key", key)?;
    let mut params = base_params(&name)?;
    params.not_after = date_time_ymd(1970, 1, 1) + (now() + CA_LIFE);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
        .self_signed(&key)
        .map(|certificate| certificate.pem())
        .map_err(|source| PkiError::Issue { name, source })
}

/// The SHA-256 of a certificate in hexadecimal, as seeds list those of operators.
pub(super) fn fingerprint(file: &str, certificate: &str) -> Result<String, PkiError> {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(der(file, certificate)?);
    Ok(hex(&digest))
}

/// Bytes in hexadecimal: safe in every file format and file name.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |digit: u8| char::from(b"0123456789abcdef"[usize::from(digit)]);
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.map(digit).collect()
}

impl Authority {
    /// Takes up the CA as it lies in the folder.
    pub(super) fn load(certificate: &str, key: &str) -> Result<Self, PkiError> {
        let file = || "ca.pem".to_owned();
        let key = read_key("ca.key", key)?;
        let certificate = der("ca.pem", certificate)?;
        let parsed = parse(&certificate).ok_or_else(|| PkiError::Certificate { file: file() })?;
        if !parsed.is_ca() || parsed.issuer() != parsed.subject() {
            return Err(PkiError::NoAuthority { file: file() });
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            let (certificate, key) = (file(), "ca.key".to_owned());
            return Err(PkiError::Strangers { certificate, key });
        }
        if ends_after(&parsed) <= now() {
            let end = parsed.validity().not_after.to_string();
            return Err(PkiError::Expired { file: file(), end });
        }
        let issuer = Issuer::from_ca_cert_der(&certificate.as_slice().into(), key)
            .map_err(|_| PkiError::Certificate { file: file() })?;
        Ok(Self { certificate, issuer })
    }

    /// A certificate for a key, as PEM.
    pub(super) fn issue(
        &self,
        file: &str,
        subject: &Subject,
        key: &str,
    ) -> Result<String, PkiError> {
        let name = &subject.common_name;
        let wrap = |source| PkiError::Issue { name: name.clone(), source };
        let key = read_key(file, key)?;
        let mut params = base_params(name)?;
        for host in &subject.hosts {
            let host = host.as_str().try_into().map_err(wrap)?;
            params.subject_alt_names.push(SanType::DnsName(host));
        }
        let addresses = subject.addresses.iter().copied().map(SanType::IpAddress);
        params.subject_alt_names.extend(addresses);
        if let Some(authority) = parse(&self.certificate) {
            params.not_after = authority.validity().not_after.to_datetime();
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match subject.purpose {
            Purpose::Node => {
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
            }
            Purpose::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        params.signed_by(&key, &self.issuer).map(|certificate| certificate.pem()).map_err(wrap)
    }

    /// Whether a certificate that was issued earlier still says what it shall, and may be kept.
    pub(super) fn still_fits(&self, certificate: &str, key: &str, subject: &Subject) -> bool {
        let (Ok(certificate), Ok(key)) = (der("", certificate), read_key("", key)) else {
            return false;
        };
        let (Some(parsed), Some(authority)) = (parse(&certificate), parse(&self.certificate))
        else {
            return false;
        };
        let enough = ends_after(&authority).min(now() + RENEW_BEFORE);
        described(&parsed).as_ref() == Some(subject)
            && parsed.public_key().raw == key.subject_public_key_info()
            && ends_after(&parsed) >= enough
            && parsed.verify_signature(Some(authority.public_key())).is_ok()
    }
}

/// What CA and leaf have in common.
fn base_params(common_name: &str) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(1970, 1, 1);
    let mut serial = [0; SERIAL_BYTES];
    SystemRandom::new().fill(&mut serial).map_err(|_| PkiError::Random)?;
    // A serial number is positive and does not begin with a zero byte.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

/// Time since 1970, at least that of this code's making.
fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .max(Duration::from_secs(CLOCK_FLOOR_SECONDS))
}

fn read_key(file: &str, pem: &str) -> Result<KeyPair, PkiError> {
    let file = file.to_owned();
    KeyPair::from_pem(pem).map_err(|source| PkiError::Key { file, source })
}

fn der(file: &str, pem: &str) -> Result<Vec<u8>, PkiError> {
    match Pem::iter_from_buffer(pem.as_bytes()).next() {
        Some(Ok(pem)) if pem.label == "CERTIFICATE" => Ok(pem.contents),
        _ => Err(PkiError::Certificate { file: file.to_owned() }),
    }
}

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    let (rest, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    rest.is_empty().then_some(certificate)
}

/// When a certificate ends, as time since 1970.
fn ends_after(certificate: &X509Certificate<'_>) -> Duration {
    let seconds = certificate.validity().not_after.timestamp();
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// The subject that a certificate was issued for, if it is one that we would issue.
fn described(certificate: &X509Certificate<'_>) -> Option<Subject> {
    let mut names = certificate.subject().iter_common_name();
    let common_name = names.next()?.as_str().ok()?.to_owned();
    let usage = certificate.extended_key_usage().ok()??.value;
    let purpose = match (usage.server_auth, usage.client_auth) {
        (true, true) => Purpose::Node,
        (false, true) => Purpose::Client,
        _ => return None,
    };
    let mut subject = Subject { purpose, ..Subject::client(&common_name) };
    let alternatives = certificate.subject_alternative_name().ok()?;
    for name in alternatives.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::DNSName(host) => {
                subject.hosts.insert((*host).to_owned());
            }
            GeneralName::IPAddress(bytes) => {
                subject.addresses.insert(address(bytes)?);
            }
            _ => return None,
        }
    }
    Some(subject)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn authority() -> (Authority, String, String) {
        let key = new_key().expect("a key");
        let certificate = new_authority("plant-3", &key).expect("a certificate");
        let authority = Authority::load(&certificate, &key).expect("a CA");
        (authority, certificate, key)
    }

    #[test]
    fn serial_numbers_differ_and_are_positive() {
        let (_, first, _) = authority();
        let (_, second, _) = authority();
        let serial = |pem: &str| {
            let der = der("ca.pem", pem).expect("PEM");
            parse(&der).expect("a certificate").raw_serial().to_vec()
        };
        assert_ne!(serial(&first), serial(&second));
        assert_eq!(serial(&first).len(), SERIAL_BYTES);
        assert!(serial(&first)[0] < 0x80);
    }

    #[test]
    fn a_leaf_is_no_authority() {
        let (authority, _, _) = authority();
        let key = new_key().expect("a key");
        let leaf = authority.issue("x.key", &Subject::client("k3s"), &key).expect("a leaf");
        let refused = Authority::load(&leaf, &key).err();
        assert!(matches!(refused, Some(PkiError::NoAuthority { .. })), "{refused:?}");
    }

    #[test]
    fn what_another_ca_issued_does_not_fit() {
        let (ours, _, _) = authority();
        let (theirs, _, _) = authority();
        let (key, subject) = (new_key().expect("a key"), Subject::client("k3s"));
        let leaf = theirs.issue("x.key", &subject, &key).expect("a leaf");
        assert!(theirs.still_fits(&leaf, &key, &subject));
        assert!(!ours.still_fits(&leaf, &key, &subject));
        assert!(!theirs.still_fits(&leaf, &key, &Subject::client("other")));
        let other_key = new_key().expect("a key");
        assert!(!theirs.still_fits(&leaf, &other_key, &subject));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Cut, doubled and garbled certificates and keys are refused or read, never more.
        #[test]
        fn damaged_files_never_panic(at in 0_usize..900, byte in any::<char>(), cut in any::<bool>()) {
            let (_, certificate, key) = authority();
            let damage = |text: &str| {
                let mut characters: Vec<char> = text.chars().collect();
                let at = at % characters.len();
                characters[at] = byte;
                characters.truncate(if cut { at + 1 } else { text.len() });
                characters.into_iter().collect::<String>()
            };
            let _ = Authority::load(&damage(&certificate), &key).err();
            let _ = Authority::load(&certificate, &damage(&key)).err();
        }
    }
}
