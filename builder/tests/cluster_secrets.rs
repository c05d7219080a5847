//! A site's secrets: what is made on first use, reused by the next node, and refused.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::ScopedJoinHandle;

use builder::cluster::secrets::{Ensured, SecretsError, ensure, folder_beside};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use seed::Seed;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// One node of a pair with everything that wants a secret.
fn pair_node(name: &str, address: &str) -> String {
    format!(
        r#"
format = 1

[node]
name = "{name}"
roles = ["database", "server"]

[cluster]
name = "plant-3"

[[cluster.nodes]]
name = "node1"
roles = ["database", "server"]
addresses = ["192.168.77.11", "fd77::11"]

[[cluster.nodes]]
name = "node2"
roles = ["database", "server"]
addresses = ["192.168.77.12", "fd77::12"]

[[links]]
name = "lan"
match = {{ name = "enp*" }}
addresses = ["192.168.77.{address}/24", "fd77::{address}/64"]

[dns]
hosts = [{{ address = "192.168.77.10", names = ["postgres.plant.example"] }}]

[[vips]]
name = "api"
addresses = ["192.168.77.10/24"]
vrid = 51
link = "lan"
version = 2
authentication = "password"
permit = "database"

[[vips]]
name = "extra"
addresses = ["192.168.77.20/24"]
vrid = 52
link = "lan"
authentication = "hmac"

[database]
name = "kubernetes"

[[database.users]]
name = "k3s"
clients = ["k3s"]

[[database.users]]
name = "reports"
clients = ["report tool"]
owner = false

[database.backup]
target = "directory"
directory = "/state/backup"

[k3s]
datastore = "database"
"#
    )
}

fn read(text: &str) -> Seed {
    seed::parse("node.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn node1() -> Seed {
    read(&pair_node("node1", "11"))
}

fn node2() -> Seed {
    read(&pair_node("node2", "12"))
}

fn text(secret: Option<&seed::scalar::Secret>) -> &str {
    secret.expect("the secret is there").expose()
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate in PEM")
}

/// Verifies a chain as a TLS peer would, at a time in seconds since 1970.
fn verify(
    ensured: &Ensured,
    pem: &str,
    usage: KeyUsage,
    seconds: u64,
) -> Result<(), webpki::Error> {
    let root = certificate(text(ensured.secrets.ca_certificate.as_ref()));
    let anchor = anchor_from_trusted_cert(&root)?;
    let leaf = certificate(pem);
    let leaf = EndEntityCert::try_from(&leaf)?;
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    leaf.verify_for_usage(algorithms, &[anchor], &[], time, usage, None, None).map(drop)
}

fn speaks_for(pem: &str, name: &str) -> bool {
    let certificate = certificate(pem);
    let leaf = EndEntityCert::try_from(&certificate).expect("a certificate");
    let name = match name.parse::<IpAddr>() {
        Ok(address) => ServerName::IpAddress(address.into()),
        Err(_) => ServerName::try_from(name).expect("a host name"),
    };
    leaf.verify_is_valid_for_subject_name(&name).is_ok()
}

const DAY: u64 = 24 * 3600;
const YEAR: u64 = 365 * DAY;
/// A moment in 2027.
const SOON: u64 = 57 * YEAR;

fn site() -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().expect("a temporary folder");
    let folder = folder_beside(&place.path().join("node1.toml"), &node1());
    (place, folder)
}

#[test]
fn the_folder_lies_beside_the_seed() {
    let folder = folder_beside(Path::new("/site/node1.toml"), &node1());
    assert_eq!(folder, Path::new("/site/secrets/plant-3"));
    assert_eq!(folder_beside(Path::new("node1.toml"), &node1()), Path::new("secrets/plant-3"));
}

#[test]
fn a_sealed_seed_has_all_that_it_needs() {
    let (_place, folder) = site();
    let source = pair_node("node1", "11");
    let ensured = ensure(&folder, &read(&source)).expect("secrets");
    assert!(ensured.created);
    let sealed = seed::sealed(&source, &ensured.secrets).expect("a sealed seed");
    let sealed = read(&sealed).secrets.expect("[secrets]");
    assert_eq!(sealed, ensured.secrets);
    assert_eq!(sealed.vrrp_passwords["api"].expose().len(), 8);
    assert_eq!(sealed.vrrp_keys["extra"].expose().len(), 64);
    assert_eq!(text(sealed.k3s_token.as_ref()).len(), 64);
    assert_ne!(sealed.k3s_token, sealed.k3s_agent_token);
}

#[test]
fn the_node_certificate_speaks_for_all_its_names_and_no_others() {
    let (_place, folder) = site();
    let ensured = ensure(&folder, &node1()).expect("secrets");
    let pem = text(ensured.secrets.node_certificate.as_ref());
    verify(&ensured, pem, KeyUsage::server_auth(), SOON).expect("serves");
    verify(&ensured, pem, KeyUsage::client_auth(), SOON).expect("calls");
    for name in [
        "node1",
        "node1.plant-3",
        "plant-3",
        "localhost",
        "127.0.0.1",
        "::1",
        "192.168.77.11",
        "fd77::11",
        "192.168.77.10",
        "192.168.77.20",
        "postgres.plant.example",
    ] {
        assert!(speaks_for(pem, name), "{name}");
    }
    for name in ["node2", "192.168.77.12", "fd77::12", "example.org"] {
        assert!(!speaks_for(pem, name), "{name}");
    }
}

/// The database's own library is the strictest judge of the form of certificates.
#[test]
fn openssl_accepts_the_chain_in_its_strict_mode() {
    let (_place, folder) = site();
    ensure(&folder, &node1()).expect("secrets");
    let cases = [
        ("nodes/node1/node.pem", "sslserver", true),
        ("nodes/node1/node.pem", "sslclient", true),
        ("nodes/node1/client.pem", "sslclient", true),
        ("nodes/node1/client.pem", "sslserver", false),
        ("operator.pem", "sslclient", true),
    ];
    for (file, purpose, accepted) in cases {
        let mut openssl = Command::new("openssl");
        openssl.args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"]);
        openssl.arg(folder.join("ca.pem")).arg(folder.join(file));
        match openssl.output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.success(), accepted, "{file} as {purpose}: {said}");
            }
            Err(error) => {
                println!("skipped: openssl can't be run ({error})");
                return;
            }
        }
    }
}

#[test]
fn clients_can_call_but_not_serve() {
    let (_place, folder) = site();
    let ensured = ensure(&folder, &node1()).expect("secrets");
    let secrets = &ensured.secrets;
    let operator = fs::read_to_string(folder.join("operator.pem")).expect("operator.pem");
    let clients = [
        (text(secrets.client_certificate.as_ref()), "k3s"),
        (text(secrets.replication_certificate.as_ref()), "replication"),
        (operator.as_str(), "operator"),
    ];
    for (pem, common_name) in clients {
        verify(&ensured, pem, KeyUsage::client_auth(), SOON).expect("calls");
        let refused = verify(&ensured, pem, KeyUsage::server_auth(), SOON);
        assert!(refused.is_err(), "{common_name} must not serve");
        assert_eq!(common_name_of(pem), common_name);
    }
    let report = fs::read_to_string(folder.join("clients/report%20tool.pem")).expect("client");
    assert_eq!(common_name_of(&report), "report tool");
}

fn common_name_of(pem: &str) -> String {
    let der = certificate(pem);
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).expect("a certificate");
    let mut names = parsed.subject().iter_common_name();
    let name = names.next().expect("a common name");
    name.as_str().expect("text").to_owned()
}

#[test]
fn certificates_outlive_wrong_clocks_and_the_hardware() {
    let (_place, folder) = site();
    let ensured = ensure(&folder, &node1()).expect("secrets");
    let pem = text(ensured.secrets.node_certificate.as_ref());
    let valid = |seconds| verify(&ensured, pem, KeyUsage::server_auth(), seconds).is_ok();
    assert!(valid(1), "a dead clock battery");
    assert!(valid(SOON + 25 * YEAR));
    assert!(!valid(SOON + 60 * YEAR));
}

#[test]
fn another_site_is_not_trusted() {
    let (_place, folder) = site();
    let (_other_place, other_folder) = site();
    let ours = ensure(&folder, &node1()).expect("secrets");
    let theirs = ensure(&other_folder, &node1()).expect("secrets");
    let pem = text(theirs.secrets.node_certificate.as_ref());
    assert!(verify(&ours, pem, KeyUsage::server_auth(), SOON).is_err());
    assert_ne!(ours.secrets.k3s_token, theirs.secrets.k3s_token);
}

#[test]
fn everything_in_the_folder_is_private() {
    let (place, folder) = site();
    ensure(&folder, &node1()).expect("secrets");
    let mut folders = vec![place.path().join("secrets")];
    let mut files = 0;
    while let Some(next) = folders.pop() {
        let mode = fs::metadata(&next).expect("a folder").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", next.display());
        for entry in fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let mode = fs::metadata(&path).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
    }
    assert!(files > 10, "{files} files");
}

#[test]
fn the_second_node_shares_what_is_the_sites_and_has_its_own_keys() {
    let (_place, folder) = site();
    let first = ensure(&folder, &node1()).expect("secrets").secrets;
    let second = ensure(&folder, &node2()).expect("secrets");
    assert!(!second.created);
    let second = second.secrets;
    assert_eq!(first.ca_certificate, second.ca_certificate);
    assert_eq!(first.k3s_token, second.k3s_token);
    assert_eq!(first.heartbeat_key, second.heartbeat_key);
    assert_eq!(first.vrrp_passwords, second.vrrp_passwords);
    assert_ne!(first.node_key, second.node_key);
    assert_ne!(first.replication_key, second.replication_key);
    assert_ne!(first.client_key, second.client_key);
}

#[test]
fn the_same_node_gets_the_same_bytes_again() {
    let (_place, folder) = site();
    let first = ensure(&folder, &node1()).expect("secrets");
    let again = ensure(&folder, &node1()).expect("secrets");
    assert_eq!(first.secrets, again.secrets);
    assert_eq!(first.operator_fingerprint, again.operator_fingerprint);
}

#[test]
fn a_new_address_gets_a_new_certificate_for_the_old_key() {
    let (_place, folder) = site();
    let before = ensure(&folder, &node1()).expect("secrets").secrets;
    let moved = read(&pair_node("node1", "11").replace("192.168.77.10/24", "192.168.77.99/24"));
    let after = ensure(&folder, &moved).expect("secrets").secrets;
    assert_eq!(before.node_key, after.node_key);
    assert!(speaks_for(text(after.node_certificate.as_ref()), "192.168.77.99"));
    assert_eq!(before.client_certificate, after.client_certificate);
}

#[test]
fn builders_at_the_same_time_make_one_site() {
    let (_place, folder) = site();
    let all: Vec<Ensured> = std::thread::scope(|scope| {
        let build = |number: usize| {
            let seed = if number.is_multiple_of(2) { node1() } else { node2() };
            ensure(&folder, &seed).expect("secrets")
        };
        let builders: Vec<_> = (0..8).map(|number| scope.spawn(move || build(number))).collect();
        let ended = builders.into_iter().map(ScopedJoinHandle::join);
        ended.map(|one| one.expect("no panic")).collect()
    });
    assert_eq!(all.iter().filter(|one| one.created).count(), 1);
    for one in &all {
        assert_eq!(one.secrets.ca_certificate, all[0].secrets.ca_certificate);
        assert_eq!(one.secrets.k3s_token, all[0].secrets.k3s_token);
    }
    assert_eq!(all[0].secrets, all[2].secrets);
}

#[test]
fn what_others_can_read_is_refused_with_the_mend() {
    let (_place, folder) = site();
    ensure(&folder, &node1()).expect("secrets");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("chmod");
    let error = ensure(&folder, &node1()).expect_err("too open").to_string();
    assert!(error.contains("(mode 755): run `chmod 700 "), "{error}");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("chmod");
    let key = folder.join("ca.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("chmod");
    let error = ensure(&folder, &node1()).expect_err("too open").to_string();
    assert!(error.contains("ca.key can be read by others (mode 644)"), "{error}");
}

#[test]
fn a_lost_ca_key_is_not_replaced_behind_ones_back() {
    let (_place, folder) = site();
    ensure(&folder, &node1()).expect("secrets");
    fs::remove_file(folder.join("ca.key")).expect("removed");
    let error = ensure(&folder, &node1()).expect_err("no key");
    assert!(matches!(error, SecretsError::LostKey { .. }), "{error}");
}

#[test]
fn a_key_of_another_ca_is_noticed() {
    let (_place, folder) = site();
    let (_other_place, other) = site();
    ensure(&folder, &node1()).expect("secrets");
    ensure(&other, &node1()).expect("secrets");
    fs::copy(other.join("ca.key"), folder.join("ca.key")).expect("copied");
    let error = ensure(&folder, &node1()).expect_err("strangers").to_string();
    assert!(error.contains("ca.pem does not belong to ca.key"), "{error}");
}

#[test]
fn a_crash_between_key_and_certificate_leaves_nothing_to_mend() {
    let (_place, folder) = site();
    ensure(&folder, &node1()).expect("secrets");
    let key = fs::read_to_string(folder.join("ca.key")).expect("ca.key");
    fs::remove_file(folder.join("ca.pem")).expect("removed");
    let ensured = ensure(&folder, &node1()).expect("secrets");
    assert!(ensured.created);
    assert_eq!(fs::read_to_string(folder.join("ca.key")).expect("ca.key"), key);
    let pem = text(ensured.secrets.node_certificate.as_ref());
    verify(&ensured, pem, KeyUsage::server_auth(), SOON).expect("a certificate of the new CA");
}

#[test]
fn damaged_files_are_named() {
    let (_place, folder) = site();
    ensure(&folder, &node1()).expect("secrets");
    fs::write(folder.join("ca.pem"), "nothing").expect("written");
    let error = ensure(&folder, &node1()).expect_err("no certificate").to_string();
    assert!(error.contains("ca.pem holds no certificate"), "{error}");
    let (_place, folder) = site();
    ensure(&folder, &node1()).expect("secrets");
    fs::write(folder.join("tokens.toml"), "k3s_tokken = \"x\"\n").expect("written");
    let error = ensure(&folder, &node1()).expect_err("unknown key").to_string();
    assert!(error.contains("tokens.toml: unknown field `k3s_tokken`"), "{error}");
}

#[test]
fn given_tokens_are_kept() {
    let (_place, folder) = site();
    ensure(&folder, &node1()).expect("secrets");
    let tokens = folder.join("tokens.toml");
    let text = "# Ours.\n[vrrp_passwords]\napi = \"mysecret\"\n";
    fs::write(&tokens, text).expect("written");
    let ensured = ensure(&folder, &node1()).expect("secrets");
    assert_eq!(ensured.secrets.vrrp_passwords["api"].expose(), "mysecret");
}

#[test]
fn an_agent_learns_nothing_that_servers_share() {
    let (_place, folder) = site();
    let server = ensure(&folder, &node1()).expect("secrets").secrets;
    let agent = r#"
format = 1
[node]
name = "agent1"
roles = ["agent"]
[cluster]
name = "plant-3"
[[cluster.nodes]]
name = "node1"
roles = ["database", "server"]
addresses = ["192.168.77.11"]
[[cluster.nodes]]
name = "node2"
roles = ["database", "server"]
addresses = ["192.168.77.12"]
[[cluster.nodes]]
name = "agent1"
roles = ["agent"]
addresses = ["192.168.77.31"]
[[links]]
name = "lan"
match = { name = "enp*" }
addresses = ["192.168.77.31/24"]
[k3s]
server = "https://192.168.77.10:6443"
"#;
    let agent = ensure(&folder, &read(agent)).expect("secrets").secrets;
    assert_eq!(agent.k3s_token, server.k3s_agent_token);
    assert_ne!(agent.k3s_token, server.k3s_token);
    assert!(agent.heartbeat_key.is_none() && agent.client_key.is_none());
    assert!(agent.vrrp_passwords.is_empty());
}

#[test]
fn s3_keys_are_asked_for() {
    let (_place, folder) = site();
    let backup = "target = \"s3\"\nendpoint = \"https://s3.example.org\"\nbucket = \"plant-3\"";
    let directory = "target = \"directory\"\ndirectory = \"/state/backup\"";
    let seed = read(&pair_node("node1", "11").replace(directory, backup));
    let error = ensure(&folder, &seed).expect_err("no keys").to_string();
    assert!(error.starts_with("backup_access_key is needed"), "{error}");
    assert!(error.contains("tokens.toml"), "{error}");
}

#[test]
fn a_node_cannot_be_called_like_a_client() {
    let (_place, folder) = site();
    let seed = read(&pair_node("node1", "11").replace("\"node2\"", "\"k3s\""));
    let error = ensure(&folder, &seed).expect_err("mistakable").to_string();
    assert!(error.contains("the node \"k3s\" of cluster \"plant-3\""), "{error}");
    assert!(!folder.exists(), "nothing was made");
}
