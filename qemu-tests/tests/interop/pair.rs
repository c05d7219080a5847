//! Two of ours: what both of them promise together.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use netlink::{Netlink, Sockets};
use sys::packet_socket::PacketSocket;
use sys::socket_filter::Instruction;
use vrrp::announce::gratuitous_arp;

use crate::Test;
use crate::daemons::{Daemon, Router};
use crate::lab::{Lab, PATIENCE, eventually};
use crate::wire::{adverts, announcements};

pub(crate) const TESTS: &[Test] = &[
    ("pair_takes_over_within_its_down_interval", takes_over_in_time),
    ("pair_hands_over_without_a_gap_when_one_stops", hands_over),
    ("pair_of_signed_routers_hears_only_itself", signed),
    ("pair_with_a_virtual_mac_moves_it", virtual_mac),
    ("pair_announces_again_after_a_foreign_claim", foreign_claim),
    ("pair_thawed_router_yields_and_is_corrected", thaw),
    ("pair_started_at_once_has_one_holder", started_at_once),
    ("pair_does_not_mind_a_short_stall", short_stall),
    ("pair_refuses_unicast_where_no_peers_are_listed", uninvited_unicast),
    ("pair_cut_apart_and_healed_has_one_holder", cut_and_healed),
    ("pair_puts_back_an_address_that_was_taken_away", put_back),
    ("pair_ends_connections_of_an_address_that_goes", connections),
    ("pair_takeover_ends_connections_to_the_former_holder_alone", takeover_connections),
    ("pair_owner_keeps_its_real_address", owner),
    ("pair_checks_move_the_priority_and_give_up", checks),
    ("pair_a_hanging_check_delays_no_advert", hanging_check),
    ("pair_keeps_only_its_two_rights", rights),
    ("pair_says_ready_and_alive", notifies),
    ("pair_refuses_a_second_vipd_in_its_namespace", second_refused),
];

fn vip() -> IpAddr {
    [192, 0, 2, 100].into()
}

/// Node 0 with priority 150 holds the address, node 1 with 100 waits.
fn settled(extra: &str) -> (Lab, Daemon, Daemon) {
    let lab = Lab::new(2);
    let router = |priority| Router { extra: extra.to_owned(), ..Router::v3(vip(), priority) };
    let first = Daemon::vipd(&lab.nodes[0], &router(150));
    eventually("the first holds it", || lab.nodes[0].has(vip()));
    let second = Daemon::vipd(&lab.nodes[1], &router(100));
    (lab, first, second)
}

fn takes_over_in_time() {
    let (lab, first, _second) = settled("");
    first.kill();
    eventually("the second's advert", || adverts(&lab).iter().any(|advert| advert.node == 1));
    eventually("its announcement", || !announcements(&lab, 1, vip()).is_empty());
    let all = adverts(&lab);
    let last = all.iter().rfind(|advert| advert.node == 0).expect("adverts");
    let next = all.iter().find(|advert| advert.node == 1).expect("adverts");
    // Three intervals and the skew of priority 100, measured on the wire.
    let down = Duration::from_millis(300) + Duration::from_micros(60_938);
    let took = next.at.duration_since(last.at);
    assert!(took + Duration::from_millis(2) >= down, "too early: {took:?}");
    eventually("the address is there", || lab.nodes[1].has(vip()));
}

fn hands_over() {
    let (lab, first, second) = settled("");
    first.stop();
    assert!(lab.nodes[0].addresses().is_empty(), "nothing is left behind");
    eventually("the second holds it", || lab.nodes[1].has(vip()));
    eventually("the second's advert", || adverts(&lab).iter().any(|advert| advert.node == 1));
    let all = adverts(&lab);
    let resigned = all.iter().find(|advert| advert.priority == 0).expect("a resignation");
    assert_eq!(resigned.node, 0);
    let next = all.iter().find(|advert| advert.node == 1).expect("adverts");
    let gap = next.at.duration_since(resigned.at);
    assert!(gap < Duration::from_millis(300), "the skew alone was waited for: {gap:?}");
    second.stop();
    assert!(lab.nodes[1].addresses().is_empty(), "nothing is left behind");
}

fn signed() {
    let keys = "authentication = 'hmac'\n[[instances.keys]]\nsecret = 'hex:KEY'";
    let good = keys.replace("KEY", &"ab".repeat(32));
    let (lab, first, second) = settled(&good);
    eventually("ten signed adverts are believed", || {
        second.metric("vipd_adverts_received_total") >= 10.0
    });
    assert!(!second.is_active());
    let stranger =
        Router { extra: keys.replace("KEY", &"cd".repeat(32)), ..Router::v3(vip(), 200) };
    first.stop();
    eventually("the second holds it", || lab.nodes[1].has(vip()));
    let forger = Daemon::vipd(&lab.nodes[0], &stranger);
    eventually("the forger believes it is alone", || forger.is_active());
    eventually("its adverts are dropped", || second.log().contains("the signature is wrong"));
    assert!(second.is_active(), "and move nobody");
}

fn virtual_mac() {
    let (lab, first, _second) = settled("virtual_mac = true");
    let mac = [0, 0, 0x5e, 0, 1, 51];
    let link_of = |node: usize| {
        lab.nodes[node].inside(|| {
            let mut netlink = Netlink::open().expect("netlink");
            let all = netlink.links().expect("listed");
            all.into_iter().find(|link| link.mac.is_some_and(|found| found.0 == mac))
        })
    };
    let own = link_of(0).expect("an interface of its own");
    assert!(own.up);
    let all = lab.nodes[0].inside(|| Netlink::open().and_then(|mut it| it.addresses()));
    let of_own = all.expect("listed").into_iter().filter(|(index, _)| *index == own.id.index);
    let of_own: Vec<IpAddr> = of_own.map(|(_, address)| address.ip).collect();
    assert_eq!(of_own, [vip()], "no address is made from the virtual MAC");
    assert!(!link_of(1).expect("an interface of its own").up, "down while Backup");
    assert!(adverts(&lab).iter().all(|advert| advert.sender_mac == mac));
    // The second node asks, as any neighbour would, and is told the virtual MAC.
    let answer = lab.nodes[1].inside(|| TcpStream::connect((vip(), 9)));
    assert_eq!(answer.expect_err("nobody listens").kind(), ErrorKind::ConnectionRefused);
    first.stop();
    eventually("the second holds it", || lab.nodes[1].has(vip()));
    assert!(link_of(0).is_none(), "the interface went with its daemon");
}

fn every_frame() -> [Instruction; 1] {
    [Instruction { code: 6, jump_true: 0, jump_false: 0, operand: u32::MAX }]
}

fn foreign_claim() {
    let (lab, first, _second) = settled("announce = '0s'");
    // The announcements of the takeover itself have to be over: after five seconds, and some seconds
    // after those before it, comes the last.
    let all = || announcements(&lab, 0, vip());
    let seconds_after = |first: &Instant, last: &Instant| last.duration_since(*first).as_secs();
    eventually("the last announcement of the takeover", || {
        let all = all();
        all.first().zip(all.last()).is_some_and(|(first, last)| seconds_after(first, last) >= 3)
    });
    let told = || all().len();
    let before = told();
    let IpAddr::V4(address) = vip() else { panic!("an IPv4 address") };
    lab.nodes[1].inside(|| {
        let eth0 = Netlink::open().and_then(|mut netlink| netlink.link("eth0")).expect("eth0");
        let socket = PacketSocket::open(eth0.id.index, 0x0806, &every_frame()).expect("a socket");
        socket.send(&gratuitous_arp([2, 0, 0, 0, 0, 9], address)).expect("sent");
    });
    eventually("it is announced again", || told() > before);
    assert!(first.log().contains("02:00:00:00:00:09 claims 192.0.2.100"), "{}", first.log());
}

/// The trap of keepalived#166: a frozen Active thaws and speaks before it listens, or its kernel answers
/// questions that have waited, and the neighbours believe it. Ours reads what waits in its socket first,
/// yields, and says only what makes the other announce the address again.
fn thaw() {
    let lab = Lab::new(2);
    let router = |priority| Router { preempt: false, ..Router::v3(vip(), priority) };
    let first = Daemon::vipd(&lab.nodes[0], &router(100));
    eventually("the first holds it", || first.is_active());
    let second = Daemon::vipd(&lab.nodes[1], &router(150));
    first.freeze(true);
    eventually("the second holds it", || second.is_active());
    let by = |node: usize| adverts(&lab).into_iter().filter(|a| a.node == node).count();
    let (said, heard) = (by(0), by(1));
    // Two seconds, and then two more: between the early announcements of a takeover and the last one.
    eventually("adverts wait for the frozen one", || by(1) >= heard + 20);
    let thawed = Instant::now();
    first.freeze(false);
    eventually("the first gave it up", || !lab.nodes[0].has(vip()));
    eventually("and listens", || first.status()["state"] == "backup");
    eventually("it provokes the other", || by(0) > said);
    let soon = thawed..thawed + Duration::from_secs(2);
    let corrected = || announcements(&lab, 1, vip()).iter().any(|at| soon.contains(at));
    eventually("which announces the address again", corrected);
    assert_eq!(by(0), said + 1, "it said no more");
    assert!(second.is_active());
    let log = first.log();
    assert!(log.contains("active -> backup: 192.0.2.2 adverts priority 150"), "{log}");
}

fn started_at_once() {
    let lab = Lab::new(3);
    let start =
        |node: usize, priority| Daemon::vipd(&lab.nodes[node], &Router::v3(vip(), priority));
    let all = std::thread::scope(|scope| {
        let starting: Vec<_> = [(0, 100), (1, 100), (2, 150)]
            .map(|(node, priority)| scope.spawn(move || start(node, priority)))
            .into_iter()
            .collect();
        starting.into_iter().map(|one| one.join().expect("started")).collect::<Vec<_>>()
    });
    let holders = || all.iter().map(Daemon::is_active).collect::<Vec<_>>();
    eventually("the best holds it alone", || holders() == [false, false, true]);
    // A last word of the others may be recorded after they are seen to be silent.
    eventually("only it speaks", || {
        let all = adverts(&lab);
        all.len() >= 20 && all.iter().rev().take(20).all(|advert| advert.node == 2)
    });
}

/// Two adverts missing are no reason to take over.
fn short_stall() {
    let (lab, first, second) = settled("");
    first.freeze(true);
    std::thread::sleep(Duration::from_millis(220));
    first.freeze(false);
    let seen = adverts(&lab).len();
    eventually("ten adverts pass", || adverts(&lab).len() >= seen + 10);
    assert!(first.is_active() && !second.is_active());
    assert!(adverts(&lab).iter().all(|advert| advert.node == 0), "{}", second.log());
    assert!(first.log().contains("late: the machine stood still"), "{}", first.log());
}

/// A better router of the same VRID that sends unicast: it was not asked.
fn uninvited_unicast() {
    let lab = Lab::new(3);
    let first = Daemon::vipd(&lab.nodes[0], &Router::v3(vip(), 150));
    eventually("the first holds it", || first.is_active());
    let far = "control = 'CONTROL'\n[[instances]]\nname = 't'\ninterface = 'eth0'\nvrid = 51\n\
               addresses = ['192.0.2.100/24']\ninterval = '10cs'\npriority = 254\n\
               peers = ['192.0.2.1']\n";
    let folder = tempfile::tempdir().expect("a folder");
    let control = folder.path().join("sock").display().to_string();
    let stranger = Daemon::vipd_with(&lab.nodes[2], folder, &far.replace("CONTROL", &control));
    eventually("the stranger believes it is alone", || stranger.is_active());
    eventually("its unicast is refused", || {
        first.log().contains("a unicast advert where no peers")
    });
    assert!(first.is_active());
}

/// Nobody hears anybody, and then again: the better one has it and says so.
fn cut_and_healed() {
    let (lab, first, second) = settled("");
    lab.partition(0, true);
    eventually("both hold it", || first.is_active() && second.is_active());
    lab.partition(0, false);
    eventually("the better alone holds it", || first.is_active() && !second.is_active());
    eventually("and announces", || !announcements(&lab, 0, vip()).is_empty());
}

fn put_back() {
    let (lab, first, _second) = settled("");
    let flush = || {
        let mut netlink = Netlink::open().expect("netlink");
        let eth0 = netlink.link("eth0").expect("eth0").id;
        let all = netlink.addresses().expect("listed");
        let (_, address) = all.into_iter().find(|(_, address)| address.ip == vip()).expect("held");
        netlink.delete_address(&eth0, &address).expect("taken away");
    };
    lab.nodes[0].inside(flush);
    eventually("it is back", || lab.nodes[0].has(vip()));
    assert!(first.log().contains("was taken away; put back"), "{}", first.log());
}

/// Whether this kernel ends connections; says so if it doesn't.
fn can_end_connections(lab: &Lab) -> bool {
    let tried =
        lab.nodes[0].inside(|| Sockets::open().and_then(|mut s| s.destroy([192, 0, 2, 77].into())));
    if tried.is_err() {
        println!("skipped: this kernel can't end connections");
    }
    tried.is_ok()
}

/// A connection that was ended gives its error at once, and not by a timeout.
fn assert_ended(mut client: &TcpStream) {
    client.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    let start = Instant::now();
    let ended = client.read(&mut [0; 1]).expect_err("the connection was ended");
    let kinds = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset];
    assert!(kinds.contains(&ended.kind()), "{ended}");
    assert!(start.elapsed() < Duration::from_secs(5), "at once, and not by a timeout");
}

fn connections() {
    let (lab, first, _second) = settled("");
    if !can_end_connections(&lab) {
        return;
    }
    let (client, _server) = lab.nodes[0].inside(|| {
        let listener = TcpListener::bind((vip(), 0)).expect("bound");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let server = listener.accept().expect("accepted").0;
        (client, server)
    });
    first.stop();
    assert_ended(&client);
}

/// Below the ports that the kernel chooses by itself, so that nobody else listens there.
const SERVICE_PORT: u16 = 7444;

/// A program that connects again and again, as one does that lost its server; its first success.
fn connect_impatiently() -> TcpStream {
    let start = Instant::now();
    loop {
        if let Ok(connected) = TcpStream::connect((vip(), SERVICE_PORT)) {
            return connected;
        }
        assert!(start.elapsed() < PATIENCE, "nobody was ever connected to");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The new holder's own programs lose what they had with the former one, and nothing that they made
/// since: the first such connection comes while the takeover is still being done.
fn takeover_connections() {
    let (lab, first, second) = settled("");
    if !can_end_connections(&lab) {
        return;
    }
    let former = lab.nodes[0].inside(|| TcpListener::bind((vip(), 0)).expect("bound"));
    let far = former.local_addr().expect("bound");
    let old = lab.nodes[1].inside(|| TcpStream::connect(far).expect("connected"));
    let service =
        lab.nodes[1].inside(|| TcpListener::bind(("0.0.0.0", SERVICE_PORT)).expect("bound"));
    // Killed, so that nobody but the new holder ends anything; its kernel refuses until then.
    first.kill();
    let mut new = lab.nodes[1].inside(connect_impatiently);
    let (mut served, _) = service.accept().expect("accepted");
    eventually("the takeover is done", || second.log().contains("to the former holder of"));
    assert_ended(&old);
    served.write_all(b"x").expect("the new connection lives");
    new.set_read_timeout(Some(PATIENCE)).expect("set");
    new.read_exact(&mut [0; 1]).expect("the new connection lives");
}

/// The owner has the address as its real one: it holds it at once, and keeps it when it stops.
fn owner() {
    let lab = Lab::new(2);
    let real = lab.nodes[0].address;
    let second = Daemon::vipd(&lab.nodes[1], &Router::v3(real, 100));
    eventually("the backup stands in", || lab.nodes[1].has(real));
    let first = Daemon::vipd(&lab.nodes[0], &Router::v3(real, 255));
    eventually("the backup yields to the owner", || !lab.nodes[1].has(real));
    assert!(first.is_active() && !second.is_active());
    first.stop();
    eventually("the backup stands in again", || lab.nodes[1].has(real));
    let kept = lab.nodes[0].inside(|| Netlink::open().and_then(|mut netlink| netlink.addresses()));
    assert!(kept.expect("listed").iter().any(|(_, address)| address.ip == real));
}

fn checks() {
    let lab = Lab::new(2);
    let folder = tempfile::tempdir().expect("a folder");
    let (fit, good) = (folder.path().join("fit"), folder.path().join("good"));
    std::fs::write(&fit, "").expect("written");
    std::fs::write(&good, "").expect("written");
    let listener = lab.nodes[0].inside(|| TcpListener::bind(("127.0.0.1", 7443)).expect("bound"));
    let extra = format!(
        "[[instances.checks]]\nname = 'fit'\nkind = 'file'\npath = '{}'\ninterval = '20ms'\n\
         [[instances.checks]]\nname = 'good'\nkind = 'command'\ncommand = ['/bin/cat', '{}']\n\
         interval = '20ms'\nfall = 2\nweight = -100\n\
         [[instances.checks]]\nname = 'port'\nkind = 'tcp'\nport = 7443\ninterval = '20ms'\nweight = -1\n\
         [[instances.checks]]\nname = 'wire'\nkind = 'carrier'\ninterface = 'eth0'\n",
        fit.display(),
        good.display()
    );
    let first = Daemon::vipd(&lab.nodes[0], &Router { extra, ..Router::v3(vip(), 150) });
    eventually("the first holds it", || first.is_active());
    let second = Daemon::vipd(&lab.nodes[1], &Router::v3(vip(), 100));
    drop(listener);
    eventually("the port's weight counts", || first.status()["priority"] == 149);
    assert!(first.is_active());
    std::fs::remove_file(&good).expect("removed");
    eventually("the second is better now", || second.is_active() && !first.is_active());
    assert_eq!(first.status()["priority"], 49);
    std::fs::write(&good, "").expect("written");
    eventually("the first is better again", || first.is_active() && !second.is_active());
    std::fs::remove_file(&fit).expect("removed");
    eventually("the first gives up", || second.is_active() && !first.is_active());
    assert_eq!(first.status()["state"], "initialize");
    assert_eq!(first.status()["hindrance"], "check fit failed");
}

/// The longest time between two adverts of a node from a moment on.
pub(crate) fn longest_gap(lab: &Lab, node: usize, from: Instant) -> Duration {
    let all = adverts(lab);
    let times: Vec<Instant> =
        all.iter().filter(|a| a.node == node && a.at >= from).map(|a| a.at).collect();
    let gaps = times.windows(2).map(|pair| pair[1].duration_since(pair[0]));
    gaps.max().unwrap_or(Duration::MAX)
}

fn hanging_check() {
    let lab = Lab::new(1);
    let extra = "[[instances.checks]]\nname = 'slow'\nkind = 'command'\n\
                 command = ['/bin/sh', '-c', 'sleep 60; true']\ninterval = '10ms'\n\
                 timeout = '50ms'\nweight = -10\n\
                 [[instances.checks]]\nname = 'deaf'\nkind = 'http'\n\
                 url = 'http://192.0.2.99/'\ninterval = '10ms'\ntimeout = '50ms'\nweight = -10";
    let router = Router { extra: extra.to_owned(), ..Router::v3(vip(), 150) };
    let first = Daemon::vipd(&lab.nodes[0], &router);
    eventually("both checks failed", || first.status()["priority"] == 130);
    eventually("it is Active all the same", || first.is_active());
    let (start, sent) = (Instant::now(), adverts(&lab).len());
    eventually("thirty adverts pass", || adverts(&lab).len() >= sent + 30);
    let gap = longest_gap(&lab, 0, start);
    assert!(gap < Duration::from_millis(300), "no neighbour would have noticed: {gap:?}");
}

/// The kernel's own account of what a process may do.
fn rights() {
    let lab = Lab::new(1);
    let vipd = Daemon::vipd(&lab.nodes[0], &Router::v3(vip(), 100));
    let pid = vipd.pid().as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_whitespace().nth(1)).expect("a field").to_owned()
    };
    // CAP_NET_ADMIN is 12, CAP_NET_RAW is 13.
    assert_eq!(field("CapEff"), "0000000000003000");
    assert_eq!(field("CapPrm"), "0000000000003000");
    assert_eq!(field("CapBnd"), "0000000000000000", "children get none");
    assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".to_owned(), "2".to_owned()));
    assert_eq!(field("Threads"), "1");
    let socket = std::fs::metadata(vipd.folder().join("sock")).expect("it listens").permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&socket) & 0o777, 0o660);
    if !vipd.log().contains("memory is not locked") {
        assert_ne!(field("VmLck"), "0");
    }
}

fn notifies() {
    let lab = Lab::new(1);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("bound");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    let config = folder.path().join("vipd.toml");
    let text = format!(
        "control = '{}'\n[[instances]]\nname = 't'\ninterface = 'eth0'\nvrid = 51\n\
         addresses = ['{}/24']\n",
        folder.path().join("sock").display(),
        vip()
    );
    std::fs::write(&config, text).expect("written");
    let mut command = std::process::Command::new(crate::daemons::vipd());
    command.arg("run").arg(&config).stderr(std::process::Stdio::null());
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "90000");
    let mut child = lab.nodes[0].spawn(&mut command);
    let said = || {
        let mut bytes = [0; 2048];
        let length = socket.recv(&mut bytes).expect("it speaks");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let state = || loop {
        let text = said();
        if let Some(rest) = text.strip_prefix("STATUS=") {
            break rest.lines().next().expect("one").to_owned();
        }
    };
    eventually("it is ready", || said() == "READY=1");
    for _ in 0..2 {
        eventually("it lives", || said() == "WATCHDOG=1");
    }
    assert_eq!(state(), "t/ipv4 active", "three adverts later");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    assert!(child.wait().expect("ours").success());
    eventually("it says that it stops", || said() == "STOPPING=1");
}

fn second_refused() {
    let lab = Lab::new(1);
    let first = Daemon::vipd(&lab.nodes[0], &Router::v3(vip(), 100));
    // Even with a control socket of its own.
    let text = std::fs::read_to_string(first.folder().join("vipd.toml")).expect("read");
    let config = first.folder().join("second.toml");
    std::fs::write(&config, text.replace("/sock'", "/other'")).expect("written");
    let mut command = std::process::Command::new(crate::daemons::vipd());
    command.arg("run").arg(config).stderr(std::process::Stdio::piped());
    let output = lab.nodes[0].spawn(&mut command).wait_with_output().expect("ours");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("another vipd runs in this network namespace"),
        "{said}"
    );
    eventually("the first goes on", || lab.nodes[0].has(vip()));
}
