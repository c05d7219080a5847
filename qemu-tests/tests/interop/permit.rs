//! The permit: Active only with it, and gone with it.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with, sockopt,
};
use rustix::time::{ClockId, clock_gettime};
use vrrp::permit::{MESSAGE_BYTES, Message};

use crate::Test;
use crate::daemons::{Daemon, Router};
use crate::lab::{Lab, eventually};
use crate::wire::adverts;

pub(crate) const TESTS: &[Test] = &[
    ("permit_is_needed_and_its_withdrawal_is_answered_when_all_is_gone", withdrawn),
    ("permit_that_runs_out_releases_in_time", runs_out),
    ("permit_goes_with_its_holder", holder_dies),
    ("permit_is_for_the_configured_user_only", strangers),
    ("permit_moves_the_address_to_the_other_node", moves),
    ("permit_holder_is_told_who_else_adverts_the_address", claimed),
];

fn vip() -> IpAddr {
    [192, 0, 2, 100].into()
}

fn boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let nanos = u32::try_from(time.tv_nsec).expect("a clock");
    Duration::new(u64::try_from(time.tv_sec).expect("a clock"), nanos)
}

/// The holder of a permit.
struct Holder(OwnedFd);

impl Holder {
    fn of(vipd: &Daemon) -> Self {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .expect("a socket");
        let path = vipd.folder().join("permit");
        connect(&socket, &SocketAddrUnix::new(path).expect("short")).expect("connected");
        // What is never said must fail a test, and not keep it waiting.
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(SILENCE)).expect("set");
        Self(socket)
    }

    fn say(&self, message: Message) {
        send(&self.0, &message.encode(), SendFlags::NOSIGNAL).expect("sent");
    }

    fn grant(&self, epoch: u64, lifetime: Duration) {
        self.say(Message::Grant { epoch, until: boot() + lifetime });
    }

    fn hear(&self) -> Message {
        let mut bytes = [0; MESSAGE_BYTES];
        let (length, _) = recv(&self.0, &mut bytes[..], RecvFlags::empty()).expect("heard");
        Message::decode(&bytes[..length]).expect("a message")
    }

    fn hear_until(&self, wanted: Message) {
        eventually("the report comes", || self.hear() == wanted);
    }
}

fn node(lab: &Lab, index: usize, priority: u8) -> Daemon {
    let extra = "permit = 'pgkeeper'".to_owned();
    Daemon::vipd(&lab.nodes[index], &Router { extra, ..Router::v3(vip(), priority) })
}

const LONG: Duration = Duration::from_mins(1);
const SILENCE: Duration = Duration::from_secs(30);

fn withdrawn() {
    let lab = Lab::new(1);
    let vipd = node(&lab, 0, 100);
    assert_eq!(vipd.status()["permitted"], false);
    let holder = Holder::of(&vipd);
    holder.grant(3, LONG);
    holder.hear_until(Message::Report { epoch: 3, held: 1 });
    assert_eq!(vipd.status()["permitted"], true);
    assert!(lab.nodes[0].has(vip()));
    holder.say(Message::Withdraw { epoch: 3 });
    holder.hear_until(Message::Report { epoch: 3, held: 0 });
    assert!(!lab.nodes[0].has(vip()), "gone before it was said");
    holder.grant(2, LONG);
    eventually("a grant of an older epoch is refused", || {
        vipd.log().contains("the holder is stale")
    });
    assert!(!lab.nodes[0].has(vip()));
}

fn runs_out() {
    let lab = Lab::new(1);
    let vipd = node(&lab, 0, 100);
    let holder = Holder::of(&vipd);
    holder.grant(1, LONG);
    holder.hear_until(Message::Report { epoch: 1, held: 1 });
    let lifetime = Duration::from_secs(2);
    let start = Instant::now();
    holder.grant(1, lifetime);
    holder.hear_until(Message::Report { epoch: 1, held: 0 });
    assert!(start.elapsed() + Duration::from_millis(2) >= lifetime, "not before its end");
    assert!(!lab.nodes[0].has(vip()));
    assert!(vipd.log().contains("the permit ran out"), "{}", vipd.log());
}

fn holder_dies() {
    let lab = Lab::new(1);
    let vipd = node(&lab, 0, 100);
    let holder = Holder::of(&vipd);
    holder.grant(1, LONG);
    holder.hear_until(Message::Report { epoch: 1, held: 1 });
    let second = Holder::of(&vipd);
    let refused = recv(&second.0, &mut [0; 1][..], RecvFlags::empty());
    assert!(matches!(refused, Ok((0, _))), "one holder at a time: {refused:?}");
    drop(holder);
    eventually("the address goes with it", || !lab.nodes[0].has(vip()));
    eventually("the others are told", || {
        adverts(&lab).last().is_some_and(|advert| advert.priority == 0)
    });
    let next = Holder::of(&vipd);
    next.grant(2, LONG);
    next.hear_until(Message::Report { epoch: 2, held: 1 });
}

/// A process of another user connects, and is hung up on. Only root can become one.
fn strangers() {
    let lab = Lab::new(1);
    let extra = "permit = 'pgkeeper'".to_owned();
    let router = Router { extra, ..Router::v3(vip(), 100) };
    let folder = tempfile::tempdir().expect("a folder");
    let text = router.vipd(&folder.path().join("sock"), &folder.path().join("permit"));
    let vipd = Daemon::vipd_with(&lab.nodes[0], folder, &format!("permit_user = 70\n{text}"));
    let path = vipd.folder().join("permit");
    let mode = std::fs::metadata(&path).expect("it is there").permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o666);
    let heard = |user: u32| {
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                use rustix::process::Uid;
                // A thread has a user of its own, as far as the kernel is concerned.
                let other = Uid::from_raw(user);
                if rustix::thread::set_thread_res_uid(other, other, other).is_err() {
                    return None;
                }
                let socket = socket_with(
                    AddressFamily::UNIX,
                    SocketType::SEQPACKET,
                    SocketFlags::CLOEXEC,
                    None,
                )
                .expect("a socket");
                connect(&socket, &SocketAddrUnix::new(&path).expect("short")).expect("connected");
                let grant = Message::Grant { epoch: 1, until: boot() + LONG };
                let _ = send(&socket, &grant.encode(), SendFlags::NOSIGNAL);
                let mut bytes = [0; MESSAGE_BYTES];
                Some(recv(&socket, &mut bytes[..], RecvFlags::empty()).map_or(0, |(n, _)| n))
            });
            asked.join().expect("asked")
        })
    };
    // The folder of the test is for its owner only, until here.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(vipd.folder(), open).expect("opened");
    let (Some(stranger), Some(friend)) = (heard(71), heard(70)) else {
        println!("skipped: nobody but root can become another user");
        return;
    };
    assert_eq!((stranger, friend), (0, MESSAGE_BYTES));
    assert!(vipd.log().contains("user 71 may not hold the permit"), "{}", vipd.log());
}

/// The better node without a permit does not matter, whoever has it does.
fn moves() {
    let lab = Lab::new(2);
    let (better, lesser) = (node(&lab, 0, 200), node(&lab, 1, 100));
    let (of_better, of_lesser) = (Holder::of(&better), Holder::of(&lesser));
    of_lesser.grant(1, LONG);
    of_lesser.hear_until(Message::Report { epoch: 1, held: 1 });
    assert!(!lab.nodes[0].has(vip()) && lab.nodes[1].has(vip()));
    of_lesser.say(Message::Withdraw { epoch: 2 });
    of_lesser.hear_until(Message::Report { epoch: 2, held: 0 });
    of_better.grant(2, LONG);
    of_better.hear_until(Message::Report { epoch: 2, held: 1 });
    assert!(lab.nodes[0].has(vip()) && !lab.nodes[1].has(vip()));
}

/// A holder that granted nothing learns that the other node has the address.
fn claimed() {
    let lab = Lab::new(2);
    let nodes = [node(&lab, 0, 110), node(&lab, 1, 100)];
    let (without, with) = (Holder::of(&nodes[0]), Holder::of(&nodes[1]));
    with.grant(7, LONG);
    with.hear_until(Message::Report { epoch: 7, held: 1 });
    without.hear_until(Message::Claimed { epoch: 0 });
    assert!(!lab.nodes[0].has(vip()));
}
