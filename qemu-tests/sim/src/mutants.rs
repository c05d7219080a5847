//! The rules of the protocol, each switched off in turn: the simulator must notice.

use failover::Rules;

use crate::plan::{Kind, Plan, Topology};
use crate::run::{Outcome, run_plan};

/// A rule that is off, and where that shows.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// The rule's name.
    pub name: &'static str,
    /// The machines of the histories in which it matters.
    pub topology: Topology,
    /// The faults that its absence needs; other kinds would only make it rarer.
    pub faults: &'static [Kind],
    rules: fn(&mut Rules),
    swallow_cancels: bool,
}

const fn rule(
    name: &'static str,
    topology: Topology,
    faults: &'static [Kind],
    rules: fn(&mut Rules),
) -> Mutant {
    Mutant { name, topology, faults, rules, swallow_cancels: true }
}

use Kind::{
    Crash, Cut, CutWitness, Delay, DiskLoss, Force, Freeze, Isolate, LateNames, Loss, OneWay,
    PgCrash,
};
use Kind::{
    PgFails, PowerLoss, Reinit, Slow, Stall, Switchover, Torn, Unplug, WitnessDown, WitnessForgets,
};
use Topology::{Pair, PairWitness};

const ALL: &[Kind] = &Kind::ALL;
const CUTS: &[Kind] = &[Cut, OneWay, Isolate, CutWitness, Loss, Unplug, Freeze, Crash];
const MEMORY: &[Kind] = &[DiskLoss, Isolate, Cut, CutWitness, WitnessDown, Crash, PowerLoss];
const JOINING: &[Kind] = &[Crash, Isolate, Delay, Slow, Unplug];

/// Every rule, and the gate's rule, which isn't the core's.
pub const MUTANTS: [Mutant; 26] = [
    rule("persist_before_effect", Pair, ALL, |rules| rules.persist_before_effect = false),
    rule("withdraw_before_authority", PairWitness, CUTS, |rules| {
        rules.withdraw_before_authority = false;
    }),
    rule("solo_needs_authority", PairWitness, CUTS, |rules| rules.solo_needs_authority = false),
    rule("promotion_needs_authority", PairWitness, CUTS, |rules| {
        rules.promotion_needs_authority = false;
    }),
    rule("only_members_claim", PairWitness, CUTS, |rules| rules.only_members_claim = false),
    rule("consent_is_checked", PairWitness, CUTS, |rules| rules.consent_is_checked = false),
    rule("witness_grants_once", PairWitness, CUTS, |rules| rules.witness_grants_once = false),
    rule("witness_enrolls", PairWitness, &[WitnessForgets, Isolate, Cut, Freeze, Crash], |rules| {
        rules.witness_enrolls = false;
    }),
    rule("amnesia_has_no_vote", PairWitness, MEMORY, |rules| rules.amnesia_has_no_vote = false),
    rule("lone_boot_waits", Pair, &[PowerLoss, Isolate, Crash], |rules| {
        rules.lone_boot_waits = false;
    }),
    rule("names_before_publish", Pair, JOINING, |rules| rules.names_before_publish = false),
    rule("flush_before_publish", PairWitness, JOINING, |rules| rules.flush_before_publish = false),
    rule("release_is_doubted", PairWitness, &[LateNames, Isolate, Cut, Crash], |rules| {
        rules.release_is_doubted = false;
    }),
    rule("recovery_flush_before_gate", PairWitness, &[PgCrash, Delay, Crash], |rules| {
        rules.recovery_flush_before_gate = false;
    }),
    rule("fence_on_newer", PairWitness, CUTS, |rules| rules.fence_on_newer = false),
    rule("blocked_closes_gate", PairWitness, CUTS, |rules| rules.blocked_closes_gate = false),
    rule("contact_by_echo", Pair, &[OneWay, Delay, Crash], |rules| rules.contact_by_echo = false),
    rule("repair_only_outsiders", PairWitness, &[Reinit, Crash, PgFails], |rules| {
        rules.repair_only_outsiders = false;
    }),
    rule("rewind_is_noted", Pair, &[Torn, Switchover, Force, Crash], |rules| {
        rules.rewind_is_noted = false;
    }),
    rule("peer_was_here", Pair, &[DiskLoss, Isolate, Crash, Cut], |rules| {
        rules.peer_was_here = false;
    }),
    rule("fence_is_called_off", Pair, &[Isolate, Cut, Unplug, Stall, Freeze], |rules| {
        rules.fence_is_called_off = false;
    }),
    rule("hold_down", Pair, &[Crash, Unplug, Switchover], |rules| rules.hold_down = false),
    rule("revision_fence", Pair, &[Force, Isolate, PowerLoss], |rules| {
        rules.revision_fence = false;
    }),
    rule("gateway", Pair, &[Isolate, Unplug, Stall], |rules| rules.gateway = false),
    rule("foreign_vip", Pair, &[Cut], |rules| rules.foreign_vip = false),
    Mutant {
        name: "gate_swallows_cancels",
        topology: PairWitness,
        faults: &[Kind::Cancel, Isolate, Crash],
        rules: |_| (),
        swallow_cancels: false,
    },
];

impl Mutant {
    /// The plan of a seed with the rule off.
    pub fn plan(&self, seed: u64) -> Plan {
        let mut rules = Rules::ALL;
        (self.rules)(&mut rules);
        let plan = Plan::draw_among(seed, self.topology, rules, self.faults);
        Plan { swallow_cancels: self.swallow_cancels, ..plan }
    }

    /// The first seed below a bound that shows it, and how.
    pub fn hunt(&self, seeds: u64) -> Option<(u64, Outcome)> {
        (0..seeds)
            .map(|seed| (seed, run_plan(self.plan(seed), false)))
            .find(|(_, outcome)| outcome.violation.is_some())
    }
}
