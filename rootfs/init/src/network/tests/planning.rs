//! What the planner does, on kernels in all sorts of states.

use netlink::{Check, owner};
use proptest::prelude::*;
use seed::section::{Link, LinkKind};

use super::world::{World, mac, wanted};
use crate::network::change::{Change, Trouble};
use crate::network::plan::{forget_duplicates, plan};
use crate::network::there::{ACCEPT_RA, INHERITED, Seen};
use crate::network::wanted::{self, Wanted};

const PLAIN: &str = "[[links]]\nname = \"lan\"\nmatch = { mac = \"52:54:00:00:00:01\" }\n\
    addresses = [\"10.9.0.1/24\", \"fd09::1/64\"]\nmtu = 9000\n\
    [[routes]]\nto = \"default\"\nvia = \"10.9.0.254\"\n\
    [[routes]]\nto = \"::/0\"\nvia = \"fd09::ff\"\nmetric = 50\n";

const BOND_AND_VLAN: &str = "[[links]]\nname = \"cameras\"\nkind = \"vlan\"\n\
    parent = \"bond0\"\nid = 42\n\
    addresses = [\"10.42.0.1/24\"]\n\
    [[links]]\nname = \"bond0\"\nkind = \"bond\"\nmembers = [\"port1\", \"port2\"]\n\
    mode = \"802.3ad\"\n\
    addresses = [\"10.9.0.1/24\", \"fd09::1/64\"]\nmtu = 9000\n\
    [[links]]\nname = \"port1\"\nmatch = { name = \"eth0\" }\n\
    [[links]]\nname = \"port2\"\nmatch = { mac = \"52:54:00:00:00:02\" }\n\
    [[routes]]\nto = \"default\"\nvia = \"10.9.0.254\"\nmetric = 100\n\
    [[routes]]\nto = \"10.77.0.0/16\"\nvia = \"10.42.0.9\"\n\
    [[routes]]\nto = \"::/0\"\nvia = \"fe80::1\"\nlink = \"bond0\"\n";

/// The names of two cards are each other's.
const SWAPPED: &str = "[[links]]\nname = \"eth1\"\nmatch = { mac = \"52:54:00:00:00:01\" }\n\
    addresses = [\"10.9.0.1/24\"]\naccept_router_advertisements = true\n\
    [[links]]\nname = \"eth0\"\nmatch = { mac = \"52:54:00:00:00:02\" }\n";

const SWAPPED_BY_NAME: &str = "[[links]]\nname = \"eth1\"\nmatch = { name = \"eth0\" }\n\
    addresses = [\"10.9.0.1/24\"]\n\
    [[links]]\nname = \"eth0\"\nmatch = { name = \"*1\" }\n";

const BY_DRIVER: &str = "[[links]]\nname = \"wan\"\nmatch = { driver = \"e1000*\" }\n\
    [[links]]\nname = \"lan\"\nmatch = { driver = \"virtio*\" }\naddresses = [\"10.9.0.1/24\"]\n\
    [[links]]\nname = \"tag\"\nkind = \"vlan\"\nparent = \"lan\"\nid = 7\n";

fn with_cards() -> World {
    let mut world = World::new();
    world.add_card("eth0", 1, "virtio_net");
    world.add_card("eth1", 2, "e1000e");
    world
}

/// A link of the seed as it is. A card that only happens to have its name isn't it.
fn in_place<'a>(world: &'a World, link: &Link) -> Option<&'a Seen> {
    match link.kind {
        LinkKind::Plain => world.claims.card(link, &world.there),
        LinkKind::Bond | LinkKind::Vlan => world.there.named(link.name.as_str()),
    }
}

/// Everything that the seed wants and that can be there is there.
fn assert_finished(world: &World, wanted: &Wanted) {
    let there = &world.there;
    for link in &wanted.links {
        let Some(seen) = in_place(world, link) else { continue };
        assert!(seen.link.up, "{} is down", link.name);
        for own in wanted::addresses(link) {
            let found = there.addresses_of(seen.index()).any(|address| address.ip == own.ip);
            assert!(found, "{} lacks {own}", link.name);
        }
        let accept = if link.accept_router_advertisements { "2" } else { "0" };
        assert_eq!(seen.settings[&ACCEPT_RA], accept);
        assert!(INHERITED.iter().all(|setting| seen.settings[setting] == "1"), "{seen:?}");
    }
    for route in &wanted.routes {
        let link = wanted.link_of(route).expect("validated");
        if in_place(world, link).is_some() {
            let found = there
                .routes
                .iter()
                .any(|other| other.via == Some(route.via) && other.metric == wanted::metric(route));
            assert!(found, "no route to {:?}", route.to);
        }
    }
    let again = plan(wanted, there, &world.claims);
    assert_eq!(again.changes, [], "nothing is left to do");
}

#[test]
fn a_card_that_happens_to_have_a_links_name_is_left_alone() {
    let wanted = wanted(SWAPPED_BY_NAME);
    let mut world = World::new();
    let stranger = world.add_card("eth1", 2, "e1000e");
    world.add_card("usb1", 1, "virtio_net");
    let troubles = world.settle(&wanted);
    assert_eq!(troubles.len(), 2, "no card is called eth0, and two fit *1: {troubles:?}");
    assert!(!world.seen(stranger).link.up);
    assert_eq!(world.there.addresses_of(stranger).count(), 0);
    assert_finished(&world, &wanted);
}

#[test]
fn a_card_gets_its_name_addresses_and_routes() {
    let wanted = wanted(PLAIN);
    let mut world = with_cards();
    assert_eq!(world.settle(&wanted), []);
    assert_finished(&world, &wanted);
    let lan = world.there.named("lan").expect("named");
    assert_eq!((lan.link.mac, lan.link.mtu), (Some(mac(1)), 9000));
    assert_eq!(world.picture()["lan"], ["10.9.0.1/24", "fd09::1/64"]);
    let default = world.there.routes.iter().find(|route| route.to.is_ipv4()).expect("made");
    assert_eq!(default.source, Some("10.9.0.1".parse().expect("ip")));
    assert!(world.there.named("lo").expect("there").link.up);
    assert!(!world.there.named("eth1").expect("left alone").link.up);
}

#[test]
fn a_bond_replaces_the_one_that_its_driver_makes_and_carries_a_vlan() {
    let wanted = wanted(BOND_AND_VLAN);
    let mut world = with_cards();
    let index = world.add("bond0", Some("bond"));
    world.seen(index).link.detail = Some(netlink::Detail::Bond { mode: 0, miimon: 0 });
    assert_eq!(world.settle(&wanted), []);
    assert_finished(&world, &wanted);
    let bond = world.there.named("bond0").expect("made");
    assert_eq!(bond.link.detail, Some(netlink::Detail::Bond { mode: 4, miimon: 50 }));
    assert_eq!(bond.link.mac, Some(mac(1)), "of its first member, at every boot");
    for port in ["port1", "port2"] {
        let port = world.there.named(port).expect("renamed");
        assert_eq!((port.link.master, port.link.up), (Some(bond.index()), true));
    }
    assert_eq!(world.there.named("cameras").expect("made").link.below, Some(bond.index()));
}

#[test]
fn a_vlan_on_another_link_or_with_another_tag_is_made_anew() {
    let wanted = wanted(BOND_AND_VLAN);
    for (below, id) in [("port1", 42), ("bond0", 43)] {
        let mut world = with_cards();
        world.settle(&wanted);
        let index = world.there.named("cameras").expect("made").index();
        let below = world.there.named(below).expect("there").index();
        let link = &mut world.seen(index).link;
        (link.below, link.detail) = (Some(below), Some(netlink::Detail::Vlan { id }));
        world.settle(&wanted);
        assert_finished(&world, &wanted);
        let made = &world.there.named("cameras").expect("made").link;
        assert!(made.id.index != index && made.detail == Some(netlink::Detail::Vlan { id: 42 }));
    }
}

#[test]
fn two_cards_swap_their_names() {
    for seed in [SWAPPED, SWAPPED_BY_NAME] {
        let wanted = wanted(seed);
        let mut world = with_cards();
        assert_eq!(world.settle(&wanted), []);
        assert_finished(&world, &wanted);
        assert_eq!(world.there.named("eth1").expect("named").link.mac, Some(mac(1)));
        assert_eq!(world.there.named("eth0").expect("named").link.mac, Some(mac(2)));
    }
}

#[test]
fn a_missing_card_is_told_with_the_others_and_configured_when_it_comes() {
    let wanted = wanted(PLAIN);
    let mut world = World::new();
    world.add_card("enp3s0", 9, "igb");
    let troubles = world.settle(&wanted);
    let [trouble @ Trouble::NoCard { .. }] = troubles.as_slice() else { panic!("{troubles:?}") };
    assert_eq!(
        trouble.to_string(),
        "link lan: no card with the hardware address 52:54:00:00:00:01; \
         other cards: enp3s0 (52:54:00:00:00:09, igb)"
    );
    world.add_card("usb0", 1, "cdc_ether");
    assert_eq!(world.settle(&wanted), []);
    assert_finished(&world, &wanted);
}

#[test]
fn several_cards_that_fit_are_told_and_none_is_taken() {
    let wanted = wanted(BY_DRIVER);
    let mut world = with_cards();
    world.add_card("eth2", 3, "virtio_net");
    let troubles = world.settle(&wanted);
    let [Trouble::SeveralCards { link, fitting, .. }] = troubles.as_slice() else {
        panic!("{troubles:?}")
    };
    assert_eq!((link.as_str(), fitting.len()), ("lan", 2));
    assert!(world.there.named("lan").is_none() && world.there.named("tag").is_none());
    assert_finished(&world, &wanted);
}

#[test]
fn only_our_own_addresses_and_routes_are_removed() {
    let wanted = wanted(PLAIN);
    let mut world = with_cards();
    world.settle(&wanted);
    let before = world.picture();
    let lan = world.there.named("lan").expect("named").index();
    world.give(lan, "10.9.0.66", 24, owner::NODE);
    world.give(lan, "10.9.0.77", 24, owner::VIP);
    world.give(lan, "10.9.0.88", 24, 0);
    world.give(1, "10.9.0.55", 32, owner::NODE);
    world.add_kernel_route(lan);
    let mut stale = world.there.routes[0];
    (stale.to, stale.prefix) = ("10.99.0.0".parse().expect("ip"), 16);
    world.there.routes.push(stale);
    assert_eq!(world.settle(&wanted), []);
    let after = world.picture();
    assert_eq!(after["lan"], ["10.9.0.1/24", "10.9.0.77/24", "10.9.0.88/24", "fd09::1/64"]);
    assert_eq!(after["lo"], before["lo"]);
    assert_eq!(
        world.there.routes.len(),
        3,
        "two of ours and the kernel's: {:?}",
        world.there.routes
    );
}

#[test]
fn an_address_that_another_machine_has_is_told() {
    let wanted = wanted(PLAIN);
    let mut world = with_cards();
    world.settle(&wanted);
    let taken = world.there.addresses.iter_mut().find(|(_, it)| it.ip.is_ipv6()).expect("given");
    taken.1.check = Check::Duplicate;
    let troubles = world.settle(&wanted);
    assert_eq!(troubles.len(), 1);
    assert!(troubles[0].to_string().contains("fd09::1 isn't used, since another machine has it"));
    let forget = forget_duplicates(&world.there);
    assert_eq!(forget.len(), 1);
    world.apply(&forget[0]);
    assert_eq!(world.settle(&wanted), [], "it is given and checked anew");
}

const SEEDS: &[&str] = &[PLAIN, BOND_AND_VLAN, SWAPPED, SWAPPED_BY_NAME, BY_DRIVER];

/// What somebody or something does to a network.
#[derive(Debug, Clone)]
enum Mishap {
    Down(usize),
    Unplug(usize),
    Plug(u8),
    Forget(usize),
    LoseRoutes,
    Meddle(usize),
    Stray(usize, u8),
    Leave(usize),
}

fn mishap() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        (0_usize..8).prop_map(Mishap::Down),
        (0_usize..8).prop_map(Mishap::Unplug),
        (1_u8..4).prop_map(Mishap::Plug),
        (0_usize..8).prop_map(Mishap::Forget),
        Just(Mishap::LoseRoutes),
        (0_usize..8).prop_map(Mishap::Meddle),
        (0_usize..8, prop::sample::select(vec![0, owner::NODE, owner::VIP]))
            .prop_map(|(link, tag)| Mishap::Stray(link, tag)),
        (0_usize..8).prop_map(Mishap::Leave),
    ]
}

fn befall(world: &mut World, mishap: &Mishap) {
    let links = &world.there.links;
    let pick = |number: usize| links[number % links.len()].index();
    match mishap {
        Mishap::Down(link) => {
            let index = pick(*link);
            world.set_down(index);
        }
        Mishap::Unplug(link) => {
            let index = pick(*link);
            if index != 1 {
                world.remove(index);
            }
        }
        Mishap::Plug(last) => {
            if !links.iter().any(|seen| seen.born_with() == Some(mac(*last)) && seen.card) {
                let name = format!("usb{last}");
                let free = world.there.named(&name).is_none();
                world.add_card(if free { &name } else { "wwan0" }, *last, "virtio_net");
            }
        }
        Mishap::Forget(link) => {
            let index = pick(*link);
            world.there.addresses.retain(|(own, _)| *own != index);
        }
        Mishap::LoseRoutes => world.there.routes.clear(),
        Mishap::Meddle(link) => {
            let index = pick(*link);
            world.seen(index).settings.values_mut().for_each(|value| "7".clone_into(value));
            world.seen(index).link.mtu = 1280;
        }
        Mishap::Stray(link, tag) => {
            let index = pick(*link);
            let already = world.there.addresses_of(index).any(|it| it.protocol == *tag);
            if !already || *tag != owner::VIP {
                world.there.addresses.retain(|(own, it)| {
                    *own != index || it.ip != std::net::IpAddr::from([10, 9, 0, 200 + tag % 50])
                });
                world.give(index, &format!("10.9.0.{}", 200 + tag % 50), 24, *tag);
            }
        }
        Mishap::Leave(link) => {
            let index = pick(*link);
            world.seen(index).link.master = None;
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_it_ends_as_the_seed_wants(
        seed in prop::sample::select(SEEDS),
        before in prop::collection::vec(mishap(), 0..4),
        after in prop::collection::vec(mishap(), 0..8),
    ) {
        let wanted = wanted(seed);
        let mut world = with_cards();
        for mishap in &before {
            befall(&mut world, mishap);
        }
        world.settle(&wanted);
        assert_finished(&world, &wanted);
        for mishap in &after {
            befall(&mut world, mishap);
            let foreign: Vec<_> = world.there.addresses.iter()
                .filter(|(_, it)| it.protocol != owner::NODE && it.ip.is_ipv4()).copied().collect();
            world.settle(&wanted);
            assert_finished(&world, &wanted);
            for address in foreign {
                // Only with its link does a stranger's address go.
                let kept = world.there.addresses.contains(&address)
                    || world.there.numbered(address.0).is_none();
                prop_assert!(kept, "{:?} was taken", address);
            }
            let ours = world.there.addresses.iter().filter(|(_, it)| it.protocol == owner::NODE);
            for (index, address) in ours {
                let named = world.there.numbered(*index).and_then(|seen| wanted.link(seen.name()))
                    .is_some_and(|link| wanted::addresses(link).any(|own| own.ip == address.ip));
                prop_assert!(named, "{} was left", address);
            }
        }
    }

    #[test]
    fn a_plan_never_takes_what_is_not_ours(after in prop::collection::vec(mishap(), 0..8)) {
        let wanted = wanted(PLAIN);
        let mut world = with_cards();
        world.settle(&wanted);
        for mishap in &after {
            befall(&mut world, mishap);
        }
        for change in plan(&wanted, &world.there, &world.claims).changes {
            if let Change::DropAddress { address, .. } = change {
                prop_assert_eq!(address.protocol, owner::NODE);
            }
            if let Change::DropRoute(route) = change {
                prop_assert_eq!(route.protocol, owner::NODE);
            }
        }
    }
}
