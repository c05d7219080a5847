//! Routes are made, replaced, listed and removed.

use netlink::{Address, PROTOCOL_KERNEL, Route};

use crate::links::{make_pair, open};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("a_route_is_made_replaced_and_removed", made),
    ("a_gateway_in_no_network_is_refused_with_its_meaning", unreachable),
];

fn made() -> Outcome {
    let mut netlink = open();
    let (left, right) = make_pair(&mut netlink);
    for link in [&left, &right] {
        netlink.set_up(link, true).expect("up");
    }
    for (own, gateway, next, far, length) in [
        ("10.9.0.2", "10.9.0.1", "10.9.0.9", "10.77.0.0", 16),
        ("fd09::2", "fd09::1", "fd09::9", "fd77::", 32),
    ] {
        let prefix = if own.contains(':') { 64 } else { 24 };
        let own = Address { no_dad: true, ..Address::new(own.parse().expect("ip"), prefix) };
        netlink.add_address(&left, &own).expect("given");
        let (gateway, next) = (gateway.parse().expect("ip"), next.parse().expect("ip"));
        let far = Route {
            via: Some(gateway),
            metric: 50,
            ..Route::new(far.parse().expect("ip"), length)
        };
        let everything = Route { metric: 100, source: Some(own.ip), ..Route::default_via(gateway) };
        for route in [far, everything] {
            netlink.replace_route(&route).expect("made");
            netlink.replace_route(&route).expect("the same again");
            let with_link = Route { link: Some(left.index), ..route };
            assert!(netlink.routes().expect("listed").contains(&with_link), "{route}");
            let moved = Route { via: Some(next), ..route };
            netlink.replace_route(&moved).expect("replaced");
            let listed = netlink.routes().expect("listed");
            assert!(listed.contains(&Route { via: Some(next), ..with_link }), "{listed:?}");
            assert!(!listed.contains(&with_link), "{listed:?}");
            netlink.delete_route(&moved).expect("removed");
            assert!(netlink.delete_route(&moved).expect_err("gone").is_gone());
        }
        let listed = netlink.routes().expect("listed");
        assert!(
            listed.iter().any(|route| route.protocol == PROTOCOL_KERNEL && route.prefix == prefix)
        );
    }
    Outcome::Passed
}

fn unreachable() -> Outcome {
    let mut netlink = open();
    let route = Route::default_via("10.9.0.1".parse().expect("ip"));
    let refused = netlink.replace_route(&route).expect_err("no link has that network");
    let words = refused.to_string();
    assert!(
        words.starts_with(
            "make the route default via 10.9.0.1: the gateway is in the network of no"
        ),
        "{words}"
    );
    Outcome::Passed
}
