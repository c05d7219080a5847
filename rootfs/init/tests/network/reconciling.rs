//! The network comes up as the seed says, and is kept so.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use netlink::{
    Address, Check, LinkId, Mac, Monitor, Netlink, NetlinkError, NewKind, NewLink, Route, owner,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::namespace;
use crate::network::{self, Network, Places};
use crate::runner::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("a_card_is_named_and_gets_its_addresses_and_routes", comes_up),
    ("a_second_look_changes_nothing", rests),
    ("what_somebody_changes_is_changed_back", reverts),
    ("addresses_of_other_owners_stay", foreign),
    ("a_card_that_comes_late_is_configured", late),
    ("a_pulled_cable_is_said_and_so_is_its_return", cable),
    ("an_address_that_another_machine_has_is_told", duplicate),
    ("two_cards_swap_their_names", swap),
    ("a_bond_carries_a_vlan", bond),
];

const SEED: &str = "[[links]]\nname = \"lan\"\nmatch = { mac = \"02:00:00:00:00:01\" }\n\
    addresses = [\"10.9.0.1/24\", \"fd09::1/64\"]\nmtu = 1400\n\
    [[links]]\nname = \"wan\"\nmatch = { name = \"car*2\" }\naddresses = [\"10.8.0.1/24\"]\n\
    [[routes]]\nto = \"default\"\nvia = \"10.9.0.254\"\n\
    [[routes]]\nto = \"10.77.0.0/16\"\nvia = \"10.8.0.254\"\nmetric = 7\n\
    [[routes]]\nto = \"default\"\nvia = \"fd09::ff\"\n";

/// No wait of a test should come near it.
const PATIENCE: Duration = Duration::from_secs(20);

fn seed(links: &str) -> seed::Seed {
    let mut text = format!(
        "format = 1\n[node]\nname = \"n1\"\nroles = [\"etcd\"]\n{links}\n\
         [cluster]\nname = \"c\"\n[etcd]\ntoken = \"c\"\n"
    );
    for number in 1..=3 {
        text += &format!(
            "[[cluster.nodes]]\nname = \"n{number}\"\nroles = [\"etcd\"]\n\
             addresses = [\"10.9.0.{number}\"]\n"
        );
    }
    seed::parse("test", &text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A network whose cards are veths, and what it said.
struct Rig {
    network: Network,
    netlink: Netlink,
    said: Vec<String>,
    started: Instant,
}

impl Rig {
    fn new(links: &str) -> Self {
        let places = Places {
            // The drivers of this machine are none of the namespace's.
            cards: "/nonexistent".into(),
            kind_of_cards: Some("veth"),
            ..Places::of_the_node()
        };
        let network = Network::start(&seed(links), places);
        Self {
            network,
            netlink: Netlink::open().expect("a socket"),
            said: Vec::new(),
            started: Instant::now(),
        }
    }

    /// Two cards, `card1` and `card2`, with their cables plugged in.
    fn with_cards() -> Self {
        let mut rig = Self::new(SEED);
        rig.plug("card1", 1);
        rig.plug("card2", 2);
        rig
    }

    fn plug(&mut self, name: &str, last: u8) {
        let peer = format!("far{last}");
        let mac = Some(Mac([2, 0, 0, 0, 0, last]));
        let veth = NewKind::Veth { peer: peer.clone() };
        self.netlink.create(&NewLink { mac, ..NewLink::new(name, veth) }).expect("made");
        let far = self.id(&peer);
        self.netlink.set_up(&far, true).expect("up");
    }

    fn id(&mut self, name: &str) -> LinkId {
        self.netlink.link(name).expect("there").id
    }

    /// Lives as PID 1 does until something is so.
    fn live_until(&mut self, mut is_so: impl FnMut(&mut Self) -> bool) {
        let started = Instant::now();
        loop {
            self.said.extend(self.network.handle());
            if is_so(self) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "waits in vain: {:#?}", self.network.status());
            let limit = self.network.wake_in().unwrap_or(PATIENCE).min(PATIENCE);
            let news = self.network.descriptor().expect("open after the first look");
            let mut inputs = [PollFd::from_borrowed_fd(news, PollFlags::IN)];
            poll(&mut inputs, Some(&Timespec::try_from(limit).expect("short"))).expect("polled");
        }
    }

    fn settle(&mut self) {
        self.live_until(|rig| rig.network.settled());
        if self.started.elapsed() >= network::PATIENCE {
            // On a machine this slow the network has settled by running out of patience.
            let whole = |rig: &mut Self| !rig.network.status().to_string().contains('(');
            self.live_until(whole);
        }
    }

    fn has_address(&mut self, ip: &str) -> bool {
        let ip: IpAddr = ip.parse().expect("ip");
        self.netlink.addresses().expect("listed").iter().any(|(_, own)| own.ip == ip)
    }

    fn has_route(&mut self, via: &str) -> Option<Route> {
        let via = Some(via.parse().expect("ip"));
        self.netlink.routes().expect("listed").into_iter().find(|route| route.via == via)
    }
}

fn setting(path: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/net/{path}")).expect("read").trim().to_owned()
}

fn comes_up() -> Outcome {
    let mut rig = Rig::with_cards();
    std::fs::write("/proc/sys/net/ipv4/conf/default/arp_ignore", "1").expect("set");
    rig.settle();
    let status = rig.network.status();
    assert!(!status.degraded, "{status:#?}");
    let lan = rig.netlink.link("lan").expect("named");
    assert_eq!((lan.mtu, lan.up, lan.carrier), (1400, true, true));
    assert!(rig.netlink.link("lo").expect("there").up);
    let addresses = rig.netlink.addresses().expect("listed");
    for ip in ["10.9.0.1", "fd09::1", "10.8.0.1"] {
        let ip: IpAddr = ip.parse().expect("ip");
        let (_, found) = addresses.iter().find(|(_, own)| own.ip == ip).expect("given");
        assert_eq!((found.protocol, found.check), (owner::NODE, Check::Passed), "{ip}");
    }
    let local = |own: &Address| matches!(own.ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    assert!(addresses.iter().any(|(index, own)| *index == lan.id.index && local(own)));
    let default = rig.has_route("10.9.0.254").expect("made");
    assert_eq!((default.prefix, default.source), (0, Some("10.9.0.1".parse().expect("ip"))));
    assert_eq!(rig.has_route("10.8.0.254").expect("made").metric, 7);
    assert_eq!(rig.has_route("fd09::ff").expect("made").prefix, 0);
    assert_eq!(setting("ipv4/conf/lan/arp_ignore"), "1");
    assert_eq!(setting("ipv6/conf/lan/accept_ra"), "0");
    let line = "link lan is the card card1 (02:00:00:00:00:01)".to_owned();
    assert!(rig.said.contains(&line), "{:?}", rig.said);
    assert!(rig.said.contains(&"link lan: carrier".to_owned()), "{:?}", rig.said);
    Outcome::Passed
}

fn rests() -> Outcome {
    // By its name a card is found once, since it has another one then.
    let seed = SEED.replace("name = \"car*2\"", "mac = \"02:00:00:00:00:02\"");
    let mut rig = Rig::new(&seed);
    rig.plug("card1", 1);
    rig.plug("card2", 2);
    rig.settle();
    // Nothing is left to wait for but news, at the far ends of the cables neither.
    rig.live_until(|rig| {
        let addresses = rig.netlink.addresses().expect("listed");
        let checked = addresses.iter().all(|(_, address)| address.check != Check::Running);
        checked && rig.network.wake_in().is_none()
    });
    let mut monitor = Monitor::open().expect("a socket");
    // A second network over the first finds everything as it should be.
    let mut second = Rig::new(&seed);
    second.settle();
    assert!(!second.network.status().degraded);
    let mut heard = Vec::new();
    while let Some(event) = monitor.event().expect("heard") {
        heard.push(event);
    }
    assert!(heard.is_empty(), "{heard:#?}");
    Outcome::Passed
}

fn reverts() -> Outcome {
    let mut rig = Rig::with_cards();
    rig.settle();
    let lan = rig.id("lan");
    let own = Address::new("10.9.0.1".parse().expect("ip"), 24);
    rig.netlink.delete_address(&lan, &own).expect("taken");
    assert!(!rig.has_address("10.9.0.1") && rig.has_route("10.9.0.254").is_none());
    rig.live_until(|rig| rig.has_address("10.9.0.1") && rig.has_route("10.9.0.254").is_some());
    rig.netlink.set_up(&lan, false).expect("down");
    assert!(!rig.has_address("fd09::1"));
    rig.live_until(|rig| rig.has_address("fd09::1") && rig.has_route("fd09::ff").is_some());
    Outcome::Passed
}

fn foreign() -> Outcome {
    let mut rig = Rig::with_cards();
    rig.settle();
    let lan = rig.id("lan");
    let give = |rig: &mut Rig, ip: &str, protocol| {
        let address = Address { protocol, ..Address::new(ip.parse().expect("ip"), 24) };
        rig.netlink.add_address(&lan, &address).expect("given");
    };
    give(&mut rig, "10.9.0.77", owner::VIP);
    give(&mut rig, "10.9.0.88", 0);
    give(&mut rig, "10.9.0.66", owner::NODE);
    rig.live_until(|rig| !rig.has_address("10.9.0.66"));
    assert!(rig.has_address("10.9.0.77") && rig.has_address("10.9.0.88"));
    let status = rig.network.status();
    let lan = status.links.iter().find(|link| link.name == "lan").expect("told");
    let vip = lan.addresses.iter().find(|it| it.address == "10.9.0.77/24").expect("told");
    assert!(vip.is_virtual && !vip.wanted);
    Outcome::Passed
}

fn late() -> Outcome {
    let mut rig = Rig::new(SEED);
    rig.plug("card1", 1);
    rig.live_until(|rig| rig.has_route("10.9.0.254").is_some());
    let status = rig.network.status();
    assert!(status.degraded);
    assert!(status.troubles[0].starts_with("link wan: no card called car*2"), "{status:#?}");
    rig.plug("card2", 2);
    rig.live_until(|rig| rig.has_route("10.8.0.254").is_some());
    rig.settle();
    assert!(!rig.network.status().degraded);
    Outcome::Passed
}

fn cable() -> Outcome {
    let mut rig = Rig::with_cards();
    rig.settle();
    let far = rig.id("far1");
    rig.netlink.set_up(&far, false).expect("pulled");
    rig.live_until(|rig| rig.said.iter().any(|line| line == "link lan: no carrier"));
    assert!(rig.network.status().degraded);
    assert!(rig.has_address("10.9.0.1"), "a cable is no reason to give up an address");
    rig.netlink.set_up(&far, true).expect("plugged in");
    rig.live_until(|rig| rig.said.iter().filter(|line| *line == "link lan: carrier").count() == 2);
    rig.settle();
    assert!(!rig.network.status().degraded);
    Outcome::Passed
}

fn duplicate() -> Outcome {
    let mut rig = Rig::with_cards();
    let elsewhere = namespace::another();
    let far = rig.id("far1");
    rig.netlink.move_to(&far, elsewhere.as_fd()).expect("moved");
    namespace::inside(&elsewhere, || {
        let mut netlink = Netlink::open().expect("a socket");
        let far = netlink.link("far1").expect("arrived").id;
        netlink.set_up(&far, true).expect("up");
        let taken = Address::new("fd09::1".parse().expect("ip"), 64);
        netlink.add_address(&far, &Address { no_dad: true, ..taken }).expect("given");
    });
    rig.live_until(|rig| !rig.network.status().troubles.is_empty());
    let status = rig.network.status();
    assert!(status.degraded);
    assert_eq!(
        status.troubles,
        ["link lan: fd09::1 isn't used, since another machine has it; give one of them another"]
    );
    assert!(status.to_string().contains("fd09::1/64 (another machine has it)"), "{status}");
    assert!(rig.has_address("10.9.0.1"), "the rest is as it should be");
    Outcome::Passed
}

fn swap() -> Outcome {
    let mut rig = Rig::new(
        "[[links]]\nname = \"eth1\"\nmatch = { mac = \"02:00:00:00:00:01\" }\n\
         addresses = [\"10.9.0.1/24\"]\n\
         [[links]]\nname = \"eth0\"\nmatch = { mac = \"02:00:00:00:00:02\" }\n",
    );
    rig.plug("eth0", 1);
    rig.plug("eth1", 2);
    rig.settle();
    assert_eq!(rig.netlink.link("eth1").expect("named").mac, Some(Mac([2, 0, 0, 0, 0, 1])));
    assert_eq!(rig.netlink.link("eth0").expect("named").mac, Some(Mac([2, 0, 0, 0, 0, 2])));
    Outcome::Passed
}

fn bond() -> Outcome {
    let mut rig = Rig::new(
        "[[links]]\nname = \"tag\"\nkind = \"vlan\"\nparent = \"pair\"\nid = 42\n\
         addresses = [\"10.9.0.1/24\"]\n\
         [[links]]\nname = \"pair\"\nkind = \"bond\"\nmembers = [\"port1\", \"port2\"]\n\
         [[links]]\nname = \"port1\"\nmatch = { mac = \"02:00:00:00:00:01\" }\n\
         [[links]]\nname = \"port2\"\nmatch = { mac = \"02:00:00:00:00:02\" }\n",
    );
    if let Some(error) = unable(&mut rig.netlink) {
        return Outcome::Skipped(error.to_string());
    }
    rig.plug("card1", 1);
    rig.plug("card2", 2);
    rig.settle();
    let pair = rig.netlink.link("pair").expect("made");
    for port in ["port1", "port2"] {
        assert_eq!(rig.netlink.link(port).expect("named").master, Some(pair.id.index));
    }
    assert!(rig.has_address("10.9.0.1"));
    Outcome::Passed
}

/// Whether this kernel has neither bonds nor VLANs.
fn unable(netlink: &mut Netlink) -> Option<NetlinkError> {
    let below = netlink.link("lo").expect("there").id.index;
    let (mode, hash) = (netlink::BondMode::ActiveBackup, netlink::TransmitHash::Hardware);
    let kinds = [NewKind::Bond { mode, miimon: 50, hash }, NewKind::Vlan { parent: below, id: 1 }];
    for kind in kinds {
        match netlink.create(&NewLink::new("probe", kind)) {
            Ok(()) => {
                let id = netlink.link("probe").expect("made").id;
                netlink.delete_link(&id).expect("removed");
            }
            Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => return Some(error),
            // A loopback takes no VLAN, which the kernel says only if it has VLANs.
            Err(_) => {}
        }
    }
    None
}
