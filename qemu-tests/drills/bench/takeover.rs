//! How long a virtual address is gone: from the fault to the other node's first advert on the wire.
//!
//! Nothing is healed, and nothing else is asked; `vip` drills prove the rest.

use std::time::Duration;

use qemu_tests::bench::compare::{Question, STRUCK, System};
use qemu_tests::rig::drill::Drill;
use qemu_tests::rig::entry::{Body, Entry, Topology};
use qemu_tests::rig::expect::claims;
use qemu_tests::rig::fault::{Fault, Node, Stop};

use super::spread;
use crate::VIP_PAIR;

pub(super) const QUESTION: Question = Question {
    title: "From the fault to the other node's first advert; each dot is a fault",
    heading: "without the address, p50 / p99 / max",
    measure: TAKEOVER,
    database: false,
};

const TAKEOVER: &str = "takeover_ms";

/// The same seeds with Debian's keepalived.
const KEEPALIVED: Topology = Topology {
    name: "pair with a VIP of keepalived, tester",
    image: "qemu-tests/peers/images/keepalived.toml",
    ..VIP_PAIR
};

pub(super) const SYSTEMS: &[System] = &[
    System {
        name: "edgepair",
        method: 1,
        strikes: &[
            ("power cut of the owner", strike(VIP_PAIR, power_cut)),
            ("daemon killed", strike(VIP_PAIR, our_daemon)),
            ("owner frozen", strike(VIP_PAIR, freeze)),
            ("cable pulled", strike(VIP_PAIR, unplug)),
        ],
    },
    System {
        name: "keepalived",
        method: 1,
        strikes: &[
            ("power cut of the owner", strike(KEEPALIVED, power_cut)),
            ("daemon killed", strike(KEEPALIVED, their_daemon)),
            ("owner frozen", strike(KEEPALIVED, freeze)),
            ("cable pulled", strike(KEEPALIVED, unplug)),
        ],
    },
];

const STRIKE_LIMIT: Duration = Duration::from_mins(6);
/// Ten times what the protocol wants at the interval of the cluster file.
const BACK_LIMIT: Duration = Duration::from_secs(20);

const fn strike(topology: Topology, body: Body) -> Entry {
    Entry::new("bench_vip", "how long an address is gone", topology, body)
        .within(STRIKE_LIMIT)
        .on_demand()
        .on_v4()
}

fn power_cut(t: &mut Drill) -> Result<(), Stop> {
    strike_owner(t, Node::power_cut)
}

fn freeze(t: &mut Drill) -> Result<(), Stop> {
    strike_owner(t, Node::freeze)
}

fn unplug(t: &mut Drill) -> Result<(), Stop> {
    strike_owner(t, Node::unplug)
}

fn our_daemon(t: &mut Drill) -> Result<(), Stop> {
    strike_owner(t, |node| node.kill9("vipd"))
}

fn their_daemon(t: &mut Drill) -> Result<(), Stop> {
    strike_owner(t, |node| node.kill9("keepalived"))
}

fn strike_owner(t: &mut Drill, fault: fn(Node) -> Fault) -> Result<(), Stop> {
    let (owner, peer) = t.vip_roles()?;
    t.let_pass(spread(t.seed))?;
    let injected = t.inject(fault(owner))?;
    t.measure(STRUCK, 1);
    let took = t.expect("the peer claims the address", claims(peer), BACK_LIMIT)?;
    t.measure(TAKEOVER, u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    t.heal(injected)
}
