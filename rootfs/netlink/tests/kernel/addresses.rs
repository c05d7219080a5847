//! Addresses are given, listed and taken.

use std::net::IpAddr;

use netlink::{Address, Check, Lifetime};

use crate::links::{make_pair, open};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("an_address_is_given_listed_and_taken", given),
    ("the_owner_and_the_flags_of_an_address_come_back", owner),
    ("without_carrier_an_ipv6_address_waits_for_its_check_unless_told_not_to", checks),
];

fn address(ip: &str, prefix: u8) -> Address {
    Address::new(ip.parse::<IpAddr>().expect("an address"), prefix)
}

fn given() -> Outcome {
    let mut netlink = open();
    let (left, _) = make_pair(&mut netlink);
    for wanted in [address("10.9.0.1", 24), address("fd09::1", 64)] {
        netlink.add_address(&left, &wanted).expect("given");
        let twice = netlink.add_address(&left, &wanted).expect_err("there already");
        assert!(twice.is_there_already(), "{twice}");
        let listed = netlink.addresses().expect("listed");
        let found = listed.iter().find(|(link, it)| *link == left.index && it.ip == wanted.ip);
        assert_eq!(found.expect("listed").1.prefix, wanted.prefix);
        netlink.delete_address(&left, &wanted).expect("taken");
        let gone = netlink.delete_address(&left, &wanted).expect_err("gone");
        assert!(gone.is_gone(), "{gone}");
        assert!(gone.to_string().starts_with(&format!("take {wanted} from left")), "{gone}");
    }
    Outcome::Passed
}

fn owner() -> Outcome {
    let mut netlink = open();
    let (left, _) = make_pair(&mut netlink);
    for ip in ["10.9.0.7", "fd09::7"] {
        let plain = address(ip, if ip.contains(':') { 128 } else { 32 });
        let lifetime = Lifetime { valid: Some(3000), preferred: Some(0) };
        let wanted =
            Address { protocol: 77, no_dad: true, no_prefix_route: true, lifetime, ..plain };
        netlink.add_address(&left, &wanted).expect("given");
        let listed = netlink.addresses().expect("listed");
        let found = listed.iter().find(|(_, it)| it.ip == wanted.ip).expect("listed").1;
        assert_eq!(found.protocol, 77);
        assert!(found.no_prefix_route, "{found:?}");
        assert_eq!(found.lifetime.preferred, Some(0));
        assert!(found.lifetime.valid.is_some_and(|left| (2900..=3000).contains(&left)));
        let forever = Address { lifetime: Lifetime::default(), ..wanted };
        netlink.replace_address(&left, &forever).expect("replaced");
        let listed = netlink.addresses().expect("listed");
        let found = listed.iter().find(|(_, it)| it.ip == wanted.ip).expect("listed").1;
        assert_eq!(found.lifetime, Lifetime::default());
    }
    Outcome::Passed
}

fn checks() -> Outcome {
    let mut netlink = open();
    let (left, _) = make_pair(&mut netlink);
    netlink.set_up(&left, true).expect("up");
    let asking = address("fd09::1", 64);
    let sure = Address { no_dad: true, ..address("fd09::2", 64) };
    netlink.add_address(&left, &asking).expect("given");
    netlink.add_address(&left, &sure).expect("given");
    let listed = netlink.addresses().expect("listed");
    let check = |ip| listed.iter().find(|(_, it)| it.ip == ip).expect("listed").1.check;
    assert_eq!((check(asking.ip), check(sure.ip)), (Check::Running, Check::Passed));
    Outcome::Passed
}
