//! Links are made, changed and listed.

use netlink::{
    BondMode, Detail, Link, LinkId, Mac, MacvlanMode, Netlink, NetlinkError, NewKind, NewLink,
    TransmitHash,
};
use rustix::io::Errno;

use crate::namespace::{another, inside};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("an_empty_namespace_has_a_loopback_that_goes_up_and_down", loopback),
    ("a_pair_is_made_renamed_and_changed", pair),
    ("a_pair_has_carrier_when_both_ends_are_up", carrier),
    ("a_link_moves_to_another_namespace", moves),
    ("a_bridge_takes_members_and_lets_them_go", bridge),
    ("a_macvlan_stands_on_its_parent", macvlan),
    ("a_bond_is_made_with_members", bond),
    ("a_vlan_stands_on_its_parent", vlan),
    ("a_refusal_names_what_was_tried", refusal),
    ("hundreds_of_links_are_listed_whole", many),
];

pub(crate) fn open() -> Netlink {
    Netlink::open().expect("a socket")
}

/// Two links, `left` and `right`, that are each other's cable.
pub(crate) fn make_pair(netlink: &mut Netlink) -> (LinkId, LinkId) {
    let peer = "right".to_owned();
    netlink.create(&NewLink::new("left", NewKind::Veth { peer })).expect("made");
    (id(netlink, "left"), id(netlink, "right"))
}

/// Makes a link, or says that this kernel can't.
fn make(netlink: &mut Netlink, link: &NewLink) -> Result<Link, Outcome> {
    match netlink.create(link) {
        Ok(()) => Ok(netlink.link(&link.name).expect("listed")),
        Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => {
            Err(Outcome::Skipped(format!("this kernel has no {}: {error}", link.kind.name())))
        }
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn id(netlink: &mut Netlink, name: &str) -> LinkId {
    netlink.link(name).expect("listed").id
}

fn loopback() -> Outcome {
    let mut netlink = open();
    let before = netlink.link("lo").expect("there");
    assert!(before.loopback && !before.up && before.mac.is_none(), "{before:?}");
    netlink.set_up(&before.id, true).expect("up");
    let after = netlink.link("lo").expect("there");
    assert!(after.up && after.carrier, "{after:?}");
    netlink.set_up(&before.id, false).expect("down");
    assert!(!netlink.link("lo").expect("there").up);
    Outcome::Passed
}

fn pair() -> Outcome {
    let mut netlink = open();
    let mac = Mac([0x02, 0, 0, 0, 0, 9]);
    let veth = NewKind::Veth { peer: "b".to_owned() };
    netlink
        .create(&NewLink { mac: Some(mac), mtu: Some(1400), ..NewLink::new("a", veth) })
        .expect("made");
    let a = netlink.link("a").expect("listed");
    let b = netlink.link("b").expect("listed");
    assert_eq!((a.mac, a.mtu, a.kind.as_deref()), (Some(mac), 1400, Some("veth")));
    assert_eq!((a.below, b.below), (Some(b.id.index), Some(a.id.index)));
    netlink.rename(&a.id, "lan").expect("renamed");
    netlink.set_mtu(&a.id, 1300).expect("set");
    let other = Mac([0x02, 0, 0, 0, 0, 10]);
    netlink.set_mac(&a.id, other).expect("set");
    let lan = netlink.link("lan").expect("listed");
    assert_eq!((lan.id.index, lan.mtu, lan.mac), (a.id.index, 1300, Some(other)));
    netlink.delete_link(&lan.id).expect("removed");
    let gone = netlink.link("b").expect_err("its other end went with it");
    assert!(gone.is_gone(), "{gone}");
    Outcome::Passed
}

fn carrier() -> Outcome {
    let mut netlink = open();
    let (left, right) = make_pair(&mut netlink);
    netlink.set_up(&left, true).expect("up");
    let alone = netlink.link("left").expect("there");
    assert!(alone.up && !alone.carrier, "{alone:?}");
    netlink.set_up(&right, true).expect("up");
    assert!(netlink.link("left").expect("there").carrier);
    Outcome::Passed
}

fn moves() -> Outcome {
    use std::os::fd::AsFd;

    let mut netlink = open();
    let (_, right) = make_pair(&mut netlink);
    let elsewhere = another();
    netlink.move_to(&right, elsewhere.as_fd()).expect("moved");
    assert!(netlink.link("right").expect_err("moved away").is_gone());
    let there = inside(&elsewhere, || open().link("right").expect("arrived"));
    assert!(!there.up);
    Outcome::Passed
}

fn bridge() -> Outcome {
    let mut netlink = open();
    let (left, _) = make_pair(&mut netlink);
    let bridge = match make(&mut netlink, &NewLink::new("switch", NewKind::Bridge)) {
        Ok(bridge) => bridge,
        Err(skipped) => return skipped,
    };
    netlink.set_master(&left, Some(&bridge.id)).expect("taken");
    assert_eq!(netlink.link("left").expect("there").master, Some(bridge.id.index));
    netlink.set_master(&left, None).expect("let go");
    assert_eq!(netlink.link("left").expect("there").master, None);
    Outcome::Passed
}

fn macvlan() -> Outcome {
    let mut netlink = open();
    let (left, _) = make_pair(&mut netlink);
    let kind = NewKind::Macvlan { parent: left.index, mode: MacvlanMode::Private };
    let mac = Some(Mac([0, 0, 0x5e, 0, 1, 7]));
    match make(&mut netlink, &NewLink { mac, ..NewLink::new("vrrp7", kind) }) {
        Ok(made) => {
            assert_eq!((made.below, made.mac), (Some(left.index), mac));
            assert_eq!(made.detail, Some(Detail::Macvlan { mode: 1 }));
            Outcome::Passed
        }
        Err(skipped) => skipped,
    }
}

fn bond() -> Outcome {
    let mut netlink = open();
    let (left, right) = make_pair(&mut netlink);
    let hash = TransmitHash::HardwareAndIp;
    let kind = NewKind::Bond { mode: BondMode::ActiveBackup, miimon: 100, hash };
    let bond = match make(&mut netlink, &NewLink::new("bond7", kind)) {
        Ok(bond) => bond,
        Err(skipped) => return skipped,
    };
    assert_eq!(bond.detail, Some(Detail::Bond { mode: 1, miimon: 100 }));
    let born_with = netlink.link("right").expect("there").mac;
    for member in [&left, &right] {
        netlink.set_master(member, Some(&bond.id)).expect("taken");
    }
    let member = netlink.link("right").expect("there");
    assert_eq!(member.master, Some(bond.id.index));
    assert_eq!(member.permanent_mac, born_with);
    Outcome::Passed
}

fn vlan() -> Outcome {
    let mut netlink = open();
    let (left, _) = make_pair(&mut netlink);
    let kind = NewKind::Vlan { parent: left.index, id: 42 };
    match make(&mut netlink, &NewLink::new("cameras", kind)) {
        Ok(made) => {
            assert_eq!(made.below, Some(left.index));
            assert_eq!(made.detail, Some(Detail::Vlan { id: 42 }));
            Outcome::Passed
        }
        Err(skipped) => skipped,
    }
}

fn refusal() -> Outcome {
    let mut netlink = open();
    let (left, _) = make_pair(&mut netlink);
    let twice = netlink.create(&NewLink::new("left", NewKind::Bridge)).expect_err("there already");
    assert!(twice.is_there_already(), "{twice:?}");
    assert!(twice.to_string().starts_with("make the bridge left: is there already"), "{twice}");
    let long = netlink.rename(&left, "a-name-with-18-let").expect_err("too long");
    assert!(long.to_string().contains("at most 15 bytes"), "{long}");
    netlink.delete_link(&left).expect("removed");
    let gone = netlink.set_up(&left, true).expect_err("gone");
    assert!(gone.is_gone(), "{gone:?}");
    assert!(
        matches!(&gone, NetlinkError::Refused { tried, .. } if tried == "set left up"),
        "{gone:?}"
    );
    Outcome::Passed
}

fn many() -> Outcome {
    const PAIRS: usize = 100;
    let mut netlink = open();
    for number in 0..PAIRS {
        let peer = format!("right{number}");
        let veth = NewKind::Veth { peer };
        netlink.create(&NewLink::new(&format!("left{number}"), veth)).expect("made");
    }
    assert_eq!(netlink.links().expect("listed").len(), 2 * PAIRS + 1);
    Outcome::Passed
}
