//! Rules between sections: each value is fine by itself, but do they fit together?
//!
//! A rule names the sections that it reads, and runs only if these were read without a problem, so
//! that one mistake doesn't echo as several. Rules think like the operator at 3 a.m.: they refuse
//! what would boot and then fail, such as two VIPs of one VRID on a link.

mod balancer;
mod channels;
mod checks;
mod cluster;
mod database;
mod kubernetes;
mod links;
mod ports;
mod roles;
mod secrets;
mod services;
mod vips;

use std::collections::BTreeSet;

use crate::problem::Wrong;
use crate::reader::Reader;
use crate::section::Seed;

/// A rule and the sections that must be sound for it to make sense.
struct Rule {
    sections: &'static [&'static str],
    check: fn(&Seed, &mut Findings<'_, '_>),
}

/// Shortens the tables of rules.
const fn rule(sections: &'static [&'static str], check: fn(&Seed, &mut Findings<'_, '_>)) -> Rule {
    Rule { sections, check }
}

/// All rules, in the order in which they run.
const RULES: &[&[Rule]] = &[
    roles::RULES,
    cluster::RULES,
    links::RULES,
    vips::RULES,
    checks::RULES,
    database::RULES,
    channels::RULES,
    kubernetes::RULES,
    balancer::RULES,
    services::RULES,
    ports::RULES,
    secrets::RULES,
];

/// Where rules report what they find.
struct Findings<'r, 't> {
    reader: &'r mut Reader<'t>,
    unsound: &'r BTreeSet<String>,
}

impl Findings<'_, '_> {
    /// Reports at a dotted path, such as `vips[0].link`.
    fn at(
        &mut self,
        path: &str,
        what: impl Into<String>,
        why: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.reader.report_at(path, Wrong::new(what, why, mend));
    }

    /// Whether a section was read without a problem; an absent one was.
    fn is_sound(&self, section: &str) -> bool {
        !self.unsound.contains(section)
    }
}

/// Runs every rule whose sections were read without a problem.
pub(crate) fn validate(seed: &Seed, reader: &mut Reader<'_>) {
    // Taken once: what one rule finds must not silence the next.
    let unsound = reader.unsound_sections();
    for rule in RULES.iter().copied().flatten() {
        let mut findings = Findings { reader: &mut *reader, unsound: &unsound };
        if rule.sections.iter().all(|section| findings.is_sound(section)) {
            (rule.check)(seed, &mut findings);
        }
    }
}

/// The position of every element that is equal to an earlier one, with that earlier one's.
fn repeated<T: PartialEq>(list: &[T]) -> Vec<(usize, usize)> {
    let first = |index: usize| list[..index].iter().position(|earlier| *earlier == list[index]);
    (1..list.len()).filter_map(|index| Some((index, first(index)?))).collect()
}
