//! How long a database is gone, for ours and for peers: the same fault, the same client, the same
//! wire, in turns.
//!
//! A [`System`] is a cluster and the faults that it can be struck with; each fault is a drill that
//! measures. Rounds go around all of them, so that a busy minute of the desk hits everybody. Every
//! run leaves its evidence, like any drill.

use std::error::Error;
use std::fmt::Write as _;

use ledger::Verdict;

use super::Sample;
use crate::rig::entry::{Entry, Ip};
use crate::rig::pair::{GAP, IN_SYNC_AGAIN, LOST};
use crate::rig::run::{Outcome, Runner};

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct System {
    pub name: &'static str,
    /// What can be done to it, by the name of the class.
    pub strikes: &'static [(&'static str, Entry)],
}

/// What a system did when it was struck so.
#[derive(Debug, Default)]
struct Figures {
    runs: u32,
    /// Runs after which nobody was answered any more, or that couldn't be made.
    failed: u32,
    lost_rows: u64,
    gap_ms: Sample,
    in_sync_again_ms: Sample,
}

impl Figures {
    fn add(&mut self, outcome: &Outcome) {
        let of = |name: &str| {
            let found = outcome.measures.iter().find(|measure| measure.name == name);
            found.map(|measure| measure.value)
        };
        self.runs += 1;
        self.lost_rows += of(LOST).unwrap_or(0);
        #[allow(clippy::cast_precision_loss)] // Milliseconds of minutes.
        let in_sync_again = of(IN_SYNC_AGAIN).map(|value| value as f64);
        self.in_sync_again_ms.extend(in_sync_again);
        #[allow(clippy::cast_precision_loss)]
        let gap = of(GAP).filter(|_| outcome.verdict != Verdict::Unknown).map(|value| value as f64);
        match gap {
            Some(gap) => self.gap_ms.add(gap),
            None => self.failed += 1,
        }
    }
}

/// Strikes each system in each way, so often; gives the table in Markdown.
pub fn run(
    systems: &[System],
    rounds: u32,
    seed: u64,
    runner: &mut Runner,
) -> Result<String, Box<dyn Error>> {
    let strikes: Vec<(&str, &str, &Entry)> = systems
        .iter()
        .flat_map(|system| system.strikes.iter().map(|(class, entry)| (system.name, *class, entry)))
        .collect();
    let mut figures: Vec<Figures> = strikes.iter().map(|_| Figures::default()).collect();
    for round in 0..rounds {
        for ((system, class, entry), figures) in strikes.iter().zip(&mut figures) {
            eprintln!("== round {} of {rounds}: {system}, {class}", round + 1);
            let outcome =
                runner.run_once(entry, Some(Ip::V4), seed.wrapping_add(u64::from(round)))?;
            eprintln!("   {} {}", outcome.verdict, outcome.reason);
            figures.add(&outcome);
        }
    }
    Ok(table(&strikes, &figures))
}

fn table(strikes: &[(&str, &str, &Entry)], figures: &[Figures]) -> String {
    let mut out = String::from(
        "| fault | system | runs | without an acknowledged row, p50 / p99 / max | lost rows | in sync \
         again, p50 / max | never back |\n|---|---|--:|--:|--:|--:|--:|\n",
    );
    let mut rows: Vec<usize> = (0..strikes.len()).collect();
    // By fault, the systems in their order.
    rows.sort_by_key(|row| strikes.iter().position(|strike| strike.1 == strikes[*row].1));
    for row in rows {
        let ((system, class, _), figures) = (&strikes[row], &figures[row]);
        let seconds = |value: f64| format!("{:.2} s", value / 1000.0);
        let gap = &figures.gap_ms;
        let gaps = match gap.count() {
            0 => "–".to_owned(),
            _ => [gap.median(), gap.percentile(99), gap.largest()].map(seconds).join(" / "),
        };
        let again = &figures.in_sync_again_ms;
        let again = match again.count() {
            0 => "–".to_owned(),
            _ => [again.median(), again.largest()].map(seconds).join(" / "),
        };
        let Figures { runs, failed, lost_rows, .. } = figures;
        // Writing to a string can't fail.
        let _written = writeln!(
            out,
            "| {class} | {system} | {runs} | {gaps} | {lost_rows} | {again} | {failed} |"
        );
    }
    out
}
