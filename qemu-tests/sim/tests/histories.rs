//! Random histories: nothing is violated, everything interesting is reached, and each rule of the
//! protocol is needed.

use failover::Rules;
use sim::cli::run_many;
use sim::mutants::MUTANTS;
use sim::plan::{Kind, Plan, Topology};
use sim::report::Report;
use sim::run::run_plan;
use sim::shrink::shrink;

/// Enough for every transition of the table, the rarest of which take thousands of histories.
const SEEDS: u64 = 8_000;
/// The rarest consequence of a missing rule shows within thirty thousand seeds.
const HUNT: u64 = 60_000;

fn clean(topology: Topology) -> Report {
    let report = run_many(topology, 0, SEEDS, 2);
    assert_eq!(report.histories, SEEDS);
    assert_eq!(report.violations, 0, "{topology:?}: {:?}", report.kept);
    report
}

/// The same run tells what was reached, so that quiet histories can't pass for good ones.
#[test]
fn nothing_is_violated_and_everything_is_reached() {
    let mut both = clean(Topology::Pair);
    assert!(both.diverged > 0, "the documented exception is met, and counted");
    let witness = clean(Topology::PairWitness);
    assert_eq!(witness.diverged, 0, "with a witness there is no exception");
    both.merge(witness);
    // A disk that fails in the middle of a promotion, a hand-over, a copy, or a wait for the leader is too
    // rare to wait for.
    let leading =
        [Kind::StorageFails, Kind::Switchover, Kind::Maintenance, Kind::Slow, Kind::Force];
    let following =
        [Kind::StorageFails, Kind::Isolate, Kind::DiskLoss, Kind::Switchover, Kind::Slow];
    for (topology, failing) in [(Topology::PairWitness, &leading), (Topology::Pair, &following)] {
        for seed in 0..SEEDS {
            let plan = Plan::draw_among(seed, topology, Rules::ALL, failing);
            both.add(seed, &run_plan(plan, false));
        }
    }
    assert_eq!(both.violations, 0, "{:?}", both.kept);
    assert_eq!(both.unreached(), [], "transitions that no history takes");
    for (kind, count) in Kind::ALL.iter().zip(both.faults) {
        assert!(count > 100, "{kind:?}: {count}");
    }
    assert!(both.sources.iter().all(|count| *count > 50), "{:?}", both.sources);
    assert!(both.needed_operator > 0 && both.only_copies_lost > 0 && both.lost > 0);
}

#[test]
fn a_seed_is_a_history() {
    for seed in 0..20 {
        let plan = Plan::draw(seed, Topology::PairWitness, Rules::ALL);
        let told = [(); 2].map(|()| run_plan(plan.clone(), true).story);
        assert_eq!(told[0], told[1], "seed {seed}");
        assert!(told[0].len() > 10);
    }
}

#[test]
fn each_rule_is_needed() {
    for mutant in MUTANTS {
        let Some((seed, outcome)) = mutant.hunt(HUNT) else {
            panic!("nothing notices that {} is off", mutant.name)
        };
        // With the rule in force the very same faults do no harm.
        let mut lawful = outcome.plan.clone();
        lawful.rules = Rules::ALL;
        lawful.swallow_cancels = true;
        let violation = run_plan(lawful, false).violation;
        assert_eq!(violation, None, "{}, seed {seed}", mutant.name);
    }
}

#[test]
fn a_failing_history_shrinks_to_its_cause() {
    let lone = MUTANTS.iter().find(|mutant| mutant.name == "lone_boot_waits").expect("a mutant");
    let (_, outcome) = lone.hunt(HUNT).expect("a violation");
    let small = shrink(&outcome.plan);
    let again = run_plan(small.clone(), true);
    assert!(small.faults.len() <= 2, "{:?}", small.faults);
    let invariant = |outcome: &sim::run::Outcome| {
        outcome.violation.as_ref().map(|violation| violation.invariant)
    };
    assert_eq!(invariant(&again), invariant(&outcome));
    assert!(again.story.iter().any(|line| line.contains("FAULT")));
}
