//! Every history of a few rounds. `sim --explore 4` goes one deeper and takes a minute.

use failover::Rules;
use sim::explore::{corners, explore};
use sim::plan::Topology;

const ROUNDS: usize = 3;

fn explored(topology: Topology) {
    for corner in corners(topology) {
        let found = explore(corner, ROUNDS, Rules::ALL);
        assert!(found.violation.is_none(), "{}", found.text(corner, ROUNDS));
        assert!(found.states > 1000, "{}", found.text(corner, ROUNDS));
    }
}

#[test]
fn every_short_history_of_a_pair_is_safe_and_heals() {
    explored(Topology::Pair);
}

#[test]
fn every_short_history_of_a_pair_with_a_witness_is_safe_and_heals() {
    explored(Topology::PairWitness);
}

/// An exploration that sees nothing would pass as well.
#[test]
fn a_missing_rule_shows_within_a_few_rounds() {
    type Bend = fn(&mut Rules);
    let missing: [(&str, Bend); 4] = [
        ("solo_needs_authority", |rules| rules.solo_needs_authority = false),
        ("promotion_needs_authority", |rules| rules.promotion_needs_authority = false),
        ("witness_grants_once", |rules| rules.witness_grants_once = false),
        ("persist_before_effect", |rules| rules.persist_before_effect = false),
    ];
    for (name, bend) in missing {
        let mut rules = Rules::ALL;
        bend(&mut rules);
        let found = corners(Topology::PairWitness)
            .into_iter()
            .find_map(|corner| explore(corner, ROUNDS, rules).violation);
        assert!(found.is_some(), "nothing shows that {name} is off");
    }
}
