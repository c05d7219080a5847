//! One history: faults first, then everything is mended and the pair must find together again.

use failover::{Command, Event, Members, Rules, Side, Source, State};

use crate::judge::Violation;
use crate::plan::{MS, Micros, Plan, SECOND, Topology};
use crate::world::World;

/// How long a mended pair may take to be in sync, with everything it may have to do: boot, rewind,
/// copy, wait out the hold-down. Bounds that are named in the settings are a small part of it.
const HEALED_WITHIN: Micros = 60 * SECOND;
/// How long a pair that needs its operator is given to show it.
const PATIENCE: Micros = 20 * SECOND;
const LOOK_EVERY: Micros = 500 * MS;

/// What came of a history.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What should never have been seen.
    pub violation: Option<Violation>,
    /// What was decided beforehand.
    pub plan: Plan,
    /// Commits that clients were told of.
    pub acknowledged: u64,
    /// The longest time between two acknowledged commits, in microseconds.
    pub longest_silence: Micros,
    /// Acknowledged commits that were given up, where policy or operator had accepted that.
    pub lost: u64,
    /// Acknowledged commits whose only copy was on a disk that was lost.
    pub only_copies_lost: u64,
    /// Both nodes led without knowing of each other, because `availability` was deceived.
    pub diverged: bool,
    /// Automatic means ended, and the operator had to choose.
    pub needed_operator: bool,
    /// fsyncs of records.
    pub syncs: u64,
    /// How long the mended pair took to be in sync.
    pub healed_after: Micros,
    /// Moves by state and input.
    pub moves: [[u64; failover::Input::ALL.len()]; State::ALL.len()],
    /// Authorities by source.
    pub sources: [u64; 6],
    /// The history in words, if it was wanted.
    pub story: Vec<String>,
}

/// Runs the history of a seed.
pub fn run_seed(seed: u64, topology: Topology, rules: Rules) -> Outcome {
    run_plan(Plan::draw(seed, topology, rules), false)
}

/// Runs a plan; with `tell` its outcome has a story.
pub fn run_plan(plan: Plan, tell: bool) -> Outcome {
    let mut world = World::new(plan, tell);
    let heal_at = world.plan.heal_at;
    world.run_until(heal_at);
    let mut needed_operator = false;
    if world.judge.violation.is_none() {
        world.heal();
        needed_operator = mend(&mut world);
    }
    outcome(world, needed_operator)
}

/// Waits until the pair is in sync; the operator helps where only the operator can.
fn mend(world: &mut World) -> bool {
    let mended = world.now;
    let mut forced_at = None;
    let mut good = 0;
    while world.judge.violation.is_none() {
        let until = world.now + LOOK_EVERY;
        world.run_until(until);
        if world.is_whole() {
            good += 1;
            if good > 1 {
                break;
            }
        } else {
            good = 0;
        }
        let waited = world.now - mended;
        for side in Side::BOTH {
            // Machines that were switched on late are told that maintenance is over as well.
            if world.in_maintenance(side) {
                world.tell_machine(side, &Event::Operator(Command::Maintenance(false)));
            }
        }
        let lost = world.judge.memory_lost || world.only_copy_is_damaged();
        let stuck = lost && forced_at.is_none() && waited > PATIENCE;
        if stuck && world.nobody_leads() {
            forced_at = Some(world.now);
            world.operator_chooses();
        }
        if waited > HEALED_WITHIN {
            let states = Side::BOTH.map(|side| world.state_of(side));
            let now = world.now;
            world.judge.violate("I11", now, || format!("mended, and not in sync: {states:?}"));
        }
    }
    world.healed_after = world.now - mended;
    forced_at.is_some()
}

impl World {
    fn state_of(&self, side: Side) -> Option<State> {
        self.machine(side).core.as_ref().map(|core| core.status().state)
    }

    fn in_maintenance(&self, side: Side) -> bool {
        self.machine(side).core.as_ref().is_some_and(|core| core.status().record.maintenance)
    }

    /// One leader that serves, with its permit, and a standby in sync.
    fn is_whole(&self) -> bool {
        Side::BOTH.iter().any(|side| {
            let leader = self.machine(*side);
            self.state_of(*side) == Some(State::PSync)
                && leader.gate.is_some()
                && leader.permit.is_some()
                && self.state_of(side.peer()) == Some(State::SSync)
                && leader.pg.peer_flush > 0
        })
    }

    fn nobody_leads(&self) -> bool {
        Side::BOTH.iter().all(|side| self.machine(*side).gate.is_none())
    }

    /// Who led alone can't start its database any more. The other one may have all of it, if it agreed to
    /// that just before.
    fn only_copy_is_damaged(&self) -> bool {
        Side::BOTH.iter().any(|side| {
            let machine = self.machine(*side);
            let alone = machine.durable.is_some_and(|record| {
                record.config.led_by(*side) && record.config.members == Members::Leader
            });
            alone && machine.pg.damaged
        })
    }

    /// The operator compares both nodes, and forces the one with more to show.
    fn operator_chooses(&mut self) {
        let held = Side::BOTH.map(|side| {
            let wal = &self.machine(side).pg.wal;
            let acked = &self.judge.acked;
            acked.iter().filter(|(place, serial)| wal.get(*place) == Some(serial)).count()
        });
        let [damaged_a, damaged_b] = Side::BOTH.map(|side| self.machine(side).pg.damaged);
        let better =
            if damaged_b || (held[0] >= held[1] && !damaged_a) { Side::A } else { Side::B };
        // A leader whose database doesn't start is switched off first: the other one can't know.
        if damaged_a || damaged_b {
            self.switch_off(better.peer());
            let until = self.now + SECOND;
            self.run_until(until);
        }
        let order = Event::Operator(Command::ForcePrimary { accept_data_loss: true });
        let before = self.judge.sources[Source::Operator as usize];
        self.tell_machine(better, &order);
        if self.judge.sources[Source::Operator as usize] == before {
            self.tell_machine(better.peer(), &order);
        }
    }
}

fn outcome(world: World, needed_operator: bool) -> Outcome {
    let judge = world.judge;
    Outcome {
        violation: judge.violation,
        acknowledged: judge.acks,
        longest_silence: judge.longest_silence,
        lost: judge.lost,
        only_copies_lost: judge.only_copies_lost,
        diverged: judge.policy_lies && judge.diverged > 0,
        needed_operator,
        syncs: judge.syncs,
        healed_after: world.healed_after,
        moves: judge.moves,
        sources: judge.sources,
        story: world.story.unwrap_or_default(),
        plan: world.plan,
    }
}
