//! The witness over TLS: who may ask about what, and what its answers rest on.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use failover::{Ask, Configuration, Epoch, Members, Side};
use pgkeeper::Identity;
use pgkeeper::witness::client::{Client, ClientError};
use pgkeeper::witness::register::{FileDisk, Kept};
use pgkeeper::witness::{Config, Server, cluster_number};
use support::Site;
use tempfile::TempDir;

/// Far more than anything here takes, also on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);
const INCARNATION: u64 = 42;

struct Bench {
    folder: TempDir,
    plant: Site,
    shop: Site,
    address: SocketAddr,
    said: Arc<Mutex<Vec<String>>>,
}

fn configured(folder: &Path, name: &str, site: &Site) -> String {
    let own = folder.join(name);
    fs::create_dir(&own).expect("a folder");
    let witness = site.identity("witness1");
    fs::write(own.join("ca.pem"), &witness.ca_certificate).expect("written");
    fs::write(own.join("witness.pem"), &witness.certificate).expect("written");
    fs::write(own.join("witness.key"), &witness.key).expect("written");
    format!(
        "[[clusters]]\nname = '{name}'\nnodes = ['node1', 'node2']\n\
         ca_certificate = '{name}/ca.pem'\ncertificate = '{name}/witness.pem'\n\
         key = '{name}/witness.key'\n"
    )
}

fn init(config: &Config, name: &str) {
    let path = config.register(config.cluster(name).expect("it is there"));
    Kept::init(FileDisk::new(&path), cluster_number(name), INCARNATION).expect("made");
}

impl Bench {
    fn new(damage: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (plant, shop) = (Site::new("plant CA"), Site::new("shop CA"));
        let text = format!(
            "listen = '127.0.0.1:0'\nstate = '.'\n{}{}",
            configured(folder.path(), "plant3", &plant),
            configured(folder.path(), "shop17", &shop),
        );
        fs::write(folder.path().join("witness.toml"), text).expect("written");
        let config = Config::load(&folder.path().join("witness.toml")).expect("sound");
        init(&config, "plant3");
        init(&config, "shop17");
        damage(folder.path());
        let said = Arc::new(Mutex::new(Vec::new()));
        let hearing = said.clone();
        let say = move |line: &str| hearing.lock().expect("sound").push(line.to_owned());
        let server = Server::bind(&config, Box::new(say)).expect("bound");
        let address = server.address().expect("an address");
        thread::spawn(move || server.run());
        Self { folder, plant, shop, address, said }
    }

    fn client(&self, cluster: &str, side: Side, identity: &Identity) -> Client {
        let (host, port) = (self.address.ip().to_string(), self.address.port());
        Client::new(&host, port, cluster, side, identity).expect("a client")
    }

    fn node(&self, side: Side) -> Client {
        let name = if side == Side::A { "node1" } else { "node2" };
        self.client("plant3", side, &self.plant.identity(name))
    }
}

fn claim(base: u64, side: Side) -> Configuration {
    let base = Epoch(base);
    Configuration { epoch: base.next_for(side), base, leader: side, members: Members::Leader }
}

fn enroll(side: Side) -> (Ask, Configuration) {
    let config = Configuration { members: Members::Both, ..claim(0, Side::A) };
    let cluster = cluster_number("plant3");
    let enroll = Some((INCARNATION, config));
    (Ask { cluster, from: side, nonce: 5, claim: None, enroll }, config)
}

#[test]
fn of_two_claims_one_is_granted_and_it_is_on_the_disk() {
    let bench = Bench::new(|_| {});
    let (mut a, mut b) = (bench.node(Side::A), bench.node(Side::B));
    assert_eq!(a.read(1, LIMIT).expect("an answer").config, None);
    let (question, first) = enroll(Side::A);
    assert_eq!(a.ask(&question, LIMIT).expect("an answer").config, Some(first));
    let (ours, theirs) = (claim(1, Side::A), claim(1, Side::B));
    assert_eq!(b.cas(2, theirs, LIMIT).expect("an answer").config, Some(theirs));
    assert_eq!(a.cas(3, ours, LIMIT).expect("an answer").config, Some(theirs));
    let path = bench.folder.path().join("plant3.register");
    let stored = failover::Register::decode(&fs::read(path).expect("there")).expect("sound");
    assert_eq!(stored.config, Some(theirs));
}

#[test]
fn only_the_two_nodes_of_a_cluster_ask_about_it() {
    let bench = Bench::new(|_| {});
    let strangers = [
        bench.client("plant3", Side::A, &bench.plant.identity("k3s")),
        bench.client("plant3", Side::A, &bench.shop.identity("node1")),
        bench.client("nobody", Side::A, &bench.plant.identity("node1")),
    ];
    for mut stranger in strangers {
        let refused = stranger.read(1, LIMIT);
        assert!(matches!(refused, Err(ClientError::Unreachable { .. })), "{refused:?}");
    }
    // The shop's witness is none of the plant's, so its answers count for nothing there.
    let mut mixed = bench.shop.identity("node1");
    mixed.ca_certificate = bench.plant.ca_pem.clone();
    assert!(bench.client("shop17", Side::A, &mixed).read(1, LIMIT).is_err());
    let mut other = bench.client("plant3", Side::B, &bench.plant.identity("node1"));
    let refused = other.read(1, LIMIT);
    assert!(matches!(refused, Err(ClientError::Refused { .. })), "{refused:?}");
    assert!(bench.client("shop17", Side::A, &bench.shop.identity("node1")).read(1, LIMIT).is_ok());
}

#[test]
fn a_torn_register_is_not_served_and_the_others_are() {
    let bench = Bench::new(|folder| {
        let path = folder.join("plant3.register");
        let whole = fs::read(&path).expect("there");
        fs::write(&path, &whole[..20]).expect("torn");
    });
    let refused = bench.node(Side::A).read(1, LIMIT).expect_err("refused").to_string();
    assert!(refused.contains("plant3.register is damaged"), "{refused}");
    let said = bench.said.lock().expect("sound").join("\n");
    assert!(said.contains("plant3 is not served: the register"), "{said}");
    let mut shop = bench.client("shop17", Side::B, &bench.shop.identity("node2"));
    assert_eq!(shop.read(1, LIMIT).expect("an answer").config, None);
}

#[test]
fn a_lost_register_is_not_begun_anew() {
    let bench = Bench::new(|folder| {
        fs::remove_file(folder.join("plant3.register")).expect("removed");
    });
    let refused = bench.node(Side::B).read(1, LIMIT).expect_err("refused").to_string();
    assert!(refused.contains("pgkeeper witness init"), "{refused}");
    assert!(!bench.folder.path().join("plant3.register").exists());
}

#[test]
fn a_silent_witness_costs_no_more_than_the_limit() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let identity = Site::new("plant CA").identity("node1");
    let mut client =
        Client::new("127.0.0.1", address.port(), "plant3", Side::A, &identity).expect("a client");
    let gone = client.read(1, Duration::from_millis(100));
    assert!(matches!(gone, Err(ClientError::Unreachable { .. })), "{gone:?}");
}

#[test]
fn the_command_makes_a_register_once_and_shows_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::new("plant CA");
    let file = folder.path().join("witness.toml");
    let text = format!("state = '.'\n{}", configured(folder.path(), "plant3", &site));
    fs::write(&file, text).expect("written");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgkeeper"));
        let output = command.arg("witness").args(arguments).arg("--config").arg(&file).output();
        let output = output.expect("it starts");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (done, said) = run(&["show"]);
    assert!(!done && said.contains("No such file"), "{said}");
    assert!(run(&["init", "plant3"]).0);
    let (done, said) = run(&["init", "plant3"]);
    assert!(!done && said.contains("there is a register"), "{said}");
    let (done, said) = run(&["init", "plant4"]);
    assert!(!done && said.contains("it has plant3"), "{said}");
    let (done, said) = run(&["show"]);
    assert!(done && said.contains("plant3: empty"), "{said}");
}
