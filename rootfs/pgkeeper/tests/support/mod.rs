//! A site in miniature for tests: its CA and certificates, and a gate with right settings.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod postgres;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pgkeeper::Identity;
use pgkeeper::gate::{Gate, Patience, Settings, User};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType, date_time_ymd,
};

/// The role that the client "k3s" may use; its name is the database's too.
pub(crate) const ROLE: &str = "kine";
pub(crate) const DATABASE: &str = "kubernetes";
pub(crate) const CLIENT: &str = "k3s";

/// A CA and what it certifies.
pub(crate) struct Site {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) ca_pem: String,
}

impl Site {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.not_before = date_time_ymd(1970, 1, 1);
        let ca = params.self_signed(&key).expect("a CA");
        let ca_pem = ca.pem();
        Self { issuer: Issuer::new(params, key), ca_pem }
    }

    /// A certificate for calling, and with the addresses of this machine for serving too.
    pub(crate) fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(1970, 1, 1);
        params.not_after = date_time_ymd(2090, 1, 1);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
        params.subject_alt_names = addresses.map(SanType::IpAddress).to_vec();
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            ca_certificate: self.ca_pem.clone(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A client's certificate and key as files, for libpq.
pub(crate) struct Files {
    pub(crate) ca: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Files {
    pub(crate) fn write(folder: &Path, name: &str, identity: &Identity) -> Self {
        let path = |kind: &str| folder.join(format!("{name}.{kind}"));
        let files = Self { ca: path("ca"), certificate: path("pem"), key: path("key") };
        fs::write(&files.ca, &identity.ca_certificate).expect("written");
        fs::write(&files.certificate, &identity.certificate).expect("written");
        fs::write(&files.key, &identity.key).expect("written");
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).expect("private");
        files
    }

    /// What libpq needs to know.
    pub(crate) fn conninfo(&self, address: SocketAddr, user: &str, database: &str) -> String {
        format!(
            "host={} port={} user={user} dbname={database} sslmode=verify-full sslrootcert={} \
             sslcert={} sslkey={} connect_timeout=20",
            address.ip(),
            address.port(),
            self.ca.display(),
            self.certificate.display(),
            self.key.display(),
        )
    }
}

/// Settings of a gate on a free port of this machine.
pub(crate) fn settings(site: &Site, backend: &Path, max_connections: usize) -> Settings {
    Settings {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        known: Vec::new(),
        backend: backend.to_owned(),
        identity: site.identity("node1"),
        database: DATABASE.to_owned(),
        users: vec![User { role: ROLE.to_owned(), clients: vec![CLIENT.to_owned()] }],
        max_connections,
        patience: Patience::default(),
    }
}

/// A gate that says what happens on standard error, where a failed test shows it.
pub(crate) fn gate(settings: Settings) -> Gate {
    Gate::start(settings, Box::new(|line| eprintln!("gate: {line}"))).expect("a gate")
}

/// Waits until something holds; far longer than it takes on a busy machine.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < end, "still not: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
