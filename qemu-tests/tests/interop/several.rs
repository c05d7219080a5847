//! Several addresses, several routers in one daemon, and what the neighbours see of them.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, TcpStream};

use netlink::{Address, Netlink};

use crate::Test;
use crate::daemons::{Daemon, Router};
use crate::lab::{Frame, Lab, Node, eventually};
use crate::wire::adverts;

pub(crate) const TESTS: &[Test] = &[
    ("pair_shares_two_routers_of_two_families_by_unicast", shared),
    ("pair_answers_neighbours_only_while_active", || answers([192, 0, 2, 100].into())),
    ("pair_answers_ipv6_neighbours_only_while_active", || answers(vip6().into())),
];

fn vip6() -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100)
}

/// The addresses of both instances: each has two of IPv4 and one of IPv6.
fn addresses(instance: u8) -> [IpAddr; 3] {
    let last = 100 + 10 * instance;
    let [.., low] = vip6().segments();
    let ipv6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, low + u16::from(instance));
    [[192, 0, 2, last].into(), [192, 0, 2, last + 1].into(), ipv6.into()]
}

/// As a site with two balancers has it: each is the better one for an address, both hold everything
/// when alone, and nothing is sent to a group.
fn shared() {
    let lab = Lab::new(2);
    let config = |node: usize, control: &str| {
        let mut text = format!("control = '{control}'\n");
        for instance in 0..2_u8 {
            let [one, two, ipv6] = addresses(instance);
            let priority = if usize::from(instance) == node { 150 } else { 100 };
            let peer = 2 - node;
            text += &format!(
                "[[instances]]\nname = 'i{instance}'\ninterface = 'eth0'\nvrid = {}\n\
                 addresses = ['{one}/24', '{two}/24', '{ipv6}/64']\npriority = {priority}\n\
                 interval = '10cs'\npreempt = true\npeers = ['192.0.2.{peer}', 'fe80::{peer}']\n",
                51 + instance
            );
        }
        text
    };
    let start = |node: usize| {
        let folder = tempfile::tempdir().expect("a folder");
        let text = config(node, &folder.path().join("sock").display().to_string());
        Daemon::vipd_with(&lab.nodes[node], folder, &text)
    };
    let holds = |node: usize, instance: u8| {
        let held = lab.nodes[node].addresses();
        addresses(instance).iter().filter(|address| held.contains(address)).count()
    };
    let all = || [holds(0, 0), holds(0, 1), holds(1, 0), holds(1, 1)];

    let _first = start(0);
    eventually("the first alone holds everything", || all() == [3, 3, 0, 0]);
    let second = start(1);
    eventually("each holds its own", || all() == [3, 0, 0, 3]);
    second.kill();
    eventually("the first holds everything again", || holds(0, 0) + holds(0, 1) == 6);
    // What the killed one left behind is gone when it is back, before it takes over again.
    let second = start(1);
    eventually("each holds its own again", || all() == [3, 0, 0, 3]);
    second.stop();
    eventually("the first takes over at once", || all() == [3, 3, 0, 0]);
    for advert in adverts(&lab) {
        assert!(!advert.destination.is_multicast(), "{advert:?}");
        let wanted: Vec<IpAddr> = addresses(advert.vrid - 51)
            .into_iter()
            .filter(|address| address.is_ipv4() == advert.destination.is_ipv4())
            .collect();
        assert_eq!(advert.addresses, wanted, "each advert has all addresses of its family");
    }
}

/// Answers to whoever asked for an address: an ARP reply, or a solicited advertisement.
fn answered(lab: &Lab, node: usize, address: IpAddr) -> usize {
    let is_answer = |frame: &&Frame| {
        let bytes = &frame.bytes;
        let found: Option<IpAddr> = match bytes.get(12..14) {
            Some([0x08, 0x06]) if bytes.get(21) == Some(&2) => {
                bytes.get(28..32).map(|a| IpAddr::from([a[0], a[1], a[2], a[3]]))
            }
            Some([0x86, 0xdd]) if bytes.get(54) == Some(&136) && bytes[58] & 0x40 != 0 => {
                let octets: Option<[u8; 16]> = bytes.get(62..78).and_then(|a| a.try_into().ok());
                octets.map(IpAddr::from)
            }
            _ => None,
        };
        frame.node == node && found == Some(address)
    };
    lab.frames().iter().filter(is_answer).count()
}

/// Asks for an address as any neighbour would that never heard of it.
fn ask(node: &Node, address: IpAddr) {
    node.inside(|| {
        if address.is_ipv6() {
            let mut netlink = Netlink::open().expect("netlink");
            let eth0 = netlink.link("eth0").expect("eth0").id;
            let own = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 9]);
            let own = Address { no_dad: true, ..Address::new(own, 64) };
            netlink.add_address(&eth0, &own).expect("an address");
        }
        let answer = TcpStream::connect((address, 9)).expect_err("nobody listens");
        assert_eq!(answer.kind(), ErrorKind::ConnectionRefused, "somebody is there: {answer}");
    });
}

/// Whether a node is in the group to which neighbours send their questions about the address.
fn is_in_group(node: &Node) -> bool {
    let groups = node.inside(|| fs::read_to_string("/proc/thread-self/net/igmp6").expect("read"));
    groups.contains("ff0200000000000000000001ff000100")
}

/// Two neighbours ask, one before and one after the address moved.
fn answers(vip: IpAddr) {
    let lab = Lab::new(4);
    let first = Daemon::vipd(&lab.nodes[0], &Router::v3(vip, 150));
    eventually("the first holds it", || lab.nodes[0].has(vip));
    let _second = Daemon::vipd(&lab.nodes[1], &Router::v3(vip, 100));
    ask(&lab.nodes[2], vip);
    let counts = || (answered(&lab, 0, vip), answered(&lab, 1, vip));
    eventually("the Active answers", || counts().0 > 0);
    assert_eq!(counts().1, 0, "and the Backup does not");
    assert_eq!((is_in_group(&lab.nodes[0]), is_in_group(&lab.nodes[1])), (vip.is_ipv6(), false));

    first.stop();
    eventually("the second holds it", || lab.nodes[1].has(vip));
    let before = counts().0;
    ask(&lab.nodes[3], vip);
    eventually("the new Active answers", || counts().1 > 0);
    assert_eq!(counts().0, before, "and the old one does not");
    assert_eq!((is_in_group(&lab.nodes[0]), is_in_group(&lab.nodes[1])), (false, vip.is_ipv6()));
}
