//! The witness's register: one grant per base, and nothing after it forgot.

use failover::{Ask, Configuration, Epoch, Members, Register, Side};
use proptest::prelude::*;

fn config(epoch: u64, base: u64, members: Members) -> Configuration {
    let epoch = Epoch(epoch);
    Configuration { epoch, base: Epoch(base), leader: epoch.owner(), members }
}

fn ask(from: Side, claim: Configuration) -> Ask {
    Ask { cluster: 1, from, nonce: 9, claim: Some(claim), enroll: None }
}

fn in_sync() -> Register {
    Register { cluster: 1, incarnation: 5, config: Some(config(3, 1, Members::Both)) }
}

#[test]
fn of_two_claims_with_one_base_the_first_wins() {
    let mut register = in_sync();
    let (a, b) = (config(5, 3, Members::Leader), config(4, 3, Members::Leader));
    assert_eq!(register.ask(&ask(Side::B, b)).config, Some(b));
    assert_eq!(register.ask(&ask(Side::A, a)).config, Some(b));
    // Asking again gets the same answer: an answer may have been lost.
    assert_eq!(register.ask(&ask(Side::B, b)).config, Some(b));
}

#[test]
fn a_node_may_raise_its_own_claim_and_nobody_elses() {
    let mut register = in_sync();
    let first = config(4, 3, Members::Leader);
    let higher = config(8, 3, Members::Leader);
    register.ask(&ask(Side::B, first));
    let other = config(7, 3, Members::Leader);
    assert_eq!(register.ask(&ask(Side::A, other)).config, Some(first));
    assert_eq!(register.ask(&ask(Side::B, higher)).config, Some(higher));
}

#[test]
fn what_was_decided_without_it_is_caught_up() {
    let mut register = in_sync();
    let later = config(12, 9, Members::Leader);
    assert_eq!(register.ask(&ask(Side::B, later)).config, Some(later));
}

#[test]
fn an_empty_register_grants_nothing_until_it_is_enrolled() {
    let mut register = Register::empty(1, 5);
    let claim = config(4, 3, Members::Leader);
    assert_eq!(register.ask(&ask(Side::B, claim)).config, None);
    let known = config(3, 1, Members::Both);
    let enrol = |incarnation| Ask {
        cluster: 1,
        from: Side::A,
        nonce: 9,
        claim: None,
        enroll: Some((incarnation, known)),
    };
    assert_eq!(register.ask(&enrol(4)).config, None, "meant for an earlier emptiness");
    assert_eq!(register.ask(&enrol(5)).config, Some(known));
    assert_eq!(register.ask(&ask(Side::B, claim)).config, Some(claim));
    assert_eq!(register.ask(&enrol(5)).config, Some(claim), "it is enrolled only once");
}

#[test]
fn nobody_claims_for_another_or_for_both() {
    let mut register = in_sync();
    let known = register.config;
    assert_eq!(register.ask(&ask(Side::A, config(4, 3, Members::Leader))).config, known);
    assert_eq!(register.ask(&ask(Side::B, config(4, 3, Members::Both))).config, known);
    let foreign = Ask { cluster: 2, ..ask(Side::B, config(4, 3, Members::Leader)) };
    assert_eq!(register.ask(&foreign).config, known);
}

proptest! {
    /// Whatever is asked, epochs rise, and no two leaders are granted the same base.
    #[test]
    fn grants_rise_and_have_no_rivals(
        asks in proptest::collection::vec((any::<bool>(), 0..12u64, 1..6u64), 1..60),
    ) {
        let mut register = in_sync();
        let mut granted: Vec<Configuration> = register.config.into_iter().collect();
        for (first, base, rise) in asks {
            let side = if first { Side::A } else { Side::B };
            let epoch = Epoch(base + rise).next_for(side);
            let (base, members) = (Epoch(base), Members::Leader);
            let claim = Configuration { epoch, base, leader: side, members };
            let before = register.config;
            let answer = register.ask(&ask(side, claim));
            prop_assert!(answer.epoch() >= before.map_or(Epoch::NONE, |config| config.epoch));
            if answer.config == Some(claim) && before != Some(claim) {
                let rival = granted.iter().find(|known| {
                    known.base == claim.base && known.leader != claim.leader
                });
                prop_assert_eq!(rival, None);
                granted.push(claim);
            }
        }
    }
}
