//! What each fault does to frames, and what the switch does without any.

use std::time::Duration;

use proptest::prelude::*;
use vswitch::rule::{Effect, Pick, Port, Rule};
use vswitch::switch::{Delivery, Switch, What};

const MS: Duration = Duration::from_millis(1);
const TO_ALL: u8 = 0xff;

/// A frame of a type that nothing reads, from one station to another.
fn frame(to: u8, from: u8, mark: u8) -> Vec<u8> {
    let mut bytes = vec![0x52, 0, 0, 0, 0, to, 0x52, 0, 0, 0, 0, from, 0x88, 0xb5];
    if to == TO_ALL {
        bytes[..6].fill(0xff);
    }
    bytes.extend([mark; 50]);
    bytes
}

/// A switch of three ports that knows station 0 behind port 0, and so on.
fn learned() -> Switch {
    let mut switch = Switch::new(3, 1);
    for station in 0..3 {
        let port = Port(usize::from(station));
        switch.take(Duration::ZERO, port, &frame(TO_ALL, station, 0), &mut Vec::new());
    }
    switch
}

fn send(switch: &mut Switch, now: Duration, from: u8, to: u8, mark: u8) -> Vec<Delivery> {
    let mut out = Vec::new();
    switch.take(now, Port(usize::from(from)), &frame(to, from, mark), &mut out);
    out
}

fn marks(out: &[Delivery]) -> Vec<u8> {
    out.iter().map(|delivery| *delivery.frame.last().expect("a mark")).collect()
}

#[test]
fn unknown_stations_and_groups_are_flooded_known_ones_are_not() {
    let mut switch = Switch::new(3, 1);
    let ports = |out: Vec<Delivery>| out.iter().map(|d| d.to.0).collect::<Vec<_>>();
    assert_eq!(ports(send(&mut switch, MS, 0, 1, 0)), [1, 2]);
    assert_eq!(ports(send(&mut switch, MS, 1, 0, 0)), [0]);
    assert_eq!(ports(send(&mut switch, MS, 0, 1, 0)), [1]);
    assert_eq!(ports(send(&mut switch, MS, 0, TO_ALL, 0)), [1, 2]);
    assert!(send(&mut switch, MS, 0, 0, 0).is_empty(), "a frame doesn't go back");
}

#[test]
fn a_one_way_cut_is_one_way() {
    let mut switch = learned();
    let cut = switch.add(Rule::one_way(Port(0), Port(1), Effect::Drop { per_mille: 1000 }));
    assert!(send(&mut switch, MS, 0, 1, 0).is_empty());
    assert_eq!(send(&mut switch, MS, 1, 0, 0).len(), 1);
    assert_eq!(send(&mut switch, MS, 0, 2, 0).len(), 1);
    assert_eq!(switch.taken(cut), Some(1));
    switch.remove(cut, &mut Vec::new());
    assert_eq!(send(&mut switch, MS, 0, 1, 0).len(), 1);
}

#[test]
fn delayed_frames_come_when_they_are_due_and_in_order() {
    let mut switch = learned();
    switch.add(Rule::everywhere(Effect::Delay { base: MS * 10, jitter: Duration::ZERO }));
    assert!(send(&mut switch, MS, 0, 1, 1).is_empty());
    assert!(send(&mut switch, MS, 0, 1, 2).is_empty());
    assert_eq!(switch.next_due(), Some(MS * 11));
    let mut out = Vec::new();
    switch.release_due(MS * 10, &mut out);
    assert!(out.is_empty());
    switch.release_due(MS * 11, &mut out);
    assert_eq!(marks(&out), [1, 2]);
}

#[test]
fn a_reordered_frame_is_overtaken() {
    let mut switch = learned();
    let rule = switch.add(Rule::everywhere(Effect::Reorder { per_mille: 1000, by: MS * 5 }));
    assert!(send(&mut switch, MS, 0, 1, 1).is_empty());
    switch.remove(rule, &mut Vec::new());
    assert_eq!(marks(&send(&mut switch, MS * 2, 0, 1, 2)), [2]);
    let mut out = Vec::new();
    switch.release_due(MS * 6, &mut out);
    assert_eq!(marks(&out), [1]);
}

#[test]
fn duplicates_come_twice_and_corruption_spares_the_addresses() {
    let mut switch = learned();
    let twice = switch.add(Rule::everywhere(Effect::Duplicate { per_mille: 1000 }));
    assert_eq!(send(&mut switch, MS, 0, 1, 7).len(), 2);
    switch.remove(twice, &mut Vec::new());
    switch.add(Rule::everywhere(Effect::Corrupt { per_mille: 1000 }));
    let original = frame(1, 0, 7);
    for _ in 0..200 {
        let out = send(&mut switch, MS, 0, 1, 7);
        let damaged = &out[0].frame;
        assert_eq!(damaged[..14], original[..14]);
        let flipped: u32 =
            damaged.iter().zip(&original).map(|(one, other)| (one ^ other).count_ones()).sum();
        assert_eq!(flipped, 1);
    }
}

#[test]
fn a_rate_spreads_frames_out_and_drops_what_would_wait_too_long() {
    let mut switch = learned();
    let effect = Effect::Rate { bytes_per_second: 64_000, queue: MS * 2 };
    let rule = switch.add(Rule::everywhere(effect));
    // 64 bytes take a millisecond at this rate.
    assert_eq!(send(&mut switch, MS, 0, 1, 1).len(), 1);
    assert!(send(&mut switch, MS, 0, 1, 2).is_empty());
    assert!(send(&mut switch, MS, 0, 1, 3).is_empty());
    let mut out = Vec::new();
    let outcome = switch.take(MS, Port(0), &frame(1, 0, 4), &mut out);
    assert_eq!(outcome.faults.iter().map(|f| f.what).collect::<Vec<_>>(), [What::Dropped]);
    switch.release_due(MS * 3, &mut out);
    assert_eq!(marks(&out), [2, 3]);
    assert_eq!(switch.taken(rule), Some(3), "two waited, one was lost");
}

#[test]
fn held_frames_come_in_order_when_the_hold_ends() {
    let mut switch = learned();
    let hold = switch.add(Rule::everywhere(Effect::Hold));
    assert!((1..=3).all(|mark| send(&mut switch, MS, 0, 1, mark).is_empty()));
    let mut out = Vec::new();
    switch.remove(hold, &mut out);
    assert_eq!(marks(&out), [1, 2, 3]);
}

#[test]
fn a_rule_touches_only_the_frames_that_it_picks() {
    let mut switch = learned();
    let rule = Rule::everywhere(Effect::Drop { per_mille: 1000 }).only(Pick::Vrrp);
    let cut = switch.add(rule);
    assert_eq!(send(&mut switch, MS, 0, 1, 0).len(), 1);
    let mut advert = vec![1, 0, 0x5e, 0, 0, 18, 0x52, 0, 0, 0, 0, 0, 8, 0];
    advert.extend([0x45, 0, 0, 0, 0, 0, 0, 0, 255, 112, 0, 0, 10, 0, 0, 1, 224, 0, 0, 18]);
    advert.extend([0x31, 77, 100, 1, 0, 100, 0, 0]);
    let mut out = Vec::new();
    switch.take(MS, Port(0), &advert, &mut out);
    assert!(out.is_empty());
    assert_eq!(switch.taken(cut), Some(2), "one for each of the other ports");
}

#[test]
fn a_silent_port_neither_speaks_nor_hears() {
    let mut switch = learned();
    switch.connect(Port(1), false);
    assert!(send(&mut switch, MS, 0, 1, 0).iter().all(|delivery| delivery.to == Port(2)));
    assert!(send(&mut switch, MS, 1, 0, 0).is_empty());
    switch.connect(Port(1), true);
    assert_eq!(send(&mut switch, MS, 1, 0, 0).len(), 1);
}

#[test]
fn what_waits_is_bounded() {
    let mut switch = learned();
    switch.add(Rule::everywhere(Effect::Hold));
    let mut big = frame(1, 0, 0);
    big.resize(60_000, 0);
    let overflowed = (0..2000).any(|_| {
        let outcome = switch.take(MS, Port(0), &big, &mut Vec::new());
        outcome.faults.iter().any(|fault| fault.what == What::Overflowed)
    });
    assert!(overflowed);
}

fn effects() -> impl Strategy<Value = Effect> {
    prop_oneof![
        (0_u16..=1000).prop_map(|per_mille| Effect::Drop { per_mille }),
        (0_u16..=1000).prop_map(|per_mille| Effect::Duplicate { per_mille }),
        (0_u16..=1000).prop_map(|per_mille| Effect::Corrupt { per_mille }),
        (0_u16..=1000, 1_u32..9)
            .prop_map(|(per_mille, by)| Effect::Reorder { per_mille, by: MS * by }),
        (0_u32..9, 0_u32..9)
            .prop_map(|(base, jitter)| Effect::Delay { base: MS * base, jitter: MS * jitter }),
        (1_u64..100_000)
            .prop_map(|bytes_per_second| Effect::Rate { bytes_per_second, queue: MS * 50 }),
    ]
}

/// Everything that comes out of a switch with these faults, to the end.
fn run(seed: u64, rules: &[Effect], sent: &[(u8, u8)]) -> Vec<Delivery> {
    let mut switch = Switch::new(3, seed);
    for effect in rules {
        switch.add(Rule::everywhere(*effect));
    }
    let mut out = Vec::new();
    for (step, (from, to)) in (1_u32..).zip(sent) {
        switch.release_due(MS * step, &mut out);
        switch.take(MS * step, Port(usize::from(*from)), &frame(*to, *from, 1), &mut out);
    }
    switch.release_due(Duration::from_hours(1), &mut out);
    assert_eq!(switch.next_due(), None, "nothing stays behind");
    out
}

proptest! {
    #[test]
    fn the_same_seed_gives_the_same_run_and_nothing_is_invented(
        seed: u64,
        rules in proptest::collection::vec(effects(), 0..5),
        sent in proptest::collection::vec((0_u8..3, 0_u8..3), 0..40),
    ) {
        let out = run(seed, &rules, &sent);
        prop_assert_eq!(&out, &run(seed, &rules, &sent));
        let copies = rules.iter().filter(|rule| matches!(rule, Effect::Duplicate { .. })).count();
        prop_assert!(out.len() <= sent.len() * 2 * (copies + 1));
        let lossy = rules.iter().any(|rule| matches!(rule, Effect::Drop { .. } | Effect::Rate { .. }));
        if !lossy && copies == 0 {
            let mut floods = Switch::new(3, 0);
            let mut clean = Vec::new();
            for (from, to) in &sent {
                floods.take(MS, Port(usize::from(*from)), &frame(*to, *from, 1), &mut clean);
            }
            prop_assert_eq!(out.len(), clean.len());
        }
    }
}
