//! What the simulator found, and must not find again. Each test tells the story of a fault that the
//! protocol once had, and was seen to fail with that fault put back.

use std::time::Duration;

use failover::{Arbiter, Policy, Rules, Side};
use sim::plan::{Fault, Kind, MS, Micros, Plan, SECOND, Topology};
use sim::run::{Outcome, run_plan};

fn fault(kind: Kind, side: Side, at: Micros, lasts: Micros, detail: u64) -> Fault {
    Fault { at, lasts, kind, side, detail }
}

/// Runs a plan with other small delays each time; nothing may be violated in any.
fn sound(plan: &Plan, repeats: u64) -> Vec<Outcome> {
    (0..repeats)
        .map(|seed| {
            let outcome = run_plan(Plan { seed, ..plan.clone() }, true);
            let story = outcome.story.join("\n");
            assert_eq!(outcome.violation, None, "seed {seed}\n{story}");
            outcome
        })
        .collect()
}

/// Random histories with a witness and a few kinds of faults: it took an unlucky moment as well.
fn swarm(kinds: &[Kind], seeds: u64) {
    for seed in 0..seeds {
        let plan = Plan::draw_among(seed, Topology::PairWitness, Rules::ALL, kinds);
        assert_eq!(run_plan(plan, false).violation, None, "seed {seed}");
    }
}

/// Superseded through the witness and reinstated by the peer's consent within one fsync, a node
/// took the PostgreSQL that it was just stopping for a running primary, and let clients in.
#[test]
fn a_postgres_that_is_being_stopped_is_no_primary() {
    swarm(&[Kind::Unplug, Kind::OneWay, Kind::Isolate, Kind::Cut], 1500);
}

/// A stalled primary closed its gate, and opened it again within the grace because an old echo in
/// its socket made the contact look younger. The grace may keep a gate open, never open one.
#[test]
fn the_grace_opens_no_gate() {
    for lasts in (500..720).step_by(10) {
        let faults = vec![fault(Kind::Stall, Side::A, 3 * SECOND, lasts * MS, 1)];
        let plan = Plan { loss: 10, ..Plan::scenario(Arbiter::Witness, faults, 6 * SECOND) };
        for outcome in sound(&plan, 10) {
            let mut blocked = false;
            for line in outcome.story.iter().filter(|line| line.contains(" A: ")) {
                blocked =
                    (blocked || line.contains("--> PBlocked")) && !line.contains("PBlocked --");
                assert!(!(blocked && line.contains("gate opens")), "{}", outcome.story.join("\n"));
            }
        }
    }
}

/// Both disks were replaced and A founded the pair anew. When A's disk died again, A read in B's
/// record the founding configuration, took it for its own, and made a third, empty database.
#[test]
fn a_node_founds_a_pair_once() {
    let faults = vec![
        fault(Kind::DiskLoss, Side::A, SECOND, 300 * MS, 1),
        fault(Kind::DiskLoss, Side::B, SECOND + 100 * MS, 300 * MS, 1),
        fault(Kind::DiskLoss, Side::A, 5 * SECOND, SECOND, 1),
    ];
    let arbiter = Arbiter::Policy(Policy::PrimaryBiased);
    let mut plan = Plan::scenario(arbiter, faults, 8 * SECOND);
    plan.times.hold_down = Duration::from_secs(4);
    assert!(sound(&plan, 10).iter().all(|outcome| outcome.needed_operator));
}

/// A node without memory was published as a member, and lost power before it had written that down.
/// It came back as a member without a vote, for good, and the leader could not be released.
#[test]
fn a_vote_comes_back_after_a_crash_as_well() {
    let faults = vec![
        fault(Kind::DiskLoss, Side::B, 2 * SECOND, 500 * MS, 1),
        fault(Kind::CrashAtSync, Side::B, 5 * SECOND, SECOND, 0),
    ];
    let arbiter = Arbiter::Policy(Policy::StandbyBiased);
    let mut plan = Plan::scenario(arbiter, faults, 12 * SECOND);
    plan.founded = false;
    plan.times.hold_down = Duration::from_secs(2);
    sound(&plan, 20);
    // B is new until it is published, so this is where it has no memory to begin with.
    plan.faults.remove(0);
    for at in (30..60).step_by(2) {
        plan.faults[0].at = at * 100 * MS;
        for outcome in sound(&plan, 3) {
            assert!(!outcome.needed_operator);
        }
    }
}

/// A torn record, a grant of the witness that was in it, and a rewind under way: the peer learned
/// from the witness that the node without memory leads, and the node went on rewinding to nobody.
#[test]
fn nobody_is_rewound_to_where_nobody_leads() {
    swarm(&[Kind::Torn, Kind::Stall, Kind::Isolate], 3000);
}
