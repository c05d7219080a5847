//! The conditions around an election, and the reasons that are given.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use vrrp::packet::Metadata;
use vrrp::{Action, Priority, State};

use super::*;
use crate::Config;

const SECOND: Duration = Duration::from_secs(1);
const OURS: [u8; 4] = [192, 0, 2, 1];
const THEIRS: [u8; 4] = [192, 0, 2, 2];

fn settings(extra: &str) -> Settings {
    let text = format!(
        "[[instances]]\nname = 'api'\ninterface = 'eth0'\nvrid = 51\n\
         addresses = ['192.0.2.10/24']\n{extra}"
    );
    let config = Config::parse(&text).expect("a good configuration");
    Settings::of(&config.instances[0]).remove(0)
}

fn running(extra: &str) -> Router {
    let mut router = Router::new(settings(extra), Duration::ZERO);
    router.set_link(Duration::ZERO, true);
    router.set_primary(Duration::ZERO, Some(OURS.into()));
    router
}

/// Active by silence at four seconds.
fn active(extra: &str) -> Router {
    let mut router = running(extra);
    router.tick(4 * SECOND);
    assert_eq!(router.state(), State::Active);
    router
}

/// An advert of another router with the same configuration.
fn advert(extra: &str, priority: u8) -> Vec<u8> {
    let mut other = Router::new(settings(extra), Duration::ZERO);
    other.set_primary(Duration::ZERO, Some(THEIRS.into()));
    let mut buffer = [0; 256];
    let destination = other.destinations()[0];
    let length = other.write(SECOND, priority, destination, &mut buffer);
    buffer[..length.expect("can be written").expect("has a source")].to_vec()
}

fn from(source: [u8; 4], destination: [u8; 4]) -> Metadata {
    Metadata { source: source.into(), destination: destination.into(), ttl: 255 }
}

fn multicast() -> Metadata {
    from(THEIRS, [224, 0, 0, 18])
}

#[test]
fn it_runs_only_with_link_and_source() {
    let mut router = Router::new(settings(""), Duration::ZERO);
    assert_eq!(router.hindrance().as_deref(), Some("interface eth0 is down"));
    router.set_link(Duration::ZERO, true);
    let hindrance = router.hindrance().expect("one");
    assert_eq!(hindrance, "no IPv4 address to send from on eth0");
    assert_eq!(router.state(), State::Initialize);
    router.set_primary(Duration::ZERO, Some(OURS.into()));
    assert_eq!((router.state(), router.hindrance()), (State::Backup, None));
}

#[test]
fn the_order_of_conditions_does_not_matter() {
    let mut router = Router::new(settings(""), Duration::ZERO);
    router.set_primary(Duration::ZERO, Some(OURS.into()));
    assert_eq!(router.state(), State::Initialize);
    router.set_link(Duration::ZERO, true);
    assert_eq!(router.state(), State::Backup);
}

#[test]
fn each_loss_releases_and_gives_its_reason() {
    type Loss = fn(&mut Router) -> Vec<Action>;
    let losses: [(Loss, &str, bool); 5] = [
        (|r| r.set_link(5 * SECOND, false), "interface eth0 is down", false),
        (|r| r.set_primary(5 * SECOND, None), "the address to send from is gone", true),
        (
            |r| r.set_standing(5 * SECOND, Standing::Unfit("check api failed".to_owned())),
            "check api failed",
            true,
        ),
        (|r| r.set_fault(5 * SECOND, Some("no room".to_owned())), "no room", true),
        (|r| r.stop(5 * SECOND), "vipd stops", true),
    ];
    for (lose, reason, says_so) in losses {
        let mut router = active("");
        router.take_news();
        let actions = lose(&mut router);
        assert_eq!(actions.first(), Some(&Action::Release), "{reason}");
        assert_eq!(actions.contains(&Action::SendPriorityZero), says_so, "{reason}");
        let news = router.take_news();
        assert_eq!(news.len(), 1, "{reason}");
        assert_eq!((news[0].to, news[0].reason.as_str()), (State::Initialize, reason));
    }
}

#[test]
fn another_source_address_is_another_election() {
    let mut router = active("");
    let actions = router.set_primary(5 * SECOND, Some([192, 0, 2, 7].into()));
    assert_eq!(actions.first(), Some(&Action::Release));
    assert_eq!(router.state(), State::Backup);
    router.tick(9 * SECOND);
    assert_eq!(router.state(), State::Active);
}

#[test]
fn a_weight_changes_the_priority_that_is_sent() {
    let mut router = active("");
    let weaker = Priority::new(80).expect("not zero");
    let actions = router.set_standing(5 * SECOND, Standing::Fit(weaker));
    assert_eq!(actions.first(), Some(&Action::SendAdvert { priority: weaker }));
    let mut late = Router::new(settings(""), Duration::ZERO);
    late.set_standing(Duration::ZERO, Standing::Fit(weaker));
    late.set_link(Duration::ZERO, true);
    late.set_primary(Duration::ZERO, Some(OURS.into()));
    let actions = late.tick(4 * SECOND);
    assert_eq!(actions.first(), Some(&Action::SendAdvert { priority: weaker }));
}

#[test]
fn a_better_router_is_yielded_to_and_named() {
    let mut router = active("");
    router.take_news();
    let packet = advert("", 200);
    let actions = router.hear(5 * SECOND, SECOND, &multicast(), &packet).expect("believed");
    assert_eq!(actions.first(), Some(&Action::Release));
    let reason = &router.take_news()[0].reason;
    assert_eq!(reason, "192.0.2.2 adverts priority 200, ours is 100");
}

#[test]
fn silence_is_named_by_its_kind() {
    let reason = |hear: &[u8], at: Duration| {
        let mut router = running("preempt = true");
        router.hear(SECOND, SECOND, &multicast(), hear).expect("believed");
        router.tick(at);
        router.take_news().pop().expect("news").reason
    };
    assert_eq!(reason(&advert("", 200), 5 * SECOND), "no advert of 192.0.2.2 for 4.000 s");
    assert_eq!(reason(&advert("", 0), 2 * SECOND), "192.0.2.2 resigned");
    let mut router = running("preempt = true");
    let lesser = advert("", 50);
    router.hear(3 * SECOND, SECOND, &multicast(), &lesser).expect("believed");
    router.tick(4 * SECOND);
    let news = router.take_news().pop().expect("news");
    assert_eq!(news.reason, "preempts 192.0.2.2 of priority 50");
}

#[test]
fn a_permit_is_needed_and_its_end_releases() {
    let mut router = running("permit = 'pgkeeper'");
    router.tick(4 * SECOND);
    assert_eq!(router.state(), State::Backup, "silence alone is not enough");
    let actions = router.grant(5 * SECOND, 7, 6 * SECOND);
    assert!(actions.contains(&Action::AddAddresses));
    assert_eq!(router.take_news().pop().expect("news").reason, "permit of epoch 7");
    let actions = router.tick(6 * SECOND);
    assert_eq!(actions.first(), Some(&Action::Release));
    assert_eq!(router.take_news().pop().expect("news").reason, "the permit ran out");
    router.grant(7 * SECOND, 7, 20 * SECOND);
    router.tick(11 * SECOND);
    assert_eq!(router.state(), State::Active);
    let actions = router.withdraw(12 * SECOND, "the holder is gone");
    assert_eq!(actions.first(), Some(&Action::Release));
}

#[test]
fn a_permit_outlives_an_interface_that_flaps() {
    let mut router = running("permit = 'pgkeeper'");
    router.grant(SECOND, 7, 100 * SECOND);
    router.set_link(2 * SECOND, false);
    router.set_primary(2 * SECOND, None);
    router.set_primary(3 * SECOND, Some(OURS.into()));
    router.set_link(3 * SECOND, true);
    router.tick(7 * SECOND);
    assert_eq!(router.state(), State::Active);
}

#[test]
fn unicast_listens_to_its_peers_and_to_nobody_else() {
    let extra = "peers = ['192.0.2.2']";
    let mut router = running(extra);
    let packet = advert(extra, 200);
    let to_us = from(THEIRS, OURS);
    assert!(router.hear(SECOND, SECOND, &to_us, &packet).is_ok());
    let stranger = from([192, 0, 2, 3], OURS);
    let dropped = router.hear(SECOND, SECOND, &stranger, &packet);
    assert_eq!(dropped, Err(Dropped::Stranger { sender: IpAddr::from([192, 0, 2, 3]) }));
    let dropped = router.hear(SECOND, SECOND, &multicast(), &packet);
    assert_eq!(dropped, Err(Dropped::WrongWay { multicast: true }));
    let mut open = running("");
    let dropped = open.hear(SECOND, SECOND, &to_us, &packet);
    assert_eq!(dropped, Err(Dropped::WrongWay { multicast: false }));
    assert_eq!(open.counters.dropped.get("wrong_way"), Some(&1));
}

#[test]
fn a_far_peer_needs_a_lower_bound_for_its_ttl() {
    let far = Metadata { ttl: 250, ..from(THEIRS, OURS) };
    let packet = advert("peers = ['192.0.2.2']", 200);
    let mut near = running("peers = ['192.0.2.2']");
    assert!(near.hear(SECOND, SECOND, &far, &packet).is_err());
    let mut open = running("peers = ['192.0.2.2']\nleast_ttl = 250");
    assert!(open.hear(SECOND, SECOND, &far, &packet).is_ok());
}

#[test]
fn signatures_are_wanted_as_configured() {
    let secret = format!("[[instances.keys]]\nsecret = 'hex:{}'", "ab".repeat(32));
    let enforced = format!("authentication = 'hmac'\n{secret}");
    let permissive = format!("authentication = 'hmac-permissive'\n{secret}");
    let (signed, plain) = (advert(&enforced, 200), advert("", 200));
    let verdict = |extra: &str, packet: &[u8]| {
        let mut router = running(extra);
        router.hear(SECOND, SECOND, &multicast(), packet).err().map(|dropped| dropped.kind())
    };
    assert_eq!(verdict(&enforced, &signed), None);
    assert_eq!(verdict(&enforced, &plain), Some("no_signature"));
    assert_eq!(verdict(&permissive, &signed), None);
    assert_eq!(verdict(&permissive, &plain), None);
    assert_eq!(verdict("", &signed), Some("unexpected_signature"));
    let other = enforced.replace("ab", "cd");
    assert_eq!(verdict(&other, &signed), Some("signature_forged"));
}

#[test]
fn what_the_other_has_otherwise_is_told_once_and_changes_nothing() {
    let mut router = running("");
    let other = advert("interval = '2s'", 200);
    assert!(router.hear(SECOND, SECOND, &multicast(), &other).is_ok());
    let two = Interval::from_seconds(2).expect("fits");
    assert_eq!(router.take_differences(), [Difference::Interval(two)]);
    assert!(router.take_differences().is_empty());
}

#[test]
fn two_owners_are_told_and_the_tie_decides() {
    let mut router = running("priority = 255");
    assert_eq!(router.state(), State::Active);
    let other = advert("priority = 255", 255);
    let actions = router.hear(SECOND, SECOND, &multicast(), &other).expect("believed");
    assert_eq!(router.take_differences(), [Difference::Owner]);
    assert_eq!(actions.first(), Some(&Action::Release), "theirs is the higher address");
    // Its own advert, thrown back by a switch, is no second owner.
    let thrown_back = from(OURS, [224, 0, 0, 18]);
    router.hear(SECOND, SECOND, &thrown_back, &other).expect("believed");
    assert!(router.take_differences().is_empty());
}

#[test]
fn an_advert_that_is_late_by_an_interval_is_counted() {
    let mut router = active("");
    let due_at = 5 * SECOND;
    assert_eq!(router.count_lateness(due_at + SECOND / 2, due_at), None);
    assert_eq!(router.count_lateness(due_at + SECOND, due_at), Some(SECOND));
    router.stop(6 * SECOND);
    assert_eq!(router.count_lateness(9 * SECOND, due_at), None, "who is not Active owes none");
    assert_eq!(router.counters.adverts_late, 1);
}

proptest! {
    #[test]
    fn no_packet_panics_and_garbage_moves_nobody(
        bytes in prop::collection::vec(any::<u8>(), 0..80), start: bool
    ) {
        let mut bytes = bytes;
        if let (true, Some(header)) = (start, bytes.get_mut(..6)) {
            header.copy_from_slice(&[0x31, 51, 255, 1, 0, 100]);
        }
        let mut router = active("");
        let heard = router.hear(5 * SECOND, SECOND, &multicast(), &bytes);
        prop_assert!(heard.is_ok() || router.is_active());
    }
}
