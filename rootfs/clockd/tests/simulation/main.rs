//! The client in a simulated world: does the clock become right, whatever the oscillator, the
//! network and the servers are like?

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a simulated world of a few hours"
)]

mod world;

use std::time::Duration;

use clockd::ntp::{
    Action, Client, Event, LONGEST_INTERVAL, Moment, Nanos, SAVE_EVERY, SETTLE, SHORTEST_INTERVAL,
    STEP_OUT, ServerId, Settings,
};
use proptest::prelude::*;
use world::{Nature, Peer, SECOND, START, World, answer};

const MILLISECOND: Nanos = SECOND / 1000;
const HOUR: Nanos = 3600 * SECOND;

fn near(nature: Nature) -> Peer {
    Peer { nature, way: 200_000, jitter: 100_000 }
}

fn far(nature: Nature) -> Peer {
    Peer { nature, way: 15 * MILLISECOND, jitter: 10 * MILLISECOND }
}

fn asked(world: &World, server: usize) -> Vec<Nanos> {
    let of = world.asked.iter().filter(|(_, asked)| asked.0 == server);
    of.map(|(when, _)| *when).collect()
}

#[test]
fn a_clock_that_is_seconds_off_is_stepped_once_and_then_kept() {
    let mut world = World::new(vec![near(Nature::Good); 3], -3 * SECOND, 40e-6, 1);
    world.run(10 * SECOND, |_| ());
    assert_eq!(world.steps.len(), 1);
    assert!(world.ready.is_some_and(|when| when < SECOND), "as soon as most have answered");
    world.run(HOUR / 2, |_| ());
    world.run(6 * HOUR, |world| assert!(world.off().abs() < MILLISECOND, "{}", world.off()));
    assert_eq!(world.steps.len(), 1);
    assert!(world.status.starts_with("synchronised: "), "{}", world.status);
    assert!(world.status.contains("oscillator -40.") || world.status.contains("oscillator -39."));
    let last: Vec<Nanos> = asked(&world, 0).into_iter().rev().take(2).collect();
    assert_eq!((last[0] - last[1]) / SECOND, LONGEST_INTERVAL.as_secs() as Nanos);
}

#[test]
fn a_clock_that_is_a_little_off_is_never_stepped() {
    let mut world = World::new(vec![near(Nature::Good); 3], 400 * MILLISECOND, -40e-6, 2);
    let mut last = Nanos::MIN;
    world.run(2 * HOUR, |world| {
        let wall = world.now + world.off();
        assert!(wall >= last, "time never runs backwards");
        last = wall;
    });
    assert!(world.steps.is_empty());
    assert!(world.off().abs() < MILLISECOND);
}

#[test]
fn after_the_start_a_large_difference_is_slewed_until_it_has_lasted() {
    let mut world = World::new(vec![near(Nature::Good)], 0, 0.0, 3);
    world.run(HOUR, |_| ());
    world.peers[0].nature = Nature::Off(30 * SECOND);
    let lasts = STEP_OUT.as_nanos() as Nanos;
    world.run(HOUR + lasts, |_| ());
    assert!(world.steps.is_empty());
    // So much slewing brings little more than half a second.
    assert!(world.off() > 0 && world.off() < SECOND);
    world.run(HOUR + 4 * lasts, |_| ());
    assert_eq!(world.steps.len(), 1);
    assert!((world.off() - 30 * SECOND).abs() < 2 * MILLISECOND, "{}", world.off());
    assert!(world.status.starts_with("synchronised: "), "{}", world.status);
}

#[test]
fn what_is_far_off_twice_with_a_long_silence_between_has_not_lasted() {
    let mut world = World::new(vec![near(Nature::Good)], 0, 0.0, 18);
    world.run(HOUR, |_| ());
    world.peers[0].nature = Nature::Off(30 * SECOND);
    let asked_at_least_once = LONGEST_INTERVAL.as_nanos() as Nanos;
    world.run(HOUR + asked_at_least_once, |_| ());
    world.peers[0].nature = Nature::Silent;
    world.run(3 * HOUR, |_| ());
    world.peers[0].nature = Nature::Off(30 * SECOND);
    world.run(3 * HOUR + asked_at_least_once, |_| ());
    assert!(world.steps.is_empty(), "{:?}", world.steps);
}

#[test]
fn a_leap_second_is_slewed() {
    let mut world = World::new(vec![near(Nature::Good); 3], 0, 20e-6, 19);
    world.run(HOUR, |_| ());
    for peer in &mut world.peers {
        peer.nature = Nature::Off(-SECOND);
    }
    world.run(4 * HOUR, |_| ());
    assert!(world.steps.is_empty(), "{:?}", world.steps);
    assert!((world.off() + SECOND).abs() < 2 * MILLISECOND, "{}", world.off());
}

#[test]
fn a_liar_that_was_alone_at_the_start_is_overruled_when_the_others_come() {
    let mut peers = vec![near(Nature::Silent); 3];
    peers[1].nature = Nature::Off(5 * HOUR);
    let mut world = World::new(peers, 0, 20e-6, 16);
    world.run(HOUR, |_| ());
    assert_eq!(world.steps.len(), 1, "there was nobody else to believe");
    for place in [0, 2] {
        world.peers[place].nature = Nature::Good;
    }
    world.run(4 * HOUR, |_| ());
    assert_eq!(world.steps.len(), 2);
    assert!(world.off().abs() < 2 * MILLISECOND, "{}", world.off());
    assert!(world.status.ends_with("2 of 3 agree: s0, s2"), "{}", world.status);
}

#[test]
fn a_liar_that_is_left_alone_moves_nothing() {
    let mut peers = vec![near(Nature::Good); 3];
    peers[1].nature = Nature::Off(7 * SECOND);
    let mut world = World::new(peers, 0, 20e-6, 17);
    world.run(4 * HOUR, |_| ());
    for place in [0, 2] {
        world.peers[place].nature = Nature::Silent;
    }
    world.run(24 * HOUR, |world| assert!(world.off().abs() < 50 * MILLISECOND, "{}", world.off()));
    assert!(world.steps.is_empty());
    assert!(world.status.ends_with("the clock runs free"), "{}", world.status);
    for place in [0, 2] {
        world.peers[place].nature = Nature::Good;
    }
    world.run(26 * HOUR, |_| ());
    assert!(world.status.ends_with("2 of 3 agree: s0, s2"), "{}", world.status);
}

#[test]
fn a_falseticker_moves_nothing() {
    let peers = vec![near(Nature::Good), near(Nature::Off(7 * SECOND)), far(Nature::Good)];
    let mut world = World::new(peers, 0, 20e-6, 4);
    world.run(HOUR, |world| assert!(world.off().abs() < 50 * MILLISECOND));
    assert!(world.off().abs() < 2 * MILLISECOND);
    assert!(world.steps.is_empty());
    assert!(world.status.ends_with("2 of 3 agree: s0, s2"), "{}", world.status);
}

#[test]
fn servers_that_contradict_each_other_move_nothing() {
    let peers = vec![near(Nature::Off(5 * SECOND)), near(Nature::Off(-5 * SECOND))];
    let mut world = World::new(peers, 0, 0.0, 5);
    world.run(HOUR, |_| ());
    assert_eq!((world.steps.len(), world.off(), world.saved.len()), (0, 0, 0));
    assert!(world.status.contains("contradict"), "{}", world.status);
    assert!(world.ready.is_some(), "others need not wait for a clock that can't be had");
}

#[test]
fn a_liar_that_answers_first_waits_for_the_others() {
    let mut peers = vec![far(Nature::Good); 3];
    peers[0] = near(Nature::Off(1000 * SECOND));
    let mut world = World::new(peers, 2 * SECOND, 0.0, 6);
    world.run(HOUR, |_| ());
    assert_eq!(world.steps.len(), 1);
    assert!((world.steps[0] + 2 * SECOND).abs() < 50 * MILLISECOND, "{:?}", world.steps);
}

#[test]
fn one_server_of_three_is_believed_only_after_the_start_is_over() {
    let peers = vec![near(Nature::Silent), near(Nature::Good), near(Nature::Unsynchronised)];
    let mut world = World::new(peers, 2 * SECOND, 0.0, 7);
    world.run(SETTLE.as_nanos() as Nanos - SECOND, |_| ());
    assert!(world.steps.is_empty() && world.ready.is_none());
    world.run(15 * SECOND, |_| ());
    assert_eq!(world.steps.len(), 1);
}

#[test]
fn without_any_server_the_clock_is_left_alone_and_nothing_is_saved() {
    let mut world = World::new(vec![near(Nature::Silent); 2], 5 * SECOND, 0.0, 8);
    world.run(HOUR, |_| ());
    assert_eq!((world.steps.len(), world.saved.len()), (0, 0));
    assert!(world.ready.is_some_and(|when| when <= 11 * SECOND));
    assert_eq!(world.status, "the clock runs free; s0: no answer; s1: no answer");
    let times = asked(&world, 0);
    assert!(times.len() > 50 && times.len() < 70, "about once a minute: {}", times.len());
}

#[test]
fn who_says_no_is_not_asked_again_and_who_says_less_is_asked_less() {
    let peers = vec![near(Nature::Kiss(*b"DENY")), near(Nature::Kiss(*b"RATE"))];
    let mut world = World::new(peers, 0, 0.0, 9);
    world.run(10 * HOUR, |_| ());
    assert_eq!(asked(&world, 0).len(), 1);
    let times = asked(&world, 1);
    assert!(times.len() < 45, "{}", times.len());
    assert!(times.windows(2).skip(5).all(|pair| pair[1] - pair[0] >= 1000 * SECOND));
    // By the next day the name may stand for somebody else.
    world.run(30 * HOUR, |_| ());
    assert_eq!(asked(&world, 0).len(), 2);
}

#[test]
fn no_server_is_asked_more_often_than_promised() {
    for nature in [Nature::Good, Nature::Silent, Nature::Unsynchronised, Nature::Off(SECOND)] {
        let mut world = World::new(vec![far(nature), near(Nature::Good)], 0, 90e-6, 10);
        world.run(HOUR, |_| ());
        let shortest = SHORTEST_INTERVAL.as_nanos() as Nanos;
        assert!(asked(&world, 0).windows(2).all(|pair| pair[1] - pair[0] >= shortest));
    }
}

#[test]
fn the_time_is_saved_now_and_then() {
    let mut world = World::new(vec![near(Nature::Good)], 0, 0.0, 11);
    world.run(2 * HOUR, |_| ());
    let every = SAVE_EVERY.as_nanos() as Nanos;
    let gaps = world.saved.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.clone().all(|gap| gap >= every - SECOND));
    assert_eq!(world.saved.len(), 12);
    // Without servers the clock is soon worth nothing more.
    world.peers[0].nature = Nature::Silent;
    world.run(12 * HOUR, |_| ());
    assert_eq!(world.saved.len(), 12 + 12);
    assert_eq!(world.status, "the clock runs free; s0: no answer", "nobody takes it for good");
}

#[test]
fn a_time_before_the_floor_is_never_taken_and_never_set() {
    // The battery is dead, and the server's too.
    let mut world = World::new(vec![near(Nature::Off(-3 * 86_400 * SECOND))], -START, 0.0, 12);
    world.run(HOUR, |_| ());
    assert_eq!(world.steps, [START - 86_400 * SECOND], "up to the floor, and no further");
    assert!(world.status.contains("earlier than this image"), "{}", world.status);
    // With a good server the floor is left, and then the time is right.
    let mut world = World::new(vec![near(Nature::Good)], -START, 0.0, 13);
    world.run(HOUR, |_| ());
    assert_eq!(world.steps.len(), 2);
    assert!(world.off().abs() < MILLISECOND);
}

#[test]
fn a_clock_that_ran_wild_in_an_earlier_run_is_taken_back() {
    for years in [5, 68, 90] {
        let wild = years * 365 * 86_400 * SECOND;
        for off in [0, wild] {
            let world = World::new(vec![near(Nature::Good); 3], off, 0.0, 15);
            let mut world = world.after_a_run_until(wild);
            world.run(HOUR, |_| ());
            let wrong = world.off();
            assert!(wrong.abs() < MILLISECOND, "{years} years, clock off by {off}: {wrong}");
        }
    }
}

#[test]
fn a_machine_that_stood_still_finds_the_time_again() {
    let mut world = World::new(vec![near(Nature::Good); 3], 0, 30e-6, 14);
    world.run(HOUR, |_| ());
    // Its host stopped it for a third of a second, and the wall clock with it.
    for peer in &mut world.peers {
        peer.nature = Nature::Off(300 * MILLISECOND);
    }
    world.run(4 * HOUR, |_| ());
    assert!((world.off() - 300 * MILLISECOND).abs() < 2 * MILLISECOND, "{}", world.off());
    assert!(world.steps.is_empty());
}

/// A client that waits for the answer to its first question, which had this cookie.
fn waiting(cookie: u64) -> (Client, Moment) {
    let settings = Settings { servers: vec!["s0".to_owned()], ..Settings::default() };
    let mut client = Client::new(settings);
    let now = Moment { boot: Duration::ZERO, raw: 0, wall: START };
    let server = ServerId(0);
    client.step(now, Event::Tick);
    let address = "192.0.2.1:123".parse().expect("an address");
    let asked = client.step(now, Event::Resolved(server, vec![address]));
    assert_eq!(asked, [Action::Ask(server, address)]);
    client.step(now, Event::Sent { server, cookie, raw: 0 });
    (client, now)
}

#[test]
fn an_answer_counts_once_and_a_guess_never() {
    let (mut client, now) = waiting(7);
    let later = Moment { boot: Duration::from_millis(1), raw: 1_000_000, wall: START + 1_000_000 };
    let received = |cookie| {
        let bytes = answer(Nature::Off(9 * SECOND), cookie, 500_000).expect("bytes");
        Event::Received { server: ServerId(0), bytes, raw: 1_000_000 }
    };
    assert_eq!(client.step(now, received(8)), [], "a guess");
    let actions = client.step(later, received(7));
    assert!(actions.iter().any(|action| matches!(action, Action::Step(_))), "{actions:?}");
    assert_eq!(client.step(later, received(7)), [], "a replay");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_oscillator_and_network_end_near_the_truth(
        off in -2 * HOUR..2 * HOUR, drift in -100e-6..100e-6,
        way in 50_000..40 * MILLISECOND, jitter in 0..20 * MILLISECOND, seed: u64,
    ) {
        let peer = Peer { nature: Nature::Good, way, jitter };
        let mut world = World::new(vec![peer; 4], off, drift, seed);
        world.run(2 * HOUR, |_| ());
        let bound = jitter + 2 * MILLISECOND;
        let mut worst = 0;
        world.run(6 * HOUR, |world| worst = worst.max(world.off().abs()));
        prop_assert!(worst <= bound, "{worst} of {bound}");
        prop_assert!(world.steps.len() <= 1);
        prop_assert_eq!(world.steps.len() == 1, off.abs() > SECOND / 2 || !world.steps.is_empty());
    }

    #[test]
    fn no_packet_panics_or_moves_the_clock(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 0..20),
    ) {
        let (mut client, now) = waiting(7);
        for bytes in packets {
            let actions = client.step(now, Event::Received { server: ServerId(0), bytes, raw: 1 });
            let moves = actions.iter().any(|a| matches!(a, Action::Step(_) | Action::Slew(_)));
            prop_assert!(!moves);
        }
    }
}
