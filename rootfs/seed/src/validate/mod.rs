//! Rules between sections: each value is fine by itself, but do they fit together?
//!
//! A rule names the sections that it reads, and runs only if these were read without a problem, so
//! that one mistake doesn't echo as several. Rules think like the operator at 3 a.m.: they refuse
//! what would boot and then fail, such as two VIPs of one VRID on a link.

use crate::problem::Wrong;
use crate::reader::Reader;
use crate::section::Seed;

/// A rule and the sections that must be sound for it to make sense.
struct Rule {
    sections: &'static [&'static str],
    check: fn(&Seed, &mut Findings<'_, '_>),
}

/// All rules, in the order in which they run.
const RULES: &[Rule] = &[];

/// Where rules report what they find.
struct Findings<'r, 't> {
    reader: &'r mut Reader<'t>,
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
}

/// Runs every rule whose sections are sound.
pub(crate) fn validate(seed: &Seed, reader: &mut Reader<'_>) {
    for rule in RULES {
        if rule.sections.iter().all(|section| reader.is_sound(section)) {
            (rule.check)(seed, &mut Findings { reader });
        }
    }
}
