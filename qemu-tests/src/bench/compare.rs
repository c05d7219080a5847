//! Ours and peers in the rig: the same fault, the same client, the same wire, in turns.
//!
//! A [`System`] is a cluster and the faults that it can be struck with; each fault is a drill that
//! measures. Rounds go around all of them, so that a busy minute of the desk hits everybody. Every
//! run leaves its evidence, like any drill, and a line in the [`Samples`] of which tables are made.

use std::error::Error;
use std::fmt::Write as _;

use ledger::Verdict;
use report::run::Measure;

use super::Sample;
use super::plot::{self, Row};
use super::samples::{Samples, Struck};
use crate::rig::entry::{Entry, Ip};
use crate::rig::pair::{IN_SYNC_AGAIN, LOST};
use crate::rig::run::Runner;

/// How the names of our systems begin.
pub const OURS: &str = "edgepair";

/// What is compared.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Above the picture.
    pub title: &'static str,
    /// Above the column of the table.
    pub heading: &'static str,
    /// The measure, in milliseconds, that each drill takes.
    pub measure: &'static str,
    /// Whether there are rows to lose and a pair to be in sync again.
    pub database: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct System {
    pub name: &'static str,
    /// Grows when it is struck or measured in another way: what was measured by the last one doesn't
    /// count any more.
    pub method: u32,
    /// What can be done to it, by the name of the class.
    pub strikes: &'static [(&'static str, Entry)],
}

impl System {
    fn drills(&self) -> impl Iterator<Item = &Entry> {
        self.strikes.iter().map(|(_, entry)| entry)
    }

    fn classes(&self) -> impl Iterator<Item = Strike<'_>> {
        let of = |class| Strike { system: self.name, class, method: self.method };
        self.strikes.iter().map(move |(class, _)| of(*class))
    }
}

/// What a drill measures once its fault is there. A run that doesn't come so far says nothing of the
/// system: its cluster wasn't formed.
pub const STRUCK: &str = "struck";

/// A system, the class of the fault, and how it is measured.
#[derive(Clone, Copy, Debug)]
struct Strike<'a> {
    system: &'a str,
    class: &'a str,
    method: u32,
}

/// What a system did when it was struck so.
#[derive(Debug, Default)]
struct Figures {
    /// How often it was struck.
    runs: u32,
    /// Runs in which nobody was answered any more.
    never_back: u32,
    /// Runs after which acknowledged rows were missing. How many rows is a matter of how long the
    /// clients went on writing.
    lossy: u32,
    figure_ms: Sample,
    in_sync_again_ms: Sample,
}

/// Whether a run says something of the system.
fn counts(verdict: Verdict, measures: &[Measure]) -> bool {
    verdict != Verdict::Unknown && measures.iter().any(|measure| measure.name == STRUCK)
}

impl Figures {
    fn add(&mut self, question: &Question, verdict: Verdict, measures: &[Measure]) {
        let of = |name: &str| {
            let found = measures.iter().find(|measure| measure.name == name);
            #[allow(clippy::cast_precision_loss)] // Milliseconds of minutes.
            found.map(|measure| (measure.value, measure.value as f64))
        };
        if !counts(verdict, measures) {
            return;
        }
        self.runs += 1;
        self.lossy += u32::from(of(LOST).is_some_and(|(count, _)| count > 0));
        self.in_sync_again_ms.extend(of(IN_SYNC_AGAIN).map(|(_, value)| value));
        match of(question.measure) {
            Some((_, gap)) => self.figure_ms.add(gap),
            None => self.never_back += 1,
        }
    }

    /// What clients waited, those included that waited for ever.
    fn waits_ms(&self) -> Sample {
        let mut waits = self.figure_ms.clone();
        waits.extend((0..self.never_back).map(|_| f64::INFINITY));
        waits
    }
}

/// What came out.
#[derive(Debug)]
pub struct Measured {
    /// In Markdown.
    pub table: String,
    /// As SVG.
    pub plot: String,
}

/// Where what is measured goes after each round.
type Keep<'a> = &'a dyn Fn(&Measured) -> Result<(), Box<dyn Error>>;

/// Strikes each system in each way until each strike was seen so often, those of earlier runs
/// included. What is measured is kept after each strike, since whoever has seen enough ends a long run.
pub fn run(
    question: &Question,
    systems: &[System],
    rounds: u32,
    seed: u64,
    runner: &mut Runner,
    samples: &mut Samples,
    keep: Keep<'_>,
) -> Result<Measured, Box<dyn Error>> {
    let drills: Vec<&Entry> = systems.iter().flat_map(System::drills).collect();
    let strikes: Vec<Strike<'_>> = systems.iter().flat_map(System::classes).collect();
    for round in 0..rounds {
        let seed = seed.wrapping_add(u64::from(round));
        for (strike, entry) in strikes.iter().zip(&drills) {
            let Strike { system, class, method } = *strike;
            if was_struck(samples.all(), *strike, seed) {
                continue;
            }
            eprintln!("== round {} of {rounds}: {system}, {class}", round + 1);
            let outcome = runner.run_once(entry, Some(Ip::V4), seed)?;
            eprintln!("   {} {}", outcome.verdict, outcome.reason);
            samples.add(Struck {
                system: system.to_owned(),
                class: class.to_owned(),
                method,
                seed,
                image: outcome.image,
                started_unix: outcome.started.as_secs(),
                verdict: outcome.verdict,
                measures: outcome.measures,
            })?;
            keep(&measured(question, &strikes, samples.all()))?;
        }
    }
    let measured = measured(question, &strikes, samples.all());
    keep(&measured)?;
    Ok(measured)
}

/// Whether it was struck so with that seed, and that said something.
fn was_struck(samples: &[Struck], strike: Strike<'_>, seed: u64) -> bool {
    let mut of_it = samples.iter().filter(|struck| struck.seed == seed && is_of(struck, strike));
    of_it.any(|struck| counts(struck.verdict, &struck.measures))
}

fn is_of(struck: &Struck, strike: Strike<'_>) -> bool {
    let of = (struck.system.as_str(), struck.class.as_str(), struck.method);
    of == (strike.system, strike.class, strike.method)
}

fn measured(question: &Question, strikes: &[Strike<'_>], samples: &[Struck]) -> Measured {
    let figures = strikes.iter().map(|strike| {
        let mut figures = Figures::default();
        for struck in samples.iter().filter(|struck| is_of(struck, *strike)) {
            figures.add(question, struck.verdict, &struck.measures);
        }
        figures
    });
    let figures: Vec<Figures> = figures.collect();
    // By fault, the systems in their order.
    let mut rows: Vec<usize> = (0..strikes.len()).collect();
    rows.sort_by_key(|row| strikes.iter().position(|one| one.class == strikes[*row].class));
    let table = table(question, strikes, &figures, &rows);
    Measured { table, plot: drawn(question, strikes, &figures, &rows) }
}

fn drawn(
    question: &Question,
    strikes: &[Strike<'_>],
    figures: &[Figures],
    rows: &[usize],
) -> String {
    let row = |row: &usize| {
        let (Strike { system, class, .. }, figures) = (strikes[*row], &figures[*row]);
        let Figures { never_back, lossy, figure_ms, .. } = figures;
        Row { class, system, gap_ms: figure_ms, lossy: *lossy, never_back: *never_back }
    };
    let rows: Vec<Row<'_>> = rows.iter().map(row).collect();
    plot::svg(question.title, &rows, |system| system.starts_with(OURS))
}

fn table(
    question: &Question,
    strikes: &[Strike<'_>],
    figures: &[Figures],
    rows: &[usize],
) -> String {
    let mut heads = vec!["fault", "system", "runs", question.heading];
    if question.database {
        heads.extend(["lost rows in", "in sync again, p50 / max"]);
    }
    heads.push("never back");
    let rule = "--:|".repeat(heads.len() - 2);
    let mut out = format!("| {} |\n|---|---|{rule}\n", heads.join(" | "));
    for row in rows {
        let (Strike { system, class, .. }, figures) = (strikes[*row], &figures[*row]);
        let mut cells = vec![class.to_owned(), system.to_owned(), figures.runs.to_string()];
        let waits = figures.waits_ms();
        cells.push(seconds(&waits, &[waits.median(), waits.percentile(99), waits.largest()]));
        if question.database {
            let again = &figures.in_sync_again_ms;
            cells.push(figures.lossy.to_string());
            cells.push(seconds(again, &[again.median(), again.largest()]));
        }
        cells.push(figures.never_back.to_string());
        // Writing to a string can't fail.
        let _written = writeln!(out, "| {} |", cells.join(" | "));
    }
    out
}

fn seconds(sample: &Sample, milliseconds: &[f64]) -> String {
    if sample.count() == 0 {
        return "–".to_owned();
    }
    let texts = milliseconds.iter().map(|value| {
        if value.is_finite() { format!("{:.2}", value / 1000.0) } else { "never".to_owned() }
    });
    format!("{} s", texts.collect::<Vec<_>>().join(" / "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::pair::GAP;

    const QUESTION: Question =
        Question { title: "gaps", heading: "gap", measure: GAP, database: true };

    fn strike<'a>(system: &'a str, class: &'a str) -> Strike<'a> {
        Strike { system, class, method: 1 }
    }

    fn measure(name: &str, value: u64) -> Measure {
        Measure { name: name.to_owned(), value }
    }

    #[test]
    fn only_runs_that_were_struck_and_judged_count() {
        let struck = || measure(STRUCK, 1);
        let mut figures = Figures::default();
        figures.add(&QUESTION, Verdict::Violated, &[]);
        figures.add(&QUESTION, Verdict::Unknown, &[struck(), measure(GAP, 9)]);
        assert_eq!(figures.runs, 0);
        let split = [struck(), measure(GAP, 30_000), measure(LOST, 42)];
        figures.add(&QUESTION, Verdict::Violated, &split);
        let fine = [struck(), measure(GAP, 20_000), measure(IN_SYNC_AGAIN, 7)];
        figures.add(&QUESTION, Verdict::Pass, &fine);
        figures.add(&QUESTION, Verdict::Violated, &[struck()]);
        assert_eq!((figures.runs, figures.never_back, figures.lossy), (3, 1, 1));
        assert_eq!(figures.figure_ms.values(), [20_000.0, 30_000.0]);
        assert_eq!(figures.in_sync_again_ms.values(), [7.0]);
    }

    #[test]
    fn a_strike_that_said_nothing_is_struck_again() {
        let struck = |seed, verdict| Struck {
            system: "ours".to_owned(),
            class: "kill".to_owned(),
            method: 1,
            seed,
            image: String::new(),
            started_unix: 0,
            verdict,
            measures: vec![measure(STRUCK, 1), measure(GAP, 1500)],
        };
        let samples = [struck(1, Verdict::Pass), struck(2, Verdict::Unknown)];
        let struck = |strike, seed| was_struck(&samples, strike, seed);
        assert!(struck(strike("ours", "kill"), 1) && !struck(strike("ours", "kill"), 2));
        assert!(!struck(strike("ours", "cut"), 1) && !struck(strike("theirs", "kill"), 1));
        assert!(!struck(Strike { method: 2, ..strike("ours", "kill") }, 1), "another method");
        let both = [strike("ours", "kill"), strike("ours", "cut")];
        let table = measured(&QUESTION, &both, &samples).table;
        assert!(table.contains("| kill | ours | 1 | 1.50 / 1.50 / 1.50 s |"), "{table}");
        assert!(table.contains("| cut | ours | 0 | – |"), "{table}");
    }

    #[test]
    fn a_row_has_a_cell_for_each_heading() {
        let mut figures = Figures::default();
        let fine = [measure(STRUCK, 1), measure(GAP, 1500), measure(IN_SYNC_AGAIN, 7000)];
        figures.add(&QUESTION, Verdict::Pass, &fine);
        let strikes = [strike("ours", "kill")];
        let with = table(&QUESTION, &strikes, &[figures], &[0]);
        let row = "| kill | ours | 1 | 1.50 / 1.50 / 1.50 s | 0 | 7.00 / 7.00 s | 0 |";
        assert!(with.lines().any(|line| line == row), "{with}");
        let mut figures = Figures::default();
        figures.add(&QUESTION, Verdict::Pass, &fine);
        figures.add(&QUESTION, Verdict::Pass, &fine);
        figures.add(&QUESTION, Verdict::Violated, &[measure(STRUCK, 1)]);
        let with = table(&QUESTION, &strikes, &[figures], &[0]);
        assert!(with.contains("| 1.50 / never / never s |"), "{with}");
        let without = Question { database: false, ..QUESTION };
        let without = table(&without, &strikes, &[Figures::default()], &[0]);
        let bars: Vec<usize> = without.lines().map(|line| line.matches('|').count()).collect();
        assert_eq!(bars, [6, 6, 6], "{without}");
    }
}
