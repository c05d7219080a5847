//! What the configuration takes, and what it says about each mistake.

use super::*;

const GOOD: &str = r#"
cluster = "plant3"
node = "node2"
pair = ["node1", "node2"]
state = "/state/pgkeeper"
heartbeat_key = "0123456789abcdef"

[identity]
ca_certificate = "/etc/ca.pem"
certificate = "/etc/node.pem"
key = "/etc/node.key"
replication_certificate = "/etc/replication.pem"
replication_key = "/etc/replication.key"

[failover]
gateways = ["10.0.0.1"]
interval_ms = 100
loss_ms = 500

[[channels]]
name = "ipv4"
local = "10.0.0.2:7430"
peer = "10.0.0.3:7430"

[gate]
listen = "[::]:5432"

[postgres]
programs = "/usr/lib/postgresql/17/bin"
folder = "/state/postgres"
sockets = "/run/postgres"
listen = ["10.0.0.2"]
port = 5433
peer_port = 5433
peers = ["10.0.0.3"]
database = "kubernetes"
max_connections = 200
shared_buffers = 33554432

[[postgres.users]]
role = "k3s"
clients = ["k3s"]
"#;

fn changed(from: &str, to: &str) -> Result<Config, String> {
    assert!(GOOD.contains(from), "{from}");
    Config::parse(&GOOD.replacen(from, to, 1))
}

#[test]
fn a_good_one_becomes_settings_of_the_protocol() {
    let config = Config::parse(GOOD).expect("good");
    let settings = config.protocol();
    assert_eq!((settings.side, config.peer()), (Side::B, "node1"));
    assert_eq!(settings.arbiter, Arbiter::Policy(Policy::Availability));
    assert_eq!(settings.times, Times::default());
    assert_eq!(config.postgres.socket(), Path::new("/run/postgres/.s.PGSQL.5433"));
    assert!(config.postgres.synchronous && config.postgres.users[0].owner);
}

#[test]
fn bounds_of_silence_grow_together() {
    let config = changed("loss_ms = 500", "loss_ms = 1000").expect("good");
    let times = config.protocol().times;
    assert_eq!(times.promote_window, Duration::from_secs(3));
    assert!(times.solo_window > times.promote_window + Times::default().restart_bound);
    assert_eq!(times.hold_down, Times::default().hold_down);
}

#[test]
fn a_witness_or_a_fence_takes_the_policy_s_place() {
    let witness = "[failover]\nwitness = { address = \"10.0.0.9\", port = 7431 }";
    let config = changed("[failover]", witness).expect("good");
    assert_eq!(config.protocol().arbiter, Arbiter::Witness);
    let config = changed("[failover]", "[failover]\nfence = [\"/bin/true\"]").expect("good");
    assert_eq!(config.protocol().arbiter, Arbiter::Fence);
}

#[test]
fn each_mistake_is_named() {
    for (from, to, said) in [
        ("node2\"\npair", "node3\"\npair", "\"node3\" is neither \"node1\" nor \"node2\""),
        ("[\"node1\", \"node2\"]", "[\"node2\", \"node2\"]", "names \"node2\" twice"),
        ("0123456789abcdef", "short", "fewer than 16 characters"),
        ("interval_ms = 100", "interval_ms = 1", "interval_ms is at least 20"),
        ("loss_ms = 500", "loss_ms = 300", "loss_ms is 500 to 60000"),
        ("[failover]", "[failover]\nfence = [\"off\"]", "whole path"),
        ("[failover]", "[failover]\npolicy = \"fast\"", "unknown variant `fast`"),
        ("[failover]", "[failovr]", "unknown field `failovr`"),
        ("local = \"10.0.0.2:7430\"", "local = \"[::]:7430\"", "of one family"),
        ("peer = \"10.0.0.3:7430\"", "peer = \"0.0.0.0:7430\"", "peer needs an address"),
        ("10.0.0.2:7430", "10.0.0.2", "invalid socket address"),
        ("peers = [\"10.0.0.3\"]", "peers = []", "need an address each"),
        ("cluster =", "realtime_priority = 100\ncluster =", "1 to 99"),
    ] {
        let why = changed(from, to).expect_err(to);
        assert!(why.contains(said), "{to}: {why}");
    }
    let twice = "[[channels]]\nname = \"ipv4\"\nlocal = \"10.0.0.4:1\"\npeer = \"10.0.0.5:1\"\n";
    let why = changed("[gate]", &format!("{twice}\n[gate]")).expect_err("twice");
    assert!(why.contains("\"ipv4\" is there twice"), "{why}");
    let users = GOOD.find("[[postgres.users]]").expect("users");
    let why = Config::parse(&format!("{}users = []\n", &GOOD[..users])).expect_err("nobody");
    assert!(why.contains("nobody may log in"), "{why}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("/nonexistent/pgkeeper.toml")).expect_err("absent");
    assert!(error.to_string().contains("/nonexistent/pgkeeper.toml"), "{error}");
}
