//! Every history of a few rounds, for two nodes with and without a witness.
//!
//! Time goes in rounds of [`ROUND`]. In each round the network is in one of a few conditions and
//! at most one thing befalls the nodes; within it, messages, fsyncs and PostgreSQL take no time.
//! All sequences are run, depth first, over the real step function. States that were seen before
//! with as many rounds left are not followed again: the cores' times are kept relative, and
//! counters, nonces and WAL positions are left out of the comparison. So what is *not* explored is
//! delay across rounds; the random histories do that.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use failover::{Arbiter, Policy, State, Times};

use crate::plan::Topology;
use crate::tiny::{Net, Round, Tiny, Touch};

/// The length of a round, and of a heartbeat.
pub const ROUND: Duration = Duration::from_millis(100);
/// Healthy rounds within which every explored state must be in sync again.
const HEALING_ROUNDS: usize = 40;
/// Rounds in which a new history settles before anything happens.
const SETTLING_ROUNDS: usize = 30;

/// One exploration: who arbitrates, and which rounds there are.
#[derive(Clone, Copy, Debug)]
pub struct Corner {
    /// Who decides.
    pub arbiter: Arbiter,
    nets: &'static [Net],
    touches: &'static [Touch],
}

const NETS: &[Net] = &[Net::Whole, Net::Cut, Net::OneWay, Net::OtherWay, Net::AloneA, Net::AloneB];
const WITNESS_NETS: &[Net] = &[
    Net::Whole,
    Net::Cut,
    Net::OneWay,
    Net::OtherWay,
    Net::AloneA,
    Net::AloneB,
    Net::NoWitness,
    Net::CutNoWitness,
];
/// What doesn't deceive the policy `availability`: whoever is cut off, is cut off from all.
const HONEST_NETS: &[Net] = &[Net::Whole, Net::AloneA, Net::AloneB];
const TOUCHES: &[Touch] = &Touch::ALL;
const HONEST_TOUCHES: &[Touch] = &[
    Touch::Nothing,
    Touch::DownA,
    Touch::DownB,
    Touch::DownBoth,
    Touch::BeforeSyncA,
    Touch::BeforeSyncB,
    Touch::AfterSyncA,
    Touch::AfterSyncB,
    Touch::PgCrash,
    Touch::Switchover,
];

/// What is explored for a topology.
pub fn corners(topology: Topology) -> Vec<Corner> {
    let policy = |policy, nets, touches| Corner { arbiter: Arbiter::Policy(policy), nets, touches };
    match topology {
        Topology::PairWitness => {
            vec![Corner { arbiter: Arbiter::Witness, nets: WITNESS_NETS, touches: TOUCHES }]
        }
        Topology::Pair => vec![
            policy(Policy::Consistency, NETS, TOUCHES),
            policy(Policy::PrimaryBiased, NETS, TOUCHES),
            policy(Policy::StandbyBiased, NETS, TOUCHES),
            policy(Policy::Availability, HONEST_NETS, HONEST_TOUCHES),
        ],
    }
}

/// Every time is a few rounds, so that a few rounds reach everything.
pub(crate) fn short_times(arbiter: Arbiter) -> Times {
    let rounds = |count: u32| ROUND * count;
    // By the windows a node relies on its gateway, in which a cut must show before anybody acts.
    let slower = if arbiter.policy() == Policy::Availability { ROUND } else { Duration::ZERO };
    Times {
        heartbeat: ROUND,
        // An echo takes a round to come back, and another to be looked at.
        loss: ROUND * 5 / 2 + slower,
        precedence: ROUND / 2,
        rendezvous: rounds(2),
        standby_rendezvous: rounds(3),
        promote_window: rounds(4) + slower,
        solo_window: rounds(6) + slower,
        blocked_grace: ROUND / 2,
        stream_loss: rounds(2),
        restart_bound: rounds(3),
        handover_bound: rounds(3),
        hold_down: rounds(1),
        hold_down_longest: rounds(2),
        permit: rounds(2),
        retry: ROUND,
    }
}

/// What an exploration found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Different states.
    pub states: u64,
    /// Rounds run.
    pub rounds: u64,
    /// States with a node in each state.
    pub reached: [u64; State::ALL.len()],
    /// The first violation, and the rounds that lead to it.
    pub violation: Option<(String, Vec<Round>)>,
}

impl Found {
    /// The result in words.
    pub fn text(&self, corner: Corner, rounds: usize) -> String {
        let reached = State::ALL.iter().zip(self.reached);
        let reached: Vec<String> =
            reached.map(|(state, count)| format!("{state:?} {count}")).collect();
        let mut text = format!(
            "{:?}: every history of {rounds} rounds: {} states, {} rounds run\n  {}",
            corner.arbiter,
            self.states,
            self.rounds,
            reached.join(", ")
        );
        if let Some((what, path)) = &self.violation {
            text.push_str(&format!("\nVIOLATED: {what}\n"));
            for round in path {
                text.push_str(&format!("  {round:?}\n"));
            }
        }
        text
    }
}

/// Runs every history of so many rounds.
pub fn explore(corner: Corner, rounds: usize) -> Found {
    let mut start = Tiny::new(corner.arbiter);
    for _ in 0..SETTLING_ROUNDS {
        start.run(Round { net: Net::Whole, touch: Touch::Nothing, write: false });
    }
    let mut search = Search { corner, seen: HashMap::new(), found: Found::default() };
    if !start.is_whole() {
        search.found.violation = Some(("the pair doesn't form".to_owned(), Vec::new()));
        return search.found;
    }
    search.follow(&start, rounds, &mut Vec::new());
    search.found
}

struct Search {
    corner: Corner,
    /// The rounds that were left when a state was last followed.
    seen: HashMap<u64, usize>,
    found: Found,
}

impl Search {
    fn follow(&mut self, world: &Tiny, left: usize, path: &mut Vec<Round>) {
        let mut hasher = DefaultHasher::new();
        world.hash(&mut hasher);
        match self.seen.insert(hasher.finish(), left) {
            None => self.arrive(world, path),
            Some(before) if before >= left => {
                self.seen.insert(hasher.finish(), before);
                return;
            }
            Some(_) => {}
        }
        if left == 0 || self.found.violation.is_some() {
            return;
        }
        for net in self.corner.nets {
            for touch in self.corner.touches {
                for write in [false, true] {
                    if write && !world.may_write() {
                        continue;
                    }
                    let round = Round { net: *net, touch: *touch, write };
                    let mut next = world.clone();
                    next.run(round);
                    self.found.rounds += 1;
                    path.push(round);
                    if let Some(violation) = next.violation.clone() {
                        self.found.violation.get_or_insert((violation, path.clone()));
                    }
                    self.follow(&next, left - 1, path);
                    path.pop();
                    if self.found.violation.is_some() {
                        return;
                    }
                }
            }
        }
    }

    /// A new state: it must heal.
    fn arrive(&mut self, world: &Tiny, path: &[Round]) {
        self.found.states += 1;
        for state in world.states().into_iter().flatten() {
            self.found.reached[state as usize] += 1;
        }
        let mut healing = world.clone();
        for _ in 0..HEALING_ROUNDS {
            healing.run(Round { net: Net::Whole, touch: Touch::Nothing, write: false });
            if healing.is_whole() || healing.violation.is_some() {
                break;
            }
        }
        let problem = match &healing.violation {
            Some(violation) => Some(format!("while healing: {violation}")),
            None if healing.is_whole() => None,
            None => Some(format!("it doesn't heal: {:?}", healing.states())),
        };
        if let Some(problem) = problem {
            self.found.violation.get_or_insert((problem, path.to_vec()));
        }
    }
}
