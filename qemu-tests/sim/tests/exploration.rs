//! Every history of a few rounds. `sim --explore 4` goes one deeper and takes a minute.

use sim::explore::{corners, explore};
use sim::plan::Topology;

const ROUNDS: usize = 3;

fn explored(topology: Topology) {
    for corner in corners(topology) {
        let found = explore(corner, ROUNDS);
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
