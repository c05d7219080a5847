//! Histories that read as sentences, with the bounds that are promised.

use failover::{Arbiter, Policy, Side};
use sim::plan::{Fault, Kind, MS, Micros, Plan, SECOND};
use sim::run::{Outcome, run_plan};

const WITNESS: Arbiter = Arbiter::Witness;
const FENCE: Arbiter = Arbiter::Fence;
const CONSISTENCY: Arbiter = Arbiter::Policy(Policy::Consistency);
const PRIMARY_BIASED: Arbiter = Arbiter::Policy(Policy::PrimaryBiased);
const STANDBY_BIASED: Arbiter = Arbiter::Policy(Policy::StandbyBiased);
const AVAILABILITY: Arbiter = Arbiter::Policy(Policy::Availability);
/// The scenarios are repeated with other small delays.
const REPEATS: u64 = 30;

fn fault(kind: Kind, side: Side, at: Micros, lasts: Micros) -> Fault {
    Fault { at, lasts, kind, side, detail: 1 }
}

/// Runs a scenario in many variants; the longest time without an acknowledged write in any.
fn longest_silence(arbiter: Arbiter, faults: &[Fault], heal_at: Micros) -> Micros {
    outcomes(arbiter, faults, heal_at).map(|outcome| outcome.longest_silence).max().expect("one")
}

fn outcomes(arbiter: Arbiter, faults: &[Fault], heal_at: Micros) -> impl Iterator<Item = Outcome> {
    (0..REPEATS).map(move |seed| {
        let plan = Plan { seed, ..Plan::scenario(arbiter, faults.to_vec(), heal_at) };
        let outcome = run_plan(plan, true);
        let story = outcome.story.join("\n");
        assert_eq!(outcome.violation, None, "{arbiter:?}\n{story}");
        assert!(outcome.acknowledged > 20, "clients were served\n{story}");
        outcome
    })
}

#[test]
fn the_primary_loses_power_and_the_standby_goes_on() {
    let faults = [fault(Kind::Crash, Side::A, 3 * SECOND, 20 * SECOND)];
    for arbiter in [WITNESS, AVAILABILITY, STANDBY_BIASED] {
        let silence = longest_silence(arbiter, &faults, 15 * SECOND);
        assert!(silence < 1500 * MS, "{arbiter:?}: {silence} µs");
    }
    // A fence takes its own time, and the standby lets the primary fence first.
    let silence = longest_silence(FENCE, &faults, 15 * SECOND);
    assert!(silence < 3500 * MS, "{silence} µs");
}

#[test]
fn the_standby_loses_power_and_the_primary_goes_on() {
    let faults = [fault(Kind::Crash, Side::B, 3 * SECOND, 20 * SECOND)];
    for (arbiter, bound) in [
        (WITNESS, 1000 * MS),
        (PRIMARY_BIASED, 1000 * MS),
        (FENCE, 3000 * MS),
        (AVAILABILITY, 6500 * MS),
    ] {
        let silence = longest_silence(arbiter, &faults, 15 * SECOND);
        assert!(silence < bound, "{arbiter:?}: {silence} µs");
    }
}

/// The survivor sees its own end of the cable between the two go dark, as if it were cut off itself.
#[test]
fn a_death_that_darkens_the_survivors_cable_is_a_death_all_the_same() {
    for (dies, bound) in [(Side::A, 1500 * MS), (Side::B, 6500 * MS)] {
        let direct = Fault { detail: 0, ..fault(Kind::Unplug, dies, 3 * SECOND, 20 * SECOND) };
        let faults = [direct, fault(Kind::Crash, dies, 3 * SECOND, 20 * SECOND)];
        let silence = longest_silence(AVAILABILITY, &faults, 15 * SECOND);
        assert!(silence < bound, "{dies:?}: {silence} µs");
    }
}

#[test]
fn consistency_waits_for_whoever_is_missing() {
    for side in Side::BOTH {
        let faults = [fault(Kind::Crash, side, 3 * SECOND, 6 * SECOND)];
        for outcome in outcomes(CONSISTENCY, &faults, 15 * SECOND) {
            assert!(outcome.longest_silence > 5 * SECOND, "nobody may go on alone");
            assert_eq!(outcome.lost, 0);
        }
    }
}

#[test]
fn a_switchover_takes_less_than_a_second() {
    let faults = [fault(Kind::Switchover, Side::A, 3 * SECOND, MS)];
    for arbiter in [WITNESS, FENCE, CONSISTENCY, PRIMARY_BIASED, STANDBY_BIASED, AVAILABILITY] {
        for outcome in outcomes(arbiter, &faults, 8 * SECOND) {
            let silence = outcome.longest_silence;
            assert!(silence < 1000 * MS, "{arbiter:?}: {silence} µs");
            let led = outcome.story.iter().any(|line| line.contains("B: Candidate --Won-->"));
            assert!(led, "B leads");
        }
    }
}

#[test]
fn a_witness_that_is_away_changes_nothing() {
    let faults = [fault(Kind::WitnessDown, Side::A, 3 * SECOND, 8 * SECOND)];
    let silence = longest_silence(WITNESS, &faults, 12 * SECOND);
    assert!(silence < 300 * MS, "{silence} µs");
    let moved = [faults[0], fault(Kind::Switchover, Side::A, 5 * SECOND, MS)];
    let silence = longest_silence(WITNESS, &moved, 12 * SECOND);
    assert!(silence < 1000 * MS, "a switchover needs no witness: {silence} µs");
}

#[test]
fn a_short_stall_moves_nothing() {
    let faults = [fault(Kind::Stall, Side::A, 3 * SECOND, 200 * MS)];
    for outcome in outcomes(WITNESS, &faults, 6 * SECOND) {
        assert!(!outcome.story.iter().any(|line| line.contains("Candidate")));
    }
}

#[test]
fn a_primary_that_was_cut_off_does_not_go_on_when_its_successor_is() {
    // The windows alone would let it: its gateway answers again, and the peer is silent.
    let faults = [
        fault(Kind::Isolate, Side::A, 3 * SECOND, 4 * SECOND),
        fault(Kind::Isolate, Side::B, 6 * SECOND, 12 * SECOND),
    ];
    for outcome in outcomes(AVAILABILITY, &faults, 20 * SECOND) {
        assert!(!outcome.diverged);
        assert_eq!(outcome.lost, 0);
    }
}

#[test]
fn two_healthy_nodes_that_cannot_talk_diverge_only_by_availability_and_it_is_said() {
    let faults = [Fault { detail: 0, ..fault(Kind::Cut, Side::A, 3 * SECOND, 10 * SECOND) }];
    for outcome in outcomes(AVAILABILITY, &faults, 15 * SECOND) {
        assert!(outcome.diverged, "the residue that the policy's documentation names");
    }
    for arbiter in [WITNESS, FENCE, CONSISTENCY, PRIMARY_BIASED, STANDBY_BIASED] {
        for outcome in outcomes(arbiter, &faults, 15 * SECOND) {
            assert!(!outcome.diverged);
            assert_eq!(outcome.lost, 0);
        }
    }
}

#[test]
fn where_only_adverts_pass_the_primary_leaves_the_address_to_its_successor() {
    let faults = [fault(Kind::Cut, Side::A, 3 * SECOND, 10 * SECOND)];
    for outcome in outcomes(AVAILABILITY, &faults, 15 * SECOND) {
        assert!(!outcome.diverged);
        assert_eq!(outcome.lost, 0);
        assert!(outcome.story.iter().any(|line| line.contains("B: Promoting --Promoted-->")));
    }
}

#[test]
fn a_standby_that_never_starts_is_replaced_by_a_copy() {
    let faults = [
        fault(Kind::Crash, Side::B, 3 * SECOND, SECOND),
        Fault { detail: 24, ..fault(Kind::PgFails, Side::B, 3 * SECOND, 40 * SECOND) },
    ];
    for arbiter in [WITNESS, AVAILABILITY] {
        for outcome in outcomes(arbiter, &faults, 45 * SECOND) {
            let copied =
                outcome.story.iter().any(|line| line.contains("B: PostgreSQL shall Reclone"));
            assert!(copied, "{}", outcome.story.join("\n"));
            assert!(!outcome.needed_operator);
        }
    }
}

/// Whoever waits for it has every acknowledged commit, and nobody but it can agree to that one's claim.
#[test]
fn a_leader_that_comes_back_without_a_working_postgres_gives_way() {
    let crash = fault(Kind::Crash, Side::A, 3 * SECOND, 4 * SECOND);
    let damage = fault(Kind::Damage, Side::A, 3 * SECOND + 50 * MS, MS);
    let away = |kind| fault(kind, Side::B, 2 * SECOND, 15 * SECOND);
    for (arbiter, arbitration) in [
        (FENCE, away(Kind::FenceFails)),
        (WITNESS, away(Kind::WitnessDown)),
        (AVAILABILITY, away(Kind::GatewayLoss)),
        (CONSISTENCY, away(Kind::GatewayLoss)),
    ] {
        gives_way(arbiter, &[arbitration, crash, damage]);
    }
}

/// It claimed to go on alone while it still could.
#[test]
fn nobody_agrees_to_a_leader_whose_postgres_is_gone() {
    let cut = fault(Kind::Cut, Side::A, 3 * SECOND, 2 * SECOND);
    let damage = fault(Kind::Damage, Side::A, 4 * SECOND, MS);
    let reboot = fault(Kind::Crash, Side::A, 4 * SECOND + 500 * MS, 300 * MS);
    let away = fault(Kind::WitnessDown, Side::B, 2 * SECOND, 15 * SECOND);
    gives_way(WITNESS, &[away, cut, damage]);
    gives_way(WITNESS, &[away, cut, damage, reboot]);
}

fn gives_way(arbiter: Arbiter, faults: &[Fault]) {
    for outcome in outcomes(arbiter, faults, 17 * SECOND) {
        let (silence, story) = (outcome.longest_silence, outcome.story.join("\n"));
        assert!(silence < 9 * SECOND, "{arbiter:?}: {silence} µs\n{story}");
        assert!(!outcome.needed_operator && outcome.lost == 0, "{arbiter:?}\n{story}");
    }
}

#[test]
fn power_returns_to_the_stale_node_first() {
    // B dies, A goes on alone and dies; B comes back seven seconds before A.
    let faults = [
        fault(Kind::Crash, Side::B, 3 * SECOND, 12 * SECOND),
        fault(Kind::Crash, Side::A, 12 * SECOND, 10 * SECOND),
    ];
    // (A fence would switch B on again while A still leads, and B would be in sync before A dies.)
    for arbiter in [WITNESS, PRIMARY_BIASED, AVAILABILITY] {
        for outcome in outcomes(arbiter, &faults, 30 * SECOND) {
            let early = outcome.story.iter().any(|line| line.contains("B: gate opens"));
            assert!(!early, "{arbiter:?}: the stale node must not serve");
            assert_eq!(outcome.lost, 0);
        }
    }
}

#[test]
fn a_replaced_disk_is_filled_without_a_human() {
    for side in Side::BOTH {
        let faults = [fault(Kind::DiskLoss, side, 3 * SECOND, 3 * SECOND)];
        for arbiter in [WITNESS, FENCE, AVAILABILITY] {
            for outcome in outcomes(arbiter, &faults, 15 * SECOND) {
                assert!(!outcome.needed_operator, "{arbiter:?} {side:?}");
                assert_eq!(outcome.lost + outcome.only_copies_lost, 0);
            }
        }
    }
}

#[test]
fn a_forced_promotion_moves_the_revision_before_it_lets_clients_in() {
    let mut force = fault(Kind::Force, Side::B, 9 * SECOND, MS);
    force.detail = 1;
    let faults = [
        fault(Kind::Crash, Side::B, 3 * SECOND, 2 * SECOND),
        fault(Kind::Isolate, Side::B, 3 * SECOND, 5 * SECOND),
        fault(Kind::Crash, Side::A, 7 * SECOND, 10 * SECOND),
        force,
    ];
    for outcome in outcomes(WITNESS, &faults, 20 * SECOND) {
        let story = outcome.story.join("\n");
        let place = |text: &str| story.find(text).unwrap_or_else(|| panic!("{text}:\n{story}"));
        assert!(place("(Operator)") < place("kine's revision"), "{story}");
        let opened = story.rfind("B: gate opens").expect("it serves in the end");
        assert!(place("kine's revision") < opened, "{story}");
        assert!(outcome.lost > 0, "what the operator accepted to lose");
    }
}

#[test]
fn in_maintenance_nobody_goes_on_alone_and_afterwards_somebody_does() {
    for side in Side::BOTH {
        let faults = [
            fault(Kind::Maintenance, Side::A, 3 * SECOND, 8 * SECOND),
            fault(Kind::Crash, side, 4 * SECOND, 20 * SECOND),
        ];
        for outcome in outcomes(WITNESS, &faults, 20 * SECOND) {
            let silence = outcome.longest_silence;
            assert!(silence > 6 * SECOND, "{side:?}: {silence} µs");
            assert!(silence < 8500 * MS, "{side:?}: {silence} µs");
        }
    }
}

/// Before an ailing node told its peer so, the role went to and fro every few seconds.
#[test]
fn between_two_ailing_nodes_the_role_stays() {
    let low = |side, at, lasts| fault(Kind::DiskLow, side, at, lasts);
    // The standby is ill before the leader is, and after it.
    let faults = [low(Side::B, 3 * SECOND, 32 * SECOND), low(Side::A, 4 * SECOND, 30 * SECOND)];
    for outcome in outcomes(WITNESS, &faults, 40 * SECOND) {
        assert!(!outcome.story.iter().any(|line| line.contains("--Resign-->")));
        let silence = outcome.longest_silence;
        assert!(silence < 300 * MS, "the ailing leader serves: {silence} µs");
    }
}

/// A disk that is nearly full serves as ever; a slow one doesn't.
#[test]
fn the_role_moves_to_the_lesser_trouble_only() {
    let low = |side, at, detail| Fault { detail, ..fault(Kind::DiskLow, side, at, 30 * SECOND) };
    let (slow, full) = (0, 1);
    for (leader, standby, moves) in [(slow, full, true), (full, slow, false)] {
        let faults = [low(Side::B, 3 * SECOND, standby), low(Side::A, 4 * SECOND, leader)];
        for outcome in outcomes(WITNESS, &faults, 30 * SECOND) {
            let moved = outcome.story.iter().any(|line| line.contains("A: PSync --Resign-->"));
            assert_eq!(moved, moves, "{}", outcome.story.join("\n"));
            assert!(!outcome.story.iter().any(|line| line.contains("B: PSync --Resign-->")));
        }
    }
}

#[test]
fn a_nearly_full_disk_moves_the_leader() {
    let faults = [fault(Kind::DiskLow, Side::A, 3 * SECOND, 5 * SECOND)];
    for arbiter in [WITNESS, CONSISTENCY, AVAILABILITY] {
        for outcome in outcomes(arbiter, &faults, 10 * SECOND) {
            assert!(outcome.longest_silence < 1000 * MS, "{arbiter:?}");
            assert!(outcome.story.iter().any(|line| line.contains("B: gate opens")));
        }
    }
}

#[test]
fn a_crash_of_postgres_alone_moves_nothing() {
    let faults = [fault(Kind::PgCrash, Side::A, 3 * SECOND, MS)];
    for arbiter in [WITNESS, CONSISTENCY, AVAILABILITY] {
        for outcome in outcomes(arbiter, &faults, 8 * SECOND) {
            assert!(outcome.longest_silence < 1500 * MS, "{arbiter:?}");
            assert!(!outcome.story.iter().any(|line| line.contains("B: gate opens")));
        }
    }
}

/// Each start succeeds, so only the ends tell that something is wrong.
#[test]
fn a_primary_that_crashes_again_and_again_hands_over() {
    let crashes = [3000, 5000, 7000].map(|at| fault(Kind::PgCrash, Side::A, at * MS, MS));
    for arbiter in [WITNESS, CONSISTENCY, AVAILABILITY] {
        for outcome in outcomes(arbiter, &crashes, 15 * SECOND) {
            let story = outcome.story.join("\n");
            assert_eq!(story.matches("--Resign-->").count(), 1, "{story}");
            assert!(story.contains("B: gate opens"), "{story}");
        }
    }
}

/// Recovery may have much to read. The peer has every acknowledged commit already.
#[test]
fn a_postgres_that_is_slow_to_come_back_is_not_waited_for() {
    const SLOWEST: u64 = 19;
    let slow = Fault { detail: SLOWEST, ..fault(Kind::Slow, Side::A, 3 * SECOND, 15 * SECOND) };
    let faults = [slow, fault(Kind::PgCrash, Side::A, 4 * SECOND, MS)];
    for arbiter in [WITNESS, CONSISTENCY, AVAILABILITY] {
        for outcome in outcomes(arbiter, &faults, 20 * SECOND) {
            let silence = outcome.longest_silence;
            assert!(silence < 2500 * MS, "{arbiter:?}: {silence} µs\n{}", outcome.story.join("\n"));
        }
    }
}

#[test]
fn a_flapping_cable_costs_fewer_and_fewer_changes() {
    let flap = |number: u64| fault(Kind::Cut, Side::A, (3000 + 1500 * number) * MS, 700 * MS);
    let faults: Vec<Fault> = (0..14).map(flap).collect();
    for outcome in outcomes(WITNESS, &faults, 25 * SECOND) {
        let flapping = outcome.story.iter().take_while(|line| !line.contains("mended"));
        let published = flapping.filter(|line| line.contains("--Published-->")).count();
        assert!(published <= 4, "{published} times in sync again");
    }
}
