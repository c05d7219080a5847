//! Every system of the source documents, and the lab's own seeds, are accepted.

use std::fs;
use std::path::{Path, PathBuf};

use seed::scalar::Secret;
use seed::section::{Policy, Role};
use seed::{Secrets, Seed};

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> (String, Seed) {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let seed = seed::parse(&path.to_string_lossy(), &text).unwrap_or_else(|p| panic!("{p}"));
    (text, seed)
}

fn good() -> Vec<(PathBuf, String, Seed)> {
    let mut paths: Vec<_> = fs::read_dir(folder("testdata/good"))
        .expect("the folder of good seeds")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    paths.push(folder("../../images/lab/node1.toml"));
    paths.push(folder("../../images/lab/node2.toml"));
    paths.sort();
    let read = |path: PathBuf| {
        let (text, seed) = read(&path);
        (path, text, seed)
    };
    paths.into_iter().map(read).collect()
}

/// Secrets of a plausible form for everything that the seed needs.
fn secrets_for(seed: &Seed) -> Secrets {
    let mut secrets = Secrets::default();
    let pem =
        |kind| Secret::new(format!("-----BEGIN {kind}-----\nAA\\\"=\n-----END {kind}-----\n"));
    secrets.ca_certificate = Some(pem("CERTIFICATE"));
    secrets.node_certificate = Some(pem("CERTIFICATE"));
    secrets.node_key = Some(pem("PRIVATE KEY"));
    secrets.client_certificate = Some(pem("CERTIFICATE"));
    secrets.client_key = Some(pem("EC PRIVATE KEY"));
    secrets.replication_certificate = Some(pem("CERTIFICATE"));
    secrets.replication_key = Some(pem("PRIVATE KEY"));
    secrets.k3s_token = Some(Secret::new("tok\"en\\ with \u{7f} odd letters é"));
    secrets.heartbeat_key = Some(Secret::new("the beat of two hearts"));
    secrets.database_superuser_password = Some(Secret::new("s"));
    secrets.database_replication_password = Some(Secret::new("r"));
    secrets.patroni_rest_password = Some(Secret::new("p"));
    secrets.backup_passphrase = Some(Secret::new("phrase"));
    secrets.backup_access_key = Some(Secret::new("a"));
    secrets.backup_secret_key = Some(Secret::new("b"));
    for vip in &seed.vips {
        secrets.vrrp_passwords.insert(vip.name.to_string(), Secret::new("mysecret"));
        secrets
            .vrrp_keys
            .insert(vip.name.to_string(), Secret::new("a key of thirty-two bytes or more"));
    }
    secrets
}

#[test]
fn every_source_document_can_be_said() {
    let seeds = good();
    for document in ["000", "001", "002", "003", "004"] {
        let name = |path: &Path| path.file_name().expect("a file").to_string_lossy().into_owned();
        let count = seeds.iter().filter(|(path, ..)| name(path).starts_with(document)).count();
        assert!(count > 0, "no seed for document {document}");
    }
    for role in Role::ALL {
        let used = seeds.iter().any(|(_, _, seed)| seed.node.roles.contains(role));
        assert!(used, "no good seed has the role {role}");
    }
}

#[test]
fn sealing_keeps_the_text_and_brings_the_secrets() {
    for (path, text, seed) in good() {
        let secrets = secrets_for(&seed);
        let sealed = seed::sealed(&text, &secrets).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        assert!(sealed.starts_with(&text), "{path:?} was changed by sealing");
        let read = seed::parse("sealed", &sealed).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(Secrets::from_toml("secrets.toml", &secrets.to_toml()), Ok(secrets.clone()));
        assert_eq!(read.secrets, Some(secrets));
        assert_eq!(read.redacted(), seed);
        assert!(matches!(
            seed::sealed(&sealed, &Secrets::default()),
            Err(seed::SealError::AlreadySealed)
        ));
    }
}

#[test]
fn sealing_without_what_a_role_needs_is_refused() {
    let (text, seed) = read(&folder("../../images/lab/node1.toml"));
    let mut secrets = secrets_for(&seed);
    secrets.heartbeat_key = None;
    let error = seed::sealed(&text, &secrets).expect_err("a pair needs its heartbeat key");
    assert!(error.to_string().contains("heartbeat_key"), "{error}");
}

#[test]
fn secrets_are_never_shown() {
    let (text, seed) = read(&folder("../../images/lab/node1.toml"));
    let sealed = seed::sealed(&text, &secrets_for(&seed)).expect("valid secrets");
    let seed = seed::parse("sealed", &sealed).expect("a valid seed");
    let shown = format!("{seed:?}{}", serde_json::to_string(&seed).expect("plain data"));
    for hidden in
        ["odd letters", "two hearts", "mysecret", "a key of", "PRIVATE KEY", "CERTIFICATE"]
    {
        assert!(!shown.contains(hidden), "{hidden} is shown");
    }
    assert!(shown.contains(seed::scalar::REDACTED));
    assert!(seed.secrets.expect("sealed").expose().to_string().contains("PRIVATE KEY"));
}

#[test]
fn the_lab_pair_is_what_it_says() {
    let (_, one) = read(&folder("../../images/lab/node1.toml"));
    let (_, two) = read(&folder("../../images/lab/node2.toml"));
    assert_eq!(one.cluster, two.cluster);
    assert_eq!(one.node.name.as_str(), "node1");
    assert_eq!(two.node.name.as_str(), "node2");
    assert!(one.secrets.is_none(), "a committed seed has no secrets");
    for seed in [&one, &two] {
        assert_eq!(seed.vips[0].addresses, one.vips[0].addresses);
        assert_eq!(seed.vips[0].vrid, one.vips[0].vrid);
        assert_eq!(seed.failover.as_ref().and_then(|f| f.policy), Some(Policy::Availability));
    }
}

#[test]
fn defaults_follow_from_other_sections() {
    let (_, pair) = read(&folder("testdata/good/003-postgres.toml"));
    let policy = pair.failover.and_then(|failover| failover.policy);
    assert_eq!(policy, Some(Policy::Consistency), "with a witness nothing is traded");
    let (_, stacked) = read(&folder("testdata/good/004-stacked-node1.toml"));
    let frontend = &stacked.balancer.expect("a balancer").frontends[0];
    let servers: Vec<_> = frontend
        .servers
        .iter()
        .map(|server| format!("{}:{}", server.address, server.port.expect("frozen").get()))
        .collect();
    assert_eq!(servers, ["172.16.217.171:6443", "172.16.217.172:6443", "172.16.217.173:6443"]);
    let (_, patroni) = read(&folder("testdata/good/002-patroni.toml"));
    let etcd = patroni.patroni.expect("patroni").etcd;
    assert_eq!(etcd[2].as_str(), "https://172.16.16.113:2379");
}
