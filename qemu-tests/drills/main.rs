//! The drills, one file per family, and the table of them.
//!
//! The same program has the simulator (`sim`) and the measurements in the rig (`bench`), so that
//! `cargo run --release -p qemu-tests --` is the way to all proofs.
//!
//! A new drill is a function and a line in its family's table; `INDEX.md` is written from here.

mod agent;
mod bench;
mod boot;
mod pg;
mod seed000;
mod site;
mod state;
mod vip;

use std::process::ExitCode;

use qemu_tests::rig;
use qemu_tests::rig::entry::{Family, Site, Steady, Topology};

const FAMILIES: [Family; 7] = [
    boot::FAMILY,
    agent::FAMILY,
    vip::FAMILY,
    pg::FAMILY,
    state::FAMILY,
    site::FAMILY,
    seed000::FAMILY,
];

/// The lab's first node, alone.
const ONE_NODE: Topology = Topology {
    name: "one node",
    site: Site::Seeds(&["images/lab/node1.toml"]),
    image: "lab",
    tester: false,
    steady: Steady::Ready,
};

/// Two nodes that share a virtual address without any permit, and a tester.
const VIP_PAIR: Topology = Topology {
    name: "pair with a VIP, tester",
    site: Site::Cluster {
        v4: "qemu-tests/clusters/vip-v4.toml",
        v6: "qemu-tests/clusters/vip-v6.toml",
    },
    image: "lab",
    tester: true,
    steady: Steady::Owner,
};

/// A database pair that decides by policy, and a tester.
const PG_PAIR: Topology = Topology {
    name: "database pair, tester",
    site: Site::Cluster {
        v4: "qemu-tests/clusters/pg-v4.toml",
        v6: "qemu-tests/clusters/pg-v6.toml",
    },
    image: "lab",
    tester: true,
    steady: Steady::InSync,
};

/// The same with a power switch that decides.
const PG_FENCE: Topology = Topology {
    name: "database pair with a power switch, tester",
    site: Site::Cluster {
        v4: "qemu-tests/clusters/pg-fence-v4.toml",
        v6: "qemu-tests/clusters/pg-fence-v6.toml",
    },
    ..PG_PAIR
};

/// The same with backups.
const PG_BACKUP: Topology = Topology {
    name: "database pair with backups, tester",
    site: Site::Cluster {
        v4: "qemu-tests/clusters/pg-backup-v4.toml",
        v6: "qemu-tests/clusters/pg-backup-v6.toml",
    },
    image: "qemu-tests/images/backup.toml",
    ..PG_PAIR
};

/// A database pair with a witness, and a tester.
const PG_WITNESS: Topology = Topology {
    name: "database pair, witness, tester",
    site: Site::Cluster {
        v4: "qemu-tests/clusters/pg-witness-v4.toml",
        v6: "qemu-tests/clusters/pg-witness-v6.toml",
    },
    image: "lab",
    tester: true,
    steady: Steady::InSync,
};

/// The same pair, whose adverts are signed.
const SIGNED_VIP_PAIR: Topology = Topology {
    name: "pair with a signed VIP, tester",
    site: Site::Cluster {
        v4: "qemu-tests/clusters/vip-signed-v4.toml",
        v6: "qemu-tests/clusters/vip-signed-v6.toml",
    },
    ..VIP_PAIR
};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.split_first() {
        Some((first, rest)) if first == "sim" => sim::cli::run(rest.iter().cloned()),
        Some((first, rest)) if first == "bench" => bench::main(rest),
        _ => rig::cli::main(&FAMILIES),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_begin_with_their_family() {
        let mut seen = BTreeSet::new();
        for family in FAMILIES {
            for entry in family.drills {
                assert_eq!(entry.family(), family.name, "{}", entry.name);
                assert!(seen.insert(entry.name), "{} is there twice", entry.name);
            }
        }
    }
}
