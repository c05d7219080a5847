//! Every sequence of a few faults on two and three routers, and what must hold after each.
//!
//! All sequences of faults up to a depth are run, each followed by a
//! healthy time in which the promises of the crate's essay are measured. Sequences share their
//! prefixes by cloning the network, so that the number of rounds run is the number of sequences.

mod network;

use std::time::Duration;

use network::{DELAY, Fault, INTERVAL, LATENCY, Network};
use vrrp::{Event, State};

/// Silence, the largest skew, and one interval for the first advert to be heard: after this time
/// on a healthy segment nothing is left to be decided.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// How many faults in a row, and how long each lasts.
#[derive(Clone, Copy)]
struct Depth {
    faults: usize,
    round: Duration,
}

/// Two rounds of the same fault outlast a down interval, and two more can bring the sender back.
const FOUR_SHORT: Depth = Depth { faults: 4, round: Duration::from_secs(2) };
/// One round outlasts a down interval: with three routers, four rounds would be too many to run.
const THREE_LONG: Depth = Depth { faults: 3, round: Duration::from_secs(4) };

fn faults_of(nodes: usize) -> Vec<Fault> {
    let of_each = (0..nodes).flat_map(|index| {
        [
            Fault::Mute(index),
            Fault::Deaf(index),
            Fault::Late(index),
            Fault::Frozen(index),
            Fault::StopOrStart(index),
        ]
    });
    [Fault::Nothing].into_iter().chain(of_each).collect()
}

/// Runs every sequence of `depth` faults and judges the network after each.
fn explore(
    network: &Network,
    faults: &[Fault],
    depth: Depth,
    path: &mut Vec<Fault>,
    judge: &mut impl FnMut(&Network, &[Fault]),
) {
    judge(network, path);
    let Some(left) = depth.faults.checked_sub(1) else { return };
    for fault in faults {
        let mut next = network.clone();
        next.run(*fault, depth.round);
        path.push(*fault);
        explore(&next, faults, Depth { faults: left, ..depth }, path, judge);
        path.pop();
    }
}

/// Heals the segment and holds it against the rules.
fn judge_healing(network: &Network, path: &[Fault], best: Option<usize>) {
    let mut network = network.clone();
    network.start_all();
    // What was sent during the faults has to arrive before the segment counts as healthy.
    network.run(Fault::Nothing, DELAY);
    network.reset_measures();
    network.run(Fault::Nothing, SETTLED_AFTER);
    assert!(
        network.longest_two <= INTERVAL + LATENCY,
        "two Active for {:?} after {path:?}",
        network.longest_two
    );
    let active = network.active();
    assert_eq!(active.len(), 1, "Active: {active:?} after {path:?}");
    if let Some(best) = best {
        assert_eq!(active, [best], "the best is Active after {path:?}");
    }
    network.reset_measures();
    network.run(Fault::Nothing, SETTLED_AFTER);
    assert_eq!(network.takeovers, 0, "a settled network stays as it is after {path:?}");
    assert_eq!(network.active(), active);
    assert_eq!(network.longest_two, Duration::ZERO);
}

fn settled(priorities: &[u8], preempt: bool) -> Network {
    let mut network = Network::new(priorities, preempt, false);
    network.run(Fault::Nothing, SETTLED_AFTER);
    assert_eq!(network.active().len(), 1);
    network
}

fn explore_from_settled(priorities: &[u8], preempt: bool, depth: Depth, best: Option<usize>) {
    let network = settled(priorities, preempt);
    let faults = faults_of(priorities.len());
    let (mut sequences, mut split) = (0, 0);
    explore(&network, &faults, depth, &mut Vec::new(), &mut |network, path| {
        sequences += 1;
        split += usize::from(network.active().len() > 1);
        judge_healing(network, path, best);
    });
    // An exploration that never leaves the easy ground would pass as well.
    assert!(sequences > 1000 && split > 100, "{sequences} sequences, {split} with two Active");
}

#[test]
fn two_routers_heal_to_the_better_one() {
    explore_from_settled(&[100, 200], true, FOUR_SHORT, Some(1));
}

#[test]
fn two_equal_routers_heal_to_exactly_one() {
    explore_from_settled(&[100, 100], true, FOUR_SHORT, None);
}

#[test]
fn two_routers_without_preemption_heal_to_exactly_one() {
    explore_from_settled(&[200, 100], false, FOUR_SHORT, None);
}

#[test]
fn three_routers_heal_to_the_best_one() {
    explore_from_settled(&[100, 150, 200], true, THREE_LONG, Some(2));
}

#[test]
fn three_equal_routers_heal_to_exactly_one() {
    explore_from_settled(&[100, 100, 100], false, THREE_LONG, None);
}

#[test]
fn without_preemption_a_returning_better_router_changes_nothing() {
    let mut network = settled(&[200, 100], false);
    assert_eq!(network.active(), [0]);
    network.run(Fault::StopOrStart(0), INTERVAL);
    assert_eq!(network.active(), [1], "the resignation is followed within the skew");
    network.reset_measures();
    for _ in 0..5 {
        network.run(Fault::StopOrStart(0), SETTLED_AFTER);
    }
    assert_eq!(network.active(), [1]);
    assert_eq!(network.takeovers, 0);
}

#[test]
fn every_address_is_held_exactly_while_active() {
    // The network itself asserts it after every step; this walks through each way in and out.
    let mut network = settled(&[100, 200], true);
    let ways = [Fault::StopOrStart(1), Fault::Mute(0), Fault::StopOrStart(1), Fault::Nothing];
    for fault in ways {
        network.run(fault, SETTLED_AFTER);
        for (index, node) in network.nodes.iter().enumerate() {
            assert_eq!(node.has_addresses, network.active().contains(&index));
        }
    }
    assert_eq!(network.active(), [1]);
}

#[test]
fn a_dead_active_is_replaced_within_the_down_interval() {
    let mut network = settled(&[100, 200], true);
    // Frozen stands for killed: nothing is said, and nothing is sent any more.
    let wait = Duration::from_micros(3_609_375) + LATENCY;
    network.run(Fault::Frozen(1), wait + Duration::from_nanos(1));
    assert_eq!(network.nodes[0].machine.state(), State::Active);
}

/// A round of the permit exploration: who asks for the lease, under which fault.
fn permit_round(network: &mut Network, lease: &mut (usize, Duration), wants: usize, fault: Fault) {
    let free = lease.1 <= network.now;
    if lease.0 == wants || free {
        *lease = (wants, network.now + INTERVAL * 2);
        network.step(wants, Event::PermitGranted { until: lease.1 });
    }
    network.run(fault, INTERVAL);
}

fn explore_permits(network: &Network, lease: (usize, Duration), depth: usize, sequences: &mut u32) {
    *sequences += 1;
    assert_eq!(network.longest_two, Duration::ZERO, "permits never overlap, nor do Actives");
    let mut healed = network.clone();
    let mut healed_lease = lease;
    healed.start_all();
    for _ in 0..8 {
        permit_round(&mut healed, &mut healed_lease, 0, Fault::Nothing);
    }
    assert_eq!(healed.active(), [0], "the holder of the permit is Active");
    assert_eq!(healed.longest_two, Duration::ZERO);
    if depth == 0 {
        return;
    }
    // A frozen process can't release; that is what its permit's holder and watchdog are for.
    let faults = faults_of(2).into_iter().filter(|fault| !matches!(fault, Fault::Frozen(_)));
    for fault in faults {
        for wants in 0..2 {
            let (mut next, mut next_lease) = (network.clone(), lease);
            permit_round(&mut next, &mut next_lease, wants, fault);
            explore_permits(&next, next_lease, depth - 1, sequences);
        }
    }
}

#[test]
fn permits_that_never_overlap_allow_no_moment_with_two_active() {
    let network = Network::new(&[100, 200], false, true);
    let mut sequences = 0;
    explore_permits(&network, (0, Duration::ZERO), 3, &mut sequences);
    assert!(sequences > 1000, "{sequences} sequences");
}
