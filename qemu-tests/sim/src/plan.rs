//! What will happen in a history: its settings, its noise, its faults. Drawn from the seed before
//! anything runs, so that faults can be taken out again one by one.

use std::time::Duration;

use failover::{Arbiter, Policy, Rules, Settings, Side, Times};

use crate::rng::Rng;

/// Microseconds of the world's own time.
pub type Micros = u64;
/// A span of the core's time in the world's.
pub(crate) fn micros(span: Duration) -> Micros {
    Micros::try_from(span.as_micros()).unwrap_or(Micros::MAX)
}

/// One millisecond.
pub const MS: Micros = 1000;
/// One second.
pub const SECOND: Micros = 1_000_000;

/// Which machines there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Two nodes; a fence or a policy decides.
    Pair,
    /// Two nodes and a witness.
    PairWitness,
}

/// Kinds of faults, for counting and for switching off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// The peers can't reach each other; everything else works.
    Cut,
    /// Only one direction is cut.
    OneWay,
    /// A node reaches nothing: neither peer, witness, nor gateway.
    Isolate,
    /// A node reaches no witness.
    CutWitness,
    /// A node's gateway doesn't answer.
    GatewayLoss,
    /// Many messages are lost.
    Loss,
    /// Messages take long, and overtake each other.
    Delay,
    /// Messages arrive twice, the second much later.
    Duplicate,
    /// A machine stands still, and its clock with it.
    Freeze,
    /// A machine stands still, and its clock jumps.
    Stall,
    /// A machine loses power and boots again.
    Crash,
    /// A machine loses power around one of its next fsyncs.
    CrashAtSync,
    /// A machine loses power while it writes its record, which is torn.
    Torn,
    /// Both machines lose power; they come back in any order.
    PowerLoss,
    /// A machine comes back with an empty disk.
    DiskLoss,
    /// The record can't be written any more, until the daemon is restarted.
    StorageFails,
    /// PostgreSQL crashes.
    PgCrash,
    /// PostgreSQL's next commands fail.
    PgFails,
    /// PostgreSQL and fsync are slow.
    Slow,
    /// PostgreSQL heeds changed names late, and its keeper learns of it later still.
    LateNames,
    /// The witness is away.
    WitnessDown,
    /// The witness forgets.
    WitnessForgets,
    /// A clock runs at another rate.
    Drift,
    /// The operator orders a switchover.
    Switchover,
    /// The operator switches maintenance on, and off again.
    Maintenance,
    /// The operator forces a node to lead.
    Force,
    /// The operator orders a fresh copy.
    Reinit,
    /// The disk is nearly full.
    DiskLow,
    /// The fence command fails.
    FenceFails,
    /// All cables of a node are pulled, or the one between the two; whose it is notices at once.
    Unplug,
    /// A client cancels what it waits for.
    Cancel,
    /// PostgreSQL ends, and never starts from this data again.
    Damage,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 32] = [
        Self::Cut,
        Self::OneWay,
        Self::Isolate,
        Self::CutWitness,
        Self::GatewayLoss,
        Self::Loss,
        Self::Delay,
        Self::Duplicate,
        Self::Freeze,
        Self::Stall,
        Self::Crash,
        Self::CrashAtSync,
        Self::Torn,
        Self::PowerLoss,
        Self::DiskLoss,
        Self::StorageFails,
        Self::PgCrash,
        Self::PgFails,
        Self::Slow,
        Self::LateNames,
        Self::WitnessDown,
        Self::WitnessForgets,
        Self::Drift,
        Self::Switchover,
        Self::Maintenance,
        Self::Force,
        Self::Reinit,
        Self::DiskLow,
        Self::FenceFails,
        Self::Unplug,
        Self::Cancel,
        Self::Damage,
    ];
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it begins.
    pub at: Micros,
    /// How long it lasts.
    pub lasts: Micros,
    /// What it is.
    pub kind: Kind,
    /// Whom it befalls.
    pub side: Side,
    /// A number for details: how many fsyncs, which order, what rate.
    pub detail: u64,
}

/// Everything about a history that is decided beforehand.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of the run's small decisions.
    pub seed: u64,
    /// Who decides.
    pub arbiter: Arbiter,
    /// The times.
    pub times: Times,
    /// The rules in force.
    pub rules: Rules,
    /// The gate swallows cancel requests.
    pub swallow_cancels: bool,
    /// How long a power controller may take.
    pub fence_longest: Micros,
    /// Whether the pair is new, or was in sync before.
    pub founded: bool,
    /// Who led a pair that was in sync before, if that matters.
    pub leader: Option<Side>,
    /// Percent of messages that are lost at any time.
    pub loss: u64,
    /// Percent of messages that arrive twice at any time.
    pub duplicates: u64,
    /// The longest usual delay of a message.
    pub delay: Micros,
    /// Whether there is a second channel that cuts don't concern.
    pub second_channel: bool,
    /// The faults, in order of their beginnings.
    pub faults: Vec<Fault>,
    /// When the last fault is over and everything is mended.
    pub heal_at: Micros,
}

/// A power controller that works well answers by then.
const FENCE_LONGEST: Micros = 1500 * MS;

const POLICIES: [Policy; 4] =
    [Policy::Consistency, Policy::PrimaryBiased, Policy::StandbyBiased, Policy::Availability];

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64, topology: Topology, rules: Rules) -> Self {
        Self::draw_among(seed, topology, rules, &Kind::ALL)
    }

    /// The plan of a seed, with faults of some kinds only.
    pub fn draw_among(seed: u64, topology: Topology, rules: Rules, among: &[Kind]) -> Self {
        let mut rng = Rng::new(seed, 1);
        let arbiter = match topology {
            Topology::PairWitness => Arbiter::Witness,
            Topology::Pair if rng.chance(20) => Arbiter::Fence,
            Topology::Pair => Arbiter::Policy(rng.pick(&POLICIES)),
        };
        let founded = rng.chance(85);
        let begin = if founded { SECOND } else { 6 * SECOND };
        let length = rng.between(2, 12) * SECOND;
        let mut plan = Self {
            seed,
            arbiter,
            times: draw_times(&mut rng),
            rules,
            swallow_cancels: true,
            // Longer than many a fault lasts, so that contact comes back before the power goes.
            fence_longest: if seed.is_multiple_of(3) { 5 * SECOND } else { FENCE_LONGEST },
            founded,
            leader: None,
            loss: if rng.chance(30) { rng.below(8) } else { 0 },
            duplicates: if rng.chance(30) { rng.below(20) } else { 0 },
            delay: rng.between(1, 20) * MS,
            second_channel: rng.chance(15),
            faults: Vec::new(),
            heal_at: begin + length,
        };
        plan.draw_faults(&mut rng, among, begin, length);
        plan
    }

    /// A pair that was in sync, led by A, and to which only the given faults happen.
    pub fn scenario(arbiter: Arbiter, faults: Vec<Fault>, heal_at: Micros) -> Self {
        let times = Times { hold_down: Duration::from_millis(500), ..Times::default() };
        Self {
            seed: 1,
            arbiter,
            times,
            rules: Rules::ALL,
            swallow_cancels: true,
            fence_longest: FENCE_LONGEST,
            founded: true,
            leader: Some(Side::A),
            loss: 0,
            duplicates: 0,
            delay: 2 * MS,
            second_channel: false,
            faults,
            heal_at,
        }
    }

    /// Swarm testing: each history has only some kinds of faults, so that each kind is at times
    /// undisturbed by the others.
    fn draw_faults(&mut self, rng: &mut Rng, among: &[Kind], begin: Micros, length: Micros) {
        let share = if among.len() < Kind::ALL.len() { 100 } else { rng.pick(&[8, 20, 50]) };
        let mut kinds: Vec<Kind> =
            among.iter().copied().filter(|kind| self.knows(*kind) && rng.chance(share)).collect();
        if kinds.is_empty() {
            kinds.push(Kind::Crash);
        }
        let rare = [Kind::DiskLoss, Kind::Torn, Kind::Force, Kind::WitnessForgets];
        for _ in 0..rng.between(1, 9) {
            let kind = rng.pick(&kinds);
            if rare.contains(&kind) && rng.chance(50) {
                continue;
            }
            let lasts = match rng.below(4) {
                0 => rng.between(10, 600) * MS,
                1 => rng.between(300, 1500) * MS,
                _ => rng.between(500, 8000) * MS,
            };
            let at = begin + rng.below(length);
            let fault = Fault { at, lasts, kind, side: rng.pick(&Side::BOTH), detail: rng.next() };
            self.faults.push(fault);
        }
        self.faults.sort_by_key(|fault| fault.at);
    }

    fn knows(&self, kind: Kind) -> bool {
        let witness = self.arbiter == Arbiter::Witness;
        match kind {
            Kind::CutWitness | Kind::WitnessDown | Kind::WitnessForgets => witness,
            Kind::FenceFails => self.arbiter == Arbiter::Fence,
            Kind::GatewayLoss => self.arbiter.policy() == Policy::Availability,
            _ => true,
        }
    }

    /// The settings of one node.
    pub fn settings(&self, side: Side) -> Settings {
        Settings {
            cluster: CLUSTER,
            side,
            arbiter: self.arbiter,
            times: self.times,
            rules: self.rules,
        }
    }
}

/// The simulated cluster's number.
pub const CLUSTER: u64 = 7;

fn draw_times(rng: &mut Rng) -> Times {
    let hold = rng.pick(&[300, 500, 1000, 2000]);
    Times {
        hold_down: Duration::from_millis(hold),
        hold_down_longest: Duration::from_millis(hold * 4),
        ..Times::default()
    }
}
