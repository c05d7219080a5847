//! The door's rules, over every history of connections.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const T0: Duration = Duration::from_secs(100);

fn four(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

#[test]
fn a_stranger_gets_ten_attempts_and_then_one_every_five_seconds() {
    let mut limits = Limits::default();
    let mut attempt = |now| {
        let admitted = limits.admit(four(1), now).is_ok();
        if admitted {
            limits.closed(four(1));
        }
        admitted
    };
    assert_eq!((0..20).filter(|_| attempt(T0)).count(), 10);
    let later = T0 + Duration::from_secs(5);
    assert_eq!((0..20).filter(|_| attempt(later)).count(), 1);
    let much_later = T0 + Duration::from_hours(1);
    assert_eq!((0..20).filter(|_| attempt(much_later)).count(), 10);
}

#[test]
fn an_operator_connects_as_often_as_he_likes() {
    let mut limits = Limits::default();
    for _ in 0..1000 {
        assert_eq!(limits.admit(four(1), T0), Ok(()));
        limits.authenticated(four(1), T0);
        limits.closed(four(1));
    }
}

#[test]
fn a_flood_keeps_no_friend_out() {
    let mut limits = Limits::default();
    assert_eq!(limits.admit(four(1), T0), Ok(()));
    limits.authenticated(four(1), T0);
    limits.closed(four(1));
    for number in 0..100_000_u32 {
        let _ = limits.admit(Ipv4Addr::from(0x0b00_0000 + number).into(), T0);
    }
    assert_eq!(limits.open, SLOTS - FRIENDS_SLOTS);
    assert_eq!(limits.admit(four(2), T0), Err(Turned::Full));
    assert_eq!(limits.admit(four(1), T0), Ok(()));
    assert!(limits.peers.len() <= PEERS);
}

#[test]
fn neighbours_in_a_network_of_ipv6_are_one_peer() {
    let mut limits = Limits::default();
    let admitted = (0..64_u16).filter(|low| {
        let address = IpAddr::from([0xfd77, 0, 0, 1, 0, 0, 0, *low]);
        let admitted = limits.admit(address, T0).is_ok();
        if admitted {
            limits.closed(address);
        }
        admitted
    });
    assert_eq!(admitted.count(), 10);
    let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
    assert_eq!(peer_of(mapped), four(1));
}

#[test]
fn a_slow_stranger_holds_three_places() {
    let mut limits = Limits::default();
    assert_eq!((0..10).filter(|_| limits.admit(four(1), T0).is_ok()).count(), STRANGER_SLOTS);
    assert_eq!(limits.admit(four(1), T0), Err(Turned::PeerTooMany));
    assert_eq!(limits.admit(four(2), T0), Ok(()));
}

#[test]
fn those_turned_away_are_reported_together() {
    let mut limits = Limits::default();
    assert_eq!(limits.report(T0), None);
    for _ in 0..13 {
        let _ = limits.admit(four(1), T0);
    }
    assert_eq!(limits.report(T0), Some(10));
    let _ = limits.admit(four(1), T0);
    assert_eq!(limits.report(T0 + Duration::from_secs(9)), None);
    assert_eq!(limits.report(T0 + Duration::from_secs(10)), Some(1));
}

proptest! {
    /// Over any stretch of time, a bucket gives no more than its burst and its rate.
    #[test]
    fn a_bucket_never_gives_too_much(steps in proptest::collection::vec(0_u64..4000, 1..200)) {
        let rate = Rate { burst: 5, every: Duration::from_millis(700) };
        let mut bucket = Bucket::default();
        let mut now = T0;
        let mut given = Vec::new();
        for step in steps {
            now += Duration::from_millis(step);
            if bucket.take(rate, now) {
                given.push(now);
            }
        }
        for (first, start) in given.iter().enumerate() {
            for (last, end) in given.iter().enumerate().skip(first) {
                let count = u128::try_from(last - first + 1).unwrap();
                let allowed = 5 + end.saturating_sub(*start).as_nanos() / rate.every.as_nanos();
                prop_assert!(count <= allowed, "{} in {:?}", count, end.saturating_sub(*start));
            }
        }
    }

    /// Whatever happens, places and memory are bounded, and every place comes back.
    #[test]
    fn places_are_bounded(events in proptest::collection::vec((0_u8..40, 0_u8..4, 0_u64..9000), 1..400)) {
        let mut limits = Limits::default();
        let mut now = T0;
        let mut open = Vec::new();
        for (peer, what, step) in events {
            now += Duration::from_millis(step);
            match what {
                0 | 1 => {
                    if limits.admit(four(peer), now).is_ok() {
                        open.push(peer);
                    }
                }
                2 if open.contains(&peer) => limits.authenticated(four(peer), now),
                _ => {
                    if let Some(at) = open.iter().position(|held| *held == peer) {
                        open.swap_remove(at);
                        limits.closed(four(peer));
                    }
                }
            }
            prop_assert_eq!(limits.open, open.len());
            prop_assert!(limits.open <= SLOTS && limits.peers.len() <= PEERS);
        }
        for peer in open {
            limits.closed(four(peer));
        }
        prop_assert_eq!(limits.open, 0);
        prop_assert!(limits.peers.values().all(|peer| peer.open == 0));
    }
}
