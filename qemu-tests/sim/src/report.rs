//! What came of many histories: sums, kinds of faults, states reached, violations.

use std::fmt::Write as _;

use failover::table::transition;
use failover::{Input, State};

use crate::judge::Violation;
use crate::plan::Kind;
use crate::run::Outcome;

/// Violations that are kept with their seeds; the rest is only counted.
const KEPT_MAX: usize = 20;

/// Sums over histories.
#[derive(Clone, Debug)]
pub struct Report {
    /// Histories.
    pub histories: u64,
    /// Commits that clients were told of.
    pub acknowledged: u64,
    /// Acknowledged commits given up with the operator's or the policy's consent.
    pub lost: u64,
    /// Acknowledged commits whose only copy was on a lost disk.
    pub only_copies_lost: u64,
    /// Histories in which `availability` was deceived and both nodes led.
    pub diverged: u64,
    /// Histories in which only the operator could go on, after a node had lost its memory, or the only
    /// copy was damaged.
    pub needed_operator: u64,
    /// fsyncs of records.
    pub syncs: u64,
    /// The longest time that a mended pair took to be in sync, in microseconds.
    pub slowest_heal: u64,
    /// Faults by kind.
    pub faults: [u64; Kind::ALL.len()],
    /// Moves by state and input.
    pub moves: [[u64; Input::ALL.len()]; State::ALL.len()],
    /// Authorities by source.
    pub sources: [u64; 6],
    /// How many histories were violated.
    pub violations: u64,
    /// The first of them, by seed.
    pub kept: Vec<(u64, Violation)>,
}

const SOURCES: [&str; 6] = ["peer", "witness", "fence", "policy", "alone", "operator"];

impl Default for Report {
    fn default() -> Self {
        Self {
            histories: 0,
            acknowledged: 0,
            lost: 0,
            only_copies_lost: 0,
            diverged: 0,
            needed_operator: 0,
            syncs: 0,
            slowest_heal: 0,
            faults: [0; Kind::ALL.len()],
            moves: [[0; Input::ALL.len()]; State::ALL.len()],
            sources: [0; 6],
            violations: 0,
            kept: Vec::new(),
        }
    }
}

impl Report {
    /// Adds a history.
    pub fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.histories += 1;
        self.acknowledged += outcome.acknowledged;
        self.lost += outcome.lost;
        self.only_copies_lost += outcome.only_copies_lost;
        self.diverged += u64::from(outcome.diverged);
        self.needed_operator += u64::from(outcome.needed_operator);
        self.syncs += outcome.syncs;
        self.slowest_heal = self.slowest_heal.max(outcome.healed_after);
        for fault in &outcome.plan.faults {
            self.faults[fault.kind as usize] += 1;
        }
        add_all(self.moves.as_flattened_mut(), outcome.moves.as_flattened());
        add_all(&mut self.sources, &outcome.sources);
        if let Some(violation) = &outcome.violation {
            self.violations += 1;
            self.keep(seed, violation.clone());
        }
    }

    /// Adds another report.
    pub fn merge(&mut self, other: Self) {
        self.histories += other.histories;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.only_copies_lost += other.only_copies_lost;
        self.diverged += other.diverged;
        self.needed_operator += other.needed_operator;
        self.syncs += other.syncs;
        self.slowest_heal = self.slowest_heal.max(other.slowest_heal);
        add_all(&mut self.faults, &other.faults);
        add_all(self.moves.as_flattened_mut(), other.moves.as_flattened());
        add_all(&mut self.sources, &other.sources);
        self.violations += other.violations;
        for (seed, violation) in other.kept {
            self.keep(seed, violation);
        }
        self.kept.sort_by_key(|(seed, _)| *seed);
    }

    fn keep(&mut self, seed: u64, violation: Violation) {
        if self.kept.len() < KEPT_MAX {
            self.kept.push((seed, violation));
        }
    }

    /// Transitions of the table that no history took.
    pub fn unreached(&self) -> Vec<(State, Input)> {
        let cells = State::ALL.into_iter().flat_map(|state| Input::ALL.map(|input| (state, input)));
        cells
            .filter(|(state, input)| transition(*state, *input).is_some())
            .filter(|(state, input)| self.moves[*state as usize][*input as usize] == 0)
            .collect()
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |text: std::fmt::Arguments<'_>| {
            let _ = writeln!(out, "{text}");
        };
        line(format_args!("histories            {}", self.histories));
        line(format_args!("violations           {}", self.violations));
        line(format_args!("acknowledged         {}", self.acknowledged));
        line(format_args!("records fsynced      {}", self.syncs));
        line(format_args!("diverged             {} (availability, deceived)", self.diverged));
        line(format_args!(
            "needed an operator   {} (after memory or the only copy was lost)",
            self.needed_operator
        ));
        line(format_args!("given up             {} (accepted beforehand)", self.lost));
        line(format_args!("only copies lost     {} (with their disk)", self.only_copies_lost));
        line(format_args!("slowest healing      {} ms", self.slowest_heal / 1000));
        line(format_args!("faults"));
        for (kind, count) in Kind::ALL.iter().zip(self.faults).filter(|(_, count)| *count > 0) {
            line(format_args!("  {count:>9}  {kind:?}"));
        }
        line(format_args!("authority from"));
        for (source, count) in SOURCES.iter().zip(self.sources) {
            line(format_args!("  {count:>9}  {source}"));
        }
        line(format_args!("moves"));
        for state in State::ALL {
            for input in Input::ALL {
                let count = self.moves[state as usize][input as usize];
                if let Some(to) = transition(state, input) {
                    line(format_args!("  {count:>9}  {state:?} --{input:?}--> {to:?}"));
                }
            }
        }
        for (seed, violation) in &self.kept {
            let Violation { invariant, at, text } = violation;
            line(format_args!("VIOLATED {invariant} by seed {seed} at {} ms: {text}", at / 1000));
        }
        out
    }

    /// The report for programs: one JSON object. Its strings are names and numbers; only what a
    /// violation says needs quoting.
    pub fn json(&self) -> String {
        let list = |pairs: Vec<String>| pairs.join(",");
        let faults = Kind::ALL.iter().zip(self.faults);
        let sources = SOURCES.iter().zip(self.sources);
        let violations = self.kept.iter().map(|(seed, violation)| {
            let Violation { invariant, at, text } = violation;
            format!(
                "{{\"seed\":{seed},\"invariant\":\"{invariant}\",\"at_us\":{at},\"text\":{text:?}}}"
            )
        });
        let unreached = self.unreached();
        let unreached = unreached.iter().map(|(state, input)| format!("\"{state:?}/{input:?}\""));
        format!(
            "{{\"histories\":{},\"violations\":{},\"acknowledged\":{},\"syncs\":{},\
             \"diverged\":{},\"needed_operator\":{},\"given_up\":{},\"only_copies_lost\":{},\
             \"slowest_heal_us\":{},\"faults\":{{{}}},\"authority\":{{{}}},\"unreached\":[{}],\
             \"violated\":[{}]}}",
            self.histories,
            self.violations,
            self.acknowledged,
            self.syncs,
            self.diverged,
            self.needed_operator,
            self.lost,
            self.only_copies_lost,
            self.slowest_heal,
            list(faults.map(|(kind, count)| format!("\"{kind:?}\":{count}")).collect()),
            list(sources.map(|(source, count)| format!("\"{source}\":{count}")).collect()),
            list(unreached.collect()),
            list(violations.collect()),
        )
    }
}

fn add_all(sums: &mut [u64], more: &[u64]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}
