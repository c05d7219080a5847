//! Mixed pairs: one node runs vipd, the other Debian's keepalived, and neither may notice.

use std::net::IpAddr;

use crate::Test;
use crate::daemons::{Daemon, KEEPALIVED_WORD, Router, start};
use crate::lab::{Lab, Node, eventually};
use crate::wire::{adverts, announcements};

pub(crate) const TESTS: &[Test] = &[
    ("keepalived_v2_with_a_password", || both_ways(&v2(Vec::new()))),
    ("keepalived_v2_unicast", || both_ways(&v2(peers()))),
    ("keepalived_v3_ipv4_with_the_checksum_of_rfc_9568", || both_ways(&Router::v3(vip4(), 100))),
    ("keepalived_v3_ipv4_with_its_own_checksum", || {
        both_ways(&Router { rfc_checksum: false, ..Router::v3(vip4(), 100) });
    }),
    ("keepalived_v3_ipv4_unicast", || {
        let router = Router::v3(vip4(), 100);
        both_ways(&Router { peers: peers(), rfc_checksum: false, ..router });
    }),
    ("keepalived_v3_with_two_addresses", || {
        let more = vec![[192, 0, 2, 101].into()];
        both_ways(&Router { more, rfc_checksum: false, ..Router::v3(vip4(), 100) });
    }),
    ("keepalived_v3_ipv6", || both_ways(&Router::v3(vip6(), 100))),
    ("keepalived_wins_a_tie_with_the_higher_address", || tie("vipd", KEEPALIVED_WORD)),
    ("keepalived_loses_a_tie_with_the_lower_address", || tie(KEEPALIVED_WORD, "vipd")),
    ("keepalived_is_not_preempted_by_a_vipd_that_must_not", || no_preemption(KEEPALIVED_WORD)),
    ("keepalived_that_must_not_does_not_preempt_vipd", || no_preemption("vipd")),
    ("keepalived_takes_over_from_a_vipd_without_link", || interface_down("vipd")),
    ("keepalived_without_link_is_replaced_by_vipd", || interface_down(KEEPALIVED_WORD)),
    ("keepalived_dropped_passwords_of_vipd_differ", different_passwords),
];

fn vip4() -> IpAddr {
    [192, 0, 2, 100].into()
}

fn vip6() -> IpAddr {
    [0xfe80, 0, 0, 0, 0, 0, 0, 0x100].into()
}

/// The other node's address; each node leaves out its own.
fn peers() -> Vec<IpAddr> {
    vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()]
}

fn v2(peers: Vec<IpAddr>) -> Router {
    let password = Some("secret");
    Router { version: 2, centiseconds: 100, password, peers, ..Router::v3(vip4(), 100) }
}

/// The configuration of one node: its priority, and the others as peers.
fn at(lab: &Lab, node: usize, router: &Router, priority: u8) -> Router {
    let own = lab.nodes[node].address;
    let peers = router.peers.iter().copied().filter(|peer| *peer != own).collect();
    Router { priority, peers, ..router.clone() }
}

/// Each takes the address from the other in every way there is, and gives it back.
fn both_ways(router: &Router) {
    let lab = Lab::new(2);
    let (theirs, ours) = (&lab.nodes[0], &lab.nodes[1]);
    let vip = router.vip;
    let keepalived = |priority| Daemon::keepalived(theirs, &at(&lab, 0, router, priority));
    let vipd = |priority| Daemon::vipd(ours, &at(&lab, 1, router, priority));
    let alone = |one: &Node, other: &Node| {
        let nothing = other.addresses();
        one.has_all(router.addresses()) && !router.addresses().any(|vip| nothing.contains(&vip))
    };
    let theirs_alone = || alone(theirs, ours);
    let ours_alone = || alone(ours, theirs);

    let first = keepalived(100);
    eventually("keepalived holds the address alone", || theirs.has(vip));
    let better = vipd(150);
    eventually("the better vipd takes it", ours_alone);
    for vip in router.addresses() {
        eventually("vipd announces it", || !announcements(&lab, 1, vip).is_empty());
    }

    better.stop();
    eventually("keepalived takes over from a vipd that stopped", theirs_alone);
    eventually("vipd resigned", || {
        let last = adverts(&lab).into_iter().rfind(|advert| advert.node == 1);
        last.is_some_and(|advert| (advert.priority, advert.ttl) == (0, 255))
    });

    let lesser = vipd(50);
    let heard = || lesser.metric("vipd_adverts_received_total") >= 6.0;
    eventually("the lesser vipd hears six adverts", heard);
    assert!(!lesser.is_active() && theirs_alone(), "the lesser vipd waits");

    first.stop();
    eventually("vipd takes over from a keepalived that stopped", ours_alone);
    let second = keepalived(100);
    eventually("the better keepalived takes it back", theirs_alone);
    assert!(!lesser.is_active());

    second.kill();
    // A killed keepalived leaves its address behind, so only ours can be asked for.
    eventually("vipd takes over from a keepalived that was killed", || ours.has(vip));
    let third = keepalived(100);
    eventually("keepalived is back", theirs_alone);
    lesser.stop();
    drop(vipd_killed_while_active(&lab, router, third));
    assert_eq!(strangers(&lab), 0, "every frame of vipd is what it should be");
    let multicast = router.peers.is_empty();
    for advert in adverts(&lab) {
        assert_eq!(advert.destination.is_multicast(), multicast, "{advert:?}");
        assert_eq!(advert.addresses, router.addresses().collect::<Vec<_>>(), "{advert:?}");
        // Version 2 has one form only, and so has IPv6.
        if router.version == 3 && vip.is_ipv4() {
            assert_eq!(advert.rfc_checksum, router.rfc_checksum, "{advert:?}");
        }
    }
}

/// A killed vipd leaves its address too; its successor removes it before anything else.
fn vipd_killed_while_active(lab: &Lab, router: &Router, keepalived: Daemon) -> Daemon {
    let (theirs, ours) = (&lab.nodes[0], &lab.nodes[1]);
    let vip = router.vip;
    let active = Daemon::vipd(ours, &at(lab, 1, router, 150));
    eventually("vipd holds the address", || ours.has(vip) && !theirs.has(vip));
    active.kill();
    eventually("keepalived takes over from a vipd that was killed", || theirs.has(vip));
    assert!(ours.has(vip), "nobody could remove it");
    let successor = Daemon::vipd(ours, &at(lab, 1, router, 50));
    eventually("its successor removes what was left", || !ours.has(vip));
    drop(successor);
    keepalived
}

/// Frames of node 1 that carry protocol 112 and are no advert that `vrrp` reads.
fn strangers(lab: &Lab) -> usize {
    let vrrp = lab.frames().into_iter().filter(|frame| {
        let kind = frame.bytes.get(12..14);
        let ipv4 = kind == Some(&[0x08, 0x00]) && frame.bytes.get(23) == Some(&112);
        let ipv6 = kind == Some(&[0x86, 0xdd]) && frame.bytes.get(20) == Some(&112);
        frame.node == 1 && (ipv4 || ipv6)
    });
    let good = adverts(lab).into_iter().filter(|advert| advert.node == 1).count();
    vrrp.count() - good
}

/// Both Active while apart; together again, the one with the higher address stays.
fn tie(lower: &str, higher: &str) {
    let lab = Lab::new(2);
    let router = Router::v3(vip4(), 100);
    lab.partition(0, true);
    let _lower = start(lower, &lab.nodes[0], &router);
    let _higher = start(higher, &lab.nodes[1], &router);
    let both = || lab.nodes.iter().all(|node| node.has(router.vip));
    eventually("both are Active while apart", both);
    lab.partition(0, false);
    eventually("one has it", || !both());
    let holders: Vec<bool> = lab.nodes.iter().map(|node| node.has(router.vip)).collect();
    assert_eq!(holders, [false, true], "the higher address wins");
}

/// The better node comes later and has to wait until the lesser one goes.
fn no_preemption(first: &str) {
    let lab = Lab::new(2);
    let lesser = Router { preempt: false, ..Router::v3(vip4(), 100) };
    let better = Router { priority: 200, ..lesser.clone() };
    let second = if first == "vipd" { KEEPALIVED_WORD } else { "vipd" };
    let holder = start(first, &lab.nodes[0], &lesser);
    eventually("the first holds it", || lab.nodes[0].has(lesser.vip));
    let _waiting = start(second, &lab.nodes[1], &better);
    let seen = adverts(&lab).len();
    eventually("twenty more adverts pass", || adverts(&lab).len() >= seen + 20);
    assert!(adverts(&lab).iter().all(|advert| advert.node == 0), "the second says nothing");
    assert!(lab.nodes[0].has(lesser.vip) && !lab.nodes[1].has(lesser.vip));
    holder.kill();
    eventually("the second takes over", || lab.nodes[1].has(lesser.vip));
}

fn interface_down(holder: &str) {
    let lab = Lab::new(2);
    let other = if holder == "vipd" { KEEPALIVED_WORD } else { "vipd" };
    let router = Router::v3(vip4(), 100);
    let better = Router { priority: 150, ..router.clone() };
    let (first, second) = (&lab.nodes[0], &lab.nodes[1]);
    let _first = start(holder, first, &better);
    eventually("the first holds it", || first.has(router.vip));
    let _second = start(other, second, &router);
    first.set_up(false);
    eventually("the second takes over", || second.has(router.vip));
    eventually("the first gave it up", || !first.has(router.vip));
    first.set_up(true);
    let returned = || first.has(router.vip) && !second.has(router.vip);
    eventually("the first takes it back", returned);
    lab.plug(0, false);
    eventually("the second takes over without a cable", || second.has(router.vip));
    eventually("the first gave it up", || !first.has(router.vip));
    lab.plug(0, true);
    eventually("the first takes it back", returned);
}

/// With another password nobody hears the other: both hold the address, and vipd says why.
fn different_passwords() {
    let lab = Lab::new(2);
    let theirs = v2(Vec::new());
    let ours = Router { password: Some("other"), ..theirs.clone() };
    let _keepalived = Daemon::keepalived(&lab.nodes[0], &theirs);
    let vipd = Daemon::vipd(&lab.nodes[1], &ours);
    eventually("both hold it", || lab.nodes.iter().all(|node| node.has(theirs.vip)));
    let why = "the password is not the configured one";
    eventually("vipd says why", || vipd.log().contains(why));
}
