//! The cluster files that are shipped: each becomes a site whose seeds are valid and sealed.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use builder::cluster::secrets::{ensure, folder_beside};
use builder::cluster::{ClusterError, Created, create};
use seed::Seed;
use seed::section::{Authentication, BalancerKind, Datastore, Policy, Role};

fn example(name: &str) -> PathBuf {
    let builder = Path::new(env!("CARGO_MANIFEST_DIR"));
    builder.join("../images/clusters").join(name)
}

/// A site made from an example, with its seeds read.
struct Made {
    _place: tempfile::TempDir,
    created: Created,
    seeds: Vec<Seed>,
}

fn make(name: &str) -> Made {
    let place = tempfile::tempdir().expect("a temporary folder");
    let out = place.path().join("site");
    let created = create(&example(name), &out).unwrap_or_else(|error| panic!("{name}: {error}"));
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("a seed");
        seed::parse(&path.display().to_string(), &text).unwrap_or_else(|error| panic!("{error}"))
    };
    let seeds = created.seeds.iter().map(read).collect();
    Made { _place: place, created, seeds }
}

impl Made {
    fn node(&self, name: &str) -> &Seed {
        let mut seeds = self.seeds.iter();
        seeds.find(|seed| seed.node.name.as_str() == name).expect("a node of that name")
    }

    fn text(&self, name: &str) -> String {
        let folder = self.created.seeds[0].parent().expect("a folder");
        fs::read_to_string(folder.join(format!("{name}.toml"))).expect("a seed")
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn every_example_becomes_a_site() {
    let folder = fs::read_dir(example("")).expect("images/clusters");
    let mut count = 0;
    for entry in folder {
        let name = entry.expect("an entry").file_name();
        let made = make(name.to_str().expect("a plain name"));
        assert!(made.created.new_secrets);
        for (seed, path) in made.seeds.iter().zip(&made.created.seeds) {
            assert_eq!(folder_beside(path, seed), made.created.secrets);
            let ensured = ensure(&made.created.secrets, seed).expect("secrets");
            assert!(!ensured.created);
            let text = fs::read_to_string(path).expect("a seed");
            assert!(!text.contains("[secrets"), "{}", path.display());
            seed::sealed(&text, &ensured.secrets).unwrap_or_else(|error| panic!("{error}"));
            let operators = seed.operators.as_ref().expect("[operators]");
            let listed = operators.fingerprints.iter().map(seed::scalar::Fingerprint::as_str);
            assert_eq!(listed.collect::<Vec<_>>(), [made.created.operator_fingerprint.as_str()]);
            assert_eq!(seed.cluster, made.seeds[0].cluster);
        }
        count += 1;
    }
    assert_eq!(count, 7);
}

#[test]
fn seeds_are_private_and_lie_in_a_private_folder() {
    let made = make("pair.toml");
    for path in &made.created.seeds {
        let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode(path), 0o600);
        assert_eq!(mode(path.parent().expect("a folder")), 0o700);
    }
}

#[test]
fn a_seed_reads_as_if_written_by_hand() {
    let made = make("pair.toml");
    let text = made.text("node2").replace(&made.created.operator_fingerprint, "FINGERPRINT");
    insta::assert_snapshot!(text);
}

#[test]
fn a_server_beside_the_pair_gets_its_database_from_outside() {
    let made = make("external-pg.toml");
    let text = made.text("k3s-server-1").replace(&made.created.operator_fingerprint, "FINGERPRINT");
    insta::assert_snapshot!(text);
    let server = made.node("k3s-server-1");
    let ensured = ensure(&made.created.secrets, server).expect("secrets");
    let (ca, datastore) =
        (ensured.secrets.ca_certificate, ensured.secrets.datastore_ca_certificate);
    assert_eq!(ca, datastore);
    assert!(made.node("postgres-1").k3s.is_none());
    assert!(made.node("k3s-agent").database.is_none());
    let nginx = made.node("nginx").balancer.as_ref().expect("[balancer]");
    assert_eq!(nginx.kind, BalancerKind::Nginx);
}

#[test]
fn the_witness_and_the_crossover_follow_from_the_nodes() {
    let made = make("pair-witness.toml");
    for (name, peer) in [("node1", "10.77.0.2"), ("node2", "10.77.0.1")] {
        let failover = made.node(name).failover.as_ref().expect("[failover]");
        let witness = failover.witness.as_ref().expect("a witness");
        assert_eq!(witness.address.as_str(), "192.168.77.13");
        assert_eq!(failover.channels[0].peer, address(peer));
        assert_eq!(failover.policy, Some(Policy::Consistency));
    }
    let witness = made.node("witness");
    assert!(witness.witness.is_some() && witness.vips.is_empty());
    assert!(witness.database.is_none() && witness.k3s.is_none());
    let peers = &made.node("node1").vips[0].peers;
    assert_eq!(*peers, [address("192.168.77.12"), address("fd77::12")]);
}

#[test]
fn the_document_with_two_addresses_is_active_on_both() {
    let made = make("stacked3.toml");
    let first = made.node("master-1");
    let priorities = |name: &str| -> Vec<u8> {
        let vips = &made.node(name).vips;
        vips.iter().map(|vip| vip.priority.get()).collect()
    };
    assert_eq!(priorities("master-1"), [150, 50]);
    assert_eq!(priorities("master-2"), [100, 100]);
    assert_eq!(priorities("master-3"), [50, 150]);
    assert_eq!(first.vips[0].peers, [address("172.16.217.172"), address("172.16.217.173")]);
    let joins = |name: &str| {
        let k3s = made.node(name).k3s.as_ref().expect("[k3s]");
        k3s.server.as_ref().map(ToString::to_string)
    };
    assert_eq!(joins("master-1"), None);
    assert_eq!(joins("master-2").as_deref(), Some("https://172.16.217.171:6443"));
    let secrets = ensure(&made.created.secrets, first).expect("secrets").secrets;
    assert_eq!(secrets.vrrp_passwords["api-1"].expose(), "pass");
}

#[test]
fn the_seven_have_what_their_document_says() {
    let made = make("seven.toml");
    assert_eq!(made.seeds.len(), 7);
    let vip = &made.node("loadbalancer02").vips[0];
    assert_eq!((vip.vrid.get(), vip.priority.get()), (1, 100));
    assert_eq!(vip.authentication, Authentication::Password);
    let check = &vip.checks[0];
    assert_eq!((check.fall.get(), check.rise.get(), check.weight.get()), (5, 2, -2));
    let master = made.node("kmaster02");
    assert_eq!(master.cluster.with_role(Role::Patroni).count(), 3);
    let k3s = master.k3s.as_ref().expect("[k3s]");
    assert_eq!(k3s.datastore, Some(Datastore::ExternalEtcd));
    assert!(k3s.tls_san.iter().any(|name| name.as_str() == "172.16.16.100"));
    let worker = made.node("kworker01");
    assert!(worker.registry.is_some() && worker.services.is_none() && worker.vips.is_empty());
    let agent = worker.k3s.as_ref().expect("[k3s]");
    assert_eq!(agent.mirrors.len(), 1);
    assert!(agent.datastore.is_none() && agent.disable.is_empty());
}

#[test]
fn old_seeds_are_kept_and_their_secrets_used_again() {
    let made = make("pair.toml");
    let out = made.created.seeds[0].parent().expect("a folder");
    let before = made.text("node1");
    let error = create(&example("pair.toml"), out).expect_err("exists");
    assert!(matches!(error, ClusterError::Exists { .. }), "{error}");
    assert!(error.to_string().contains("give another folder with -o"), "{error}");
    assert_eq!(made.text("node1"), before);
    for seed in &made.created.seeds {
        fs::remove_file(seed).expect("removed");
    }
    let again = create(&example("pair.toml"), out).expect("made again");
    assert!(!again.new_secrets);
    assert_eq!(again.operator_fingerprint, made.created.operator_fingerprint);
    assert_eq!(made.text("node1"), before);
}

#[test]
fn one_old_seed_keeps_all_from_being_written() {
    let place = tempfile::tempdir().expect("a temporary folder");
    fs::write(place.path().join("node2.toml"), "mine").expect("written");
    create(&example("pair.toml"), place.path()).expect_err("exists");
    let names = fs::read_dir(place.path()).expect("a folder");
    assert_eq!(names.count(), 1, "nothing else was made");
}

#[test]
fn an_absent_cluster_file_is_named() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let missing = place.path().join("missing.toml");
    let error = create(&missing, place.path()).expect_err("absent").to_string();
    assert!(error.contains("missing.toml") && error.contains("images/clusters"), "{error}");
}
