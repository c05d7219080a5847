//! A node gets its network as the seed says: bonds, VLANs, and what is missing.

use std::time::Duration;

use builder::qemu::command::Card;
use qemu_tests::guest::Guest;
use qemu_tests::image::{self, Bench};

/// Generous: a shared machine without KVM may be ten times slower than a good day's.
const BOOT_LIMIT: Duration = Duration::from_mins(3);
const END_LIMIT: Duration = Duration::from_mins(1);

/// A seed with these links and routes; its node has the address 10.1.0.5.
fn seed_with(links: &str) -> String {
    format!(
        "format = 1\n[node]\nname = \"node1\"\nroles = [\"server\"]\n{links}\n\
         [cluster]\nname = \"plant\"\n[[cluster.nodes]]\nname = \"node1\"\nroles = [\"server\"]\n\
         addresses = [\"10.1.0.5\"]\n[k3s]\nstart = false\ndatastore = \"etcd\"\n"
    )
}

/// Boots a machine with a seed and as many cards, each with a cable that leads nowhere; returns
/// what it said.
fn boot(links: &str, cards: u8) -> String {
    let text = seed_with(links);
    // A mistake here would show as a node that waits for a better seed.
    seed::parse("seed", &text).unwrap_or_else(|problems| panic!("{problems}"));
    let bench = Bench::get();
    let folder = tempfile::tempdir().expect("a folder");
    let mut machine = bench.machine(&bench.image, false, folder.path());
    image::write_seed(&machine.disks[0].file, &text);
    machine.cards = (1..=cards)
        .map(|number| Card {
            mac: format!("52:54:00:aa:00:{number:02x}"),
            backend: format!("hubport,hubid={number}"),
        })
        .collect();
    let mut guest = Guest::start(&bench.qemu, &machine).expect("started");
    let ready = guest.console.wait_for("edgepair: ready node=node1", BOOT_LIMIT);
    assert!(ready.is_some(), "{}", guest.console.transcript());
    guest.press_power_button().expect("pressed");
    assert!(guest.wait_for_end(END_LIMIT).is_ok(), "{}", guest.console.transcript());
    let transcript = guest.console.transcript();
    assert_eq!(guest.console.damage(), [], "{transcript}");
    transcript
}

fn assert_said(transcript: &str, lines: &[&str]) {
    for line in lines {
        assert!(transcript.contains(&format!("edgepair: {line}")), "{line:?} in:\n{transcript}");
    }
}

const BOND_AND_VLAN: &str = r#"
[[links]]
name = "cameras"
kind = "vlan"
parent = "bond0"
id = 42
addresses = ["10.77.42.5/24"]

[[links]]
name = "bond0"
kind = "bond"
members = ["port1", "port2"]
addresses = ["10.1.0.5/24", "fd01::5/64"]
mtu = 1400

[[links]]
name = "port1"
match = { mac = "52:54:00:aa:00:01" }

[[links]]
name = "port2"
match = { name = "eth1" }

[[routes]]
to = "default"
via = "10.1.0.1"
metric = 100

[[routes]]
to = "::/0"
via = "fe80::1"
link = "bond0"
"#;

#[test]
fn a_bond_of_two_cards_carries_a_vlan() {
    let transcript = boot(BOND_AND_VLAN, 2);
    assert_said(
        &transcript,
        &[
            "link port1 is the card eth0 (52:54:00:aa:00:01, virtio_net)",
            "link port2 is the card eth1 (52:54:00:aa:00:02, virtio_net)",
            "link bond0: carrier",
            "link cameras: carrier",
            "network: cameras 10.77.42.5/24; bond0 10.1.0.5/24 fd01::5/64; port1; port2",
        ],
    );
    assert!(!transcript.contains("kernel refuses"), "{transcript}");
}

#[test]
fn a_bond_is_made_in_each_mode() {
    let modes = ["active-backup", "802.3ad", "balance-xor", "broadcast"];
    let mut links = String::new();
    let mut summary = "network:".to_owned();
    for (number, mode) in (1..).zip(modes) {
        let address = if number == 1 { "10.1.0.5/24" } else { &format!("10.1{number}.0.5/24") };
        links += &format!(
            "[[links]]\nname = \"port{number}\"\nmatch = {{ mac = \"52:54:00:aa:00:0{number}\" }}\n\
             [[links]]\nname = \"pair{number}\"\nkind = \"bond\"\nmembers = [\"port{number}\"]\n\
             mode = \"{mode}\"\naddresses = [\"{address}\"]\n"
        );
        let separator = if number == 1 { "" } else { ";" };
        summary += &format!("{separator} port{number}; pair{number} {address}");
    }
    let transcript = boot(&links, 4);
    assert_said(&transcript, &[&summary]);
    assert!(!transcript.contains("doesn't stay so"), "{transcript}");
}

#[test]
fn a_node_without_its_card_says_which_there_are_and_boots() {
    let links = "[[links]]\nname = \"lan\"\nmatch = { mac = \"52:54:00:bb:00:01\" }\n\
                 addresses = [\"10.1.0.5/24\"]\n";
    let transcript = boot(links, 1);
    assert_said(
        &transcript,
        &[
            "link lan: no card with the hardware address 52:54:00:bb:00:01; \
             other cards: eth0 (52:54:00:aa:00:01, virtio_net)",
            "network: lan 10.1.0.5/24 (missing) (missing)",
        ],
    );
}
