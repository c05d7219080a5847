//! Pass, violated or unknown, and how many of them become one. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::history::Micros;

/// What a check comes to. A later one outweighs an earlier one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was looked at, and holds.
    #[default]
    Pass,
    /// Too little was seen to tell: the fault never bit, too few operations, a host that lagged.
    Unknown,
    /// It doesn't hold. Never run again to see whether it goes away.
    Violated,
}

impl Verdict {
    /// The verdict over all of them. Nothing looked at is nothing known.
    pub fn over<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Self {
        findings.into_iter().map(|finding| finding.verdict).max().unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Pass => "pass",
            Self::Unknown => "unknown",
            Self::Violated => "violated",
        })
    }
}

/// How many examples a finding names; the others are counted.
const EXAMPLES: usize = 5;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What must hold, as a sentence: "nothing acknowledged is lost".
    pub check: String,
    /// Whether it does.
    pub verdict: Verdict,
    /// Why not, or what was seen.
    pub reasons: Vec<String>,
    /// The first time at which it didn't hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Micros>,
}

impl Finding {
    /// It holds; the reason says how it is known.
    pub fn pass(check: &str, seen: impl Into<String>) -> Self {
        Self::new(check, Verdict::Pass, vec![seen.into()])
    }

    /// It can't be told.
    pub fn unknown(check: &str, why: impl Into<String>) -> Self {
        Self::new(check, Verdict::Unknown, vec![why.into()])
    }

    /// It doesn't hold.
    pub fn violated(check: &str, why: impl Into<String>) -> Self {
        Self::new(check, Verdict::Violated, vec![why.into()])
    }

    /// The same, at a time.
    #[must_use]
    pub fn at(mut self, time: Micros) -> Self {
        self.at = Some(time);
        self
    }

    /// Violated if there is any violation, else passed because of what was seen.
    pub(crate) fn from_violations(
        check: &str,
        violations: Vec<(Micros, String)>,
        seen: impl Into<String>,
    ) -> Self {
        let Some(first) = violations.iter().map(|(at, _)| *at).min() else {
            return Self::pass(check, seen);
        };
        let more = violations.len().saturating_sub(EXAMPLES);
        let mut reasons: Vec<String> =
            violations.into_iter().take(EXAMPLES).map(|(_, reason)| reason).collect();
        if more > 0 {
            reasons.push(format!("and {more} more"));
        }
        Self::new(check, Verdict::Violated, reasons).at(first)
    }

    fn new(check: &str, verdict: Verdict, reasons: Vec<String>) -> Self {
        Self { check: check.to_owned(), verdict, reasons, at: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides_and_nothing_seen_is_unknown() {
        let (pass, unknown) = (Finding::pass("a", ""), Finding::unknown("b", ""));
        let violated = Finding::violated("c", "");
        assert_eq!(Verdict::over([&pass, &pass]), Verdict::Pass);
        assert_eq!(Verdict::over([&pass, &unknown]), Verdict::Unknown);
        assert_eq!(Verdict::over([&violated, &unknown, &pass]), Verdict::Violated);
        assert_eq!(Verdict::over([]), Verdict::Unknown);
    }

    #[test]
    fn many_violations_are_counted_and_the_first_time_is_kept() {
        let violations = (1..=9).rev().map(|at| (Micros(at), format!("row {at}"))).collect();
        let finding = Finding::from_violations("rows", violations, "fine");
        assert_eq!((finding.reasons.len(), finding.at), (6, Some(Micros(1))));
        assert_eq!(finding.reasons[5], "and 4 more");
    }
}
