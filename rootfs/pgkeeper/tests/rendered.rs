//! What the overlay renders from real seeds is a configuration that the keeper takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use failover::{Arbiter, Policy, Side};
use pgkeeper::keeper::Config;
use seed::Seed;
use seed::render::{context, render};
use seed::scalar::Secret;
use seed::section::Role;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The configuration of a seed; none if its node is no member of a pair.
fn config(path: &Path) -> Option<Config> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).expect("a seed");
    let mut seed: Seed = seed::parse(&name, &text).unwrap_or_else(|problems| panic!("{problems}"));
    if !seed.node.roles.contains(&Role::Database) {
        return None;
    }
    let mut secrets = seed.secrets.take().unwrap_or_default();
    secrets.heartbeat_key = Some(Secret::new("ab".repeat(32)));
    seed.secrets = Some(secrets);
    let template = root().join("overlays/postgres/templates/pgkeeper.toml.hbs");
    let source = fs::read_to_string(template).expect("the template");
    let inputs =
        ["cluster", "self", "nodes.database", "failover", "database", "secrets.heartbeat_key"];
    let text = render("pgkeeper.toml.hbs", &source, &inputs.map(str::to_owned), &context(&seed));
    let text = text.unwrap_or_else(|error| panic!("{name}: {error}"));
    Some(Config::parse(&text).unwrap_or_else(|why| panic!("{name}: {why}\n{text}")))
}

#[test]
fn every_example_seed_of_a_pair_gives_a_good_configuration() {
    let folder = root().join("rootfs/seed/testdata/good");
    let seeds = fs::read_dir(folder).expect("seeds").flatten().map(|entry| entry.path());
    let configs: Vec<Config> = seeds.filter_map(|path| config(&path)).collect();
    assert!(configs.len() >= 2, "{} seeds of pairs", configs.len());
}

#[test]
fn the_values_of_the_seed_arrive() {
    let pair = config(&root().join("rootfs/seed/testdata/good/000-pair-node1.toml")).expect("one");
    assert_eq!((pair.side(), pair.peer(), pair.cluster.as_str()), (Side::A, "node2", "shop-17"));
    assert_eq!(pair.protocol().arbiter, Arbiter::Fence);
    assert_eq!(pair.failover.fence[0], "/usr/bin/ipmitool");
    assert_eq!(pair.protocol().times.loss, Duration::from_millis(500));
    let ways: Vec<_> = pair
        .channels
        .iter()
        .map(|way| (way.name.as_str(), way.local.to_string(), way.peer.to_string(), &way.link))
        .collect();
    let here = |ip: &str| format!("{ip}:7430");
    assert_eq!(ways[0], ("ipv4", here("10.0.10.11"), here("10.0.10.12"), &None));
    let cable = Some("cable".to_owned());
    assert_eq!(ways[1], ("cable", here("0.0.0.0"), here("169.254.77.2"), &cable));
    assert_eq!(pair.postgres.settings["work_mem"], "16MB");
    assert_eq!(pair.postgres.settings["autovacuum"], "on");
    assert_eq!((pair.postgres.max_connections, pair.postgres.shared_buffers), (300, 128 << 20));
}

#[test]
fn the_two_nodes_of_the_lab_are_each_other_s_peers_on_both_families() {
    let one = config(&root().join("images/lab/node1.toml")).expect("a pair");
    let two = config(&root().join("images/lab/node2.toml")).expect("a pair");
    assert_eq!((one.side(), two.side()), (Side::A, Side::B));
    assert_eq!(one.protocol().arbiter, Arbiter::Policy(Policy::Availability));
    assert_eq!(one.channels.len(), 2);
    for (ours, theirs) in one.channels.iter().zip(&two.channels) {
        assert_eq!((ours.local, ours.peer), (theirs.peer, theirs.local), "{}", ours.name);
        assert_eq!(ours.name, theirs.name);
    }
    assert_eq!(one.postgres.peers, two.postgres.listen);
}

#[test]
fn a_witness_arrives() {
    let seed = root().join("rootfs/seed/testdata/good/003-postgres.toml");
    let pair = config(&seed).expect("a pair");
    assert_eq!(pair.protocol().arbiter, Arbiter::Witness);
    let witness = pair.failover.witness.expect("a witness");
    assert_eq!((witness.address.as_str(), witness.port), ("10.161.129.118", 7431));
}
