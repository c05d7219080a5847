//! Who is let in, by example and over every history of connections.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const RULES: Rules = Rules {
    places: 16,
    friends_places: 6,
    stranger_places: 3,
    stranger: Rate { burst: 8, every: Duration::from_secs(5) },
    strangers: Rate { burst: 60, every: Duration::from_millis(50) },
    friend: Rate { burst: 50, every: Duration::from_millis(500) },
};
const T0: Duration = Duration::from_secs(100);

fn admission() -> Admission {
    Admission::new(RULES, [])
}

fn four(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn six(last: u16) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last).into()
}

/// Comes in and leaves, with a certificate or without one.
fn visit(admission: &mut Admission, address: IpAddr, now: Duration, has_certificate: bool) -> bool {
    let Ok(guest) = admission.admit(address, now) else { return false };
    if has_certificate {
        admission.authenticated(address, guest, now);
    }
    admission.leave(guest);
    true
}

/// Strangers of many addresses take what they get.
fn crowd(admission: &mut Admission) {
    for last in 2..=200 {
        while admission.admit(four(last), T0).is_ok() {}
    }
}

#[test]
fn a_stranger_gets_a_few_attempts_and_then_one_now_and_then() {
    let mut admission = admission();
    let mut attempts = |now| (0..20).filter(|_| visit(&mut admission, four(1), now, false)).count();
    assert_eq!(attempts(T0), 8);
    assert_eq!(attempts(T0 + Duration::from_secs(5)), 1);
    assert_eq!(attempts(T0 + Duration::from_hours(1)), 8);
}

#[test]
fn a_friend_comes_as_often_as_he_likes() {
    let mut admission = admission();
    for _ in 0..10_000 {
        assert!(visit(&mut admission, four(1), T0, true));
    }
}

/// Somebody behind the same address as a friend, with no certificate.
#[test]
fn a_friend_that_shows_no_certificate_is_slowed_down() {
    let mut admission = admission();
    assert!(visit(&mut admission, four(1), T0, true));
    assert_eq!((0..1000).filter(|_| visit(&mut admission, four(1), T0, false)).count(), 50);
    assert!(!visit(&mut admission, four(1), T0, true));
}

#[test]
fn a_crowd_of_strangers_keeps_no_friend_out() {
    let mut admission = admission();
    assert!(visit(&mut admission, four(1), T0, true));
    crowd(&mut admission);
    assert_eq!(admission.inside(), RULES.places - RULES.friends_places);
    for _ in 0..RULES.friends_places {
        assert_eq!(admission.admit(four(1), T0), Ok(Guest::Friend(four(1))));
    }
    assert_eq!(admission.admit(four(1), T0), Err(Turned::Full));
}

#[test]
fn those_known_from_the_beginning_are_friends_before_anybody_is_met() {
    let mut admission = Admission::new(RULES, [four(1)]);
    crowd(&mut admission);
    for _ in 0..RULES.friends_places {
        assert_eq!(admission.admit(four(1), T0), Ok(Guest::Friend(four(1))));
    }
}

#[test]
fn a_slow_stranger_holds_few_places() {
    let mut admission = admission();
    for _ in 0..RULES.stranger_places {
        assert_eq!(admission.admit(four(1), T0), Ok(Guest::Stranger(four(1))));
    }
    assert_eq!(admission.admit(four(1), T0), Err(Turned::PeerTooMany));
    assert_eq!(admission.admit(four(2), T0), Ok(Guest::Stranger(four(2))));
}

#[test]
fn strangers_in_a_network_of_ipv6_are_one_and_take_nothing_from_a_friend_there() {
    let mut admission = admission();
    assert!(visit(&mut admission, six(1), T0, true));
    let held = (2..1000).filter(|last| admission.admit(six(*last), T0).is_ok()).count();
    assert_eq!(held, RULES.stranger_places, "they are one stranger together");
    assert_eq!(admission.admit(six(1), T0), Ok(Guest::Friend(six(1))));
    let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
    assert_eq!(admission.admit(mapped, T0), Ok(Guest::Stranger(four(1))));
}

#[test]
fn all_strangers_together_try_seldom_and_memory_is_bounded() {
    let mut admission = admission();
    let networks = (0..10_000_u32).map(|number| Ipv6Addr::from(u128::from(number) << 64).into());
    let admitted = networks.filter(|address| visit(&mut admission, *address, T0, false)).count();
    assert_eq!(admitted, 60);
    assert!(admission.peers.len() <= PEERS);
}

#[test]
fn whoever_knocks_at_a_full_house_pays_for_it() {
    let mut admission = admission();
    crowd(&mut admission);
    let last = (0..1000).map(|_| admission.admit(four(1), T0)).last();
    assert_eq!(last, Some(Err(Turned::PeerTooOften)));
}

#[test]
fn those_turned_away_are_told_of_together() {
    let mut admission = admission();
    let told: Vec<String> =
        (0..13).filter_map(|_| admission.admit_or_tell(four(1), T0).err()?).collect();
    let line = |count| {
        let last = "the last of 192.0.2.1, since it holds too many connections";
        format!("{count} connections were turned away, {last}")
    };
    assert_eq!(told, [line(1)], "the first at once");
    assert_eq!(admission.admit_or_tell(four(1), T0 + Duration::from_secs(9)), Err(None));
    assert_eq!(admission.admit_or_tell(four(1), T0 + Duration::from_secs(10)), Err(Some(line(11))));
}

proptest! {
    /// Whatever happens, places and memory are bounded, and every place comes back.
    #[test]
    fn places_are_bounded(events in prop::collection::vec((0_u8..40, 0_u8..4, 0_u64..9000), 1..400)) {
        let mut admission = admission();
        let mut now = T0;
        let mut held: Vec<(u8, Guest)> = Vec::new();
        for (peer, what, step) in events {
            now += Duration::from_millis(step);
            let at = held.iter().position(|(holder, _)| *holder == peer);
            match (what, at) {
                (0 | 1, _) => held.extend(admission.admit(four(peer), now).map(|guest| (peer, guest))),
                (2, Some(at)) => admission.authenticated(four(peer), held[at].1, now),
                (_, Some(at)) => admission.leave(held.swap_remove(at).1),
                (_, None) => {}
            }
            prop_assert_eq!(admission.inside(), held.len());
            prop_assert!(admission.inside() <= RULES.places && admission.peers.len() <= PEERS);
        }
        for (_, guest) in held {
            admission.leave(guest);
        }
        prop_assert_eq!(admission.inside(), 0);
        prop_assert!(admission.peers.values().all(|peer| peer.places == 0));
    }
}
