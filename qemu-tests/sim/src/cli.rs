//! The `sim` command: many histories, one history told, all mutants, or all short histories.
//!
//! `qemu-tests` has the same command as `cargo run -p qemu-tests -- sim`; it calls [`run`].

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use failover::Rules;

use crate::explore;
use crate::mutants::MUTANTS;
use crate::plan::{Plan, Topology};
use crate::report::Report;
use crate::run::{run_plan, run_seed};
use crate::shrink::shrink;

const USAGE: &str = "\
sim: the failover protocol under simulated faults

  --seeds N             how many histories (10000)
  --from N              the first seed (0)
  --topology NAME       pair or pair-witness (both, one after the other)
  --threads N           how many at a time (2)
  --json                one JSON object per topology
  --replay SEED         tell one history; a failing one is shrunk first
  --mutants N           switch each rule off, and hunt through N seeds for the consequence
  --explore ROUNDS      every history of so many rounds

Exit codes: 0 nothing is violated, 1 something is, 2 wrong command line.

Examples:
  sim --seeds 1000000                          some five minutes
  sim --replay 4711 --topology pair-witness    the story of one history
  sim --mutants 60000                          what each rule is for
";

/// Seeds are handed to threads in portions, so that none waits long for the last.
const PORTION: u64 = 64;

#[derive(Clone, Debug)]
struct Options {
    seeds: u64,
    from: u64,
    topologies: Vec<Topology>,
    threads: u64,
    json: bool,
    replay: Option<u64>,
    mutants: Option<u64>,
    explore: Option<usize>,
}

/// Why the command line isn't understood.
#[derive(Debug, PartialEq, Eq)]
struct Misuse(String);

fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, Misuse> {
    let mut options = Options {
        seeds: 10_000,
        from: 0,
        topologies: vec![Topology::Pair, Topology::PairWitness],
        threads: 2,
        json: false,
        replay: None,
        mutants: None,
        explore: None,
    };
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().ok_or_else(|| Misuse(format!("{word} needs a number")))?;
            text.parse::<u64>().map_err(|_| Misuse(format!("{word}: {text} is no number")))
        };
        match word.as_str() {
            "--seeds" => options.seeds = number()?,
            "--from" => options.from = number()?,
            "--threads" => options.threads = number()?.max(1),
            "--replay" => options.replay = Some(number()?),
            "--mutants" => options.mutants = Some(number()?),
            "--explore" => options.explore = usize::try_from(number()?).ok(),
            "--json" => options.json = true,
            "--topology" => {
                let name = words.next().unwrap_or_default();
                options.topologies = match name.as_str() {
                    "pair" => vec![Topology::Pair],
                    "pair-witness" => vec![Topology::PairWitness],
                    _ => return Err(Misuse(format!("no topology {name:?}"))),
                };
            }
            _ => return Err(Misuse(format!("unknown word {word:?}"))),
        }
    }
    Ok(options)
}

/// Runs the command with the words that follow its name.
pub fn run(words: impl Iterator<Item = String>) -> ExitCode {
    let words: Vec<String> = words.collect();
    if words.iter().any(|word| ["--help", "-h"].contains(&word.as_str())) {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match parse(words.into_iter()) {
        Ok(options) => options,
        Err(Misuse(reason)) => {
            eprint!("sim: {reason}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let good = if let Some(seed) = options.replay {
        options.topologies.iter().all(|topology| replay(seed, *topology))
    } else if let Some(seeds) = options.mutants {
        hunt_mutants(seeds)
    } else if let Some(rounds) = options.explore {
        options.topologies.iter().all(|topology| explore_all(rounds, *topology))
    } else {
        let mut good = true;
        for topology in &options.topologies {
            good &= many(&options, *topology);
        }
        good
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs seeds on several threads.
pub fn run_many(topology: Topology, from: u64, seeds: u64, threads: u64) -> Report {
    let next = AtomicU64::new(0);
    let total = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut report = Report::default();
                loop {
                    let begin = next.fetch_add(PORTION, Ordering::Relaxed);
                    if begin >= seeds {
                        break;
                    }
                    for seed in begin..(begin + PORTION).min(seeds) {
                        let seed = from + seed;
                        report.add(seed, &run_seed(seed, topology, Rules::ALL));
                    }
                }
                if let Ok(mut total) = total.lock() {
                    total.merge(report);
                }
            });
        }
    });
    total.into_inner().unwrap_or_default()
}

fn many(options: &Options, topology: Topology) -> bool {
    let begun = std::time::Instant::now();
    let report = run_many(topology, options.from, options.seeds, options.threads);
    let seconds = begun.elapsed().as_secs().max(1);
    if options.json {
        println!("{}", report.json());
    } else {
        let rate = report.histories / seconds;
        println!("topology             {topology:?} ({rate} histories/s)\n{}", report.text());
    }
    for (seed, _) in report.kept.iter().take(1) {
        replay(*seed, topology);
    }
    report.violations == 0
}

/// Tells a history; whether nothing was violated.
fn replay(seed: u64, topology: Topology) -> bool {
    let plan = shrink(&Plan::draw(seed, topology, Rules::ALL));
    println!("seed {seed}, {topology:?}, {:?}, {} faults", plan.arbiter, plan.faults.len());
    let outcome = run_plan(plan, true);
    for line in &outcome.story {
        println!("{line}");
    }
    match &outcome.violation {
        None => println!("nothing is violated"),
        Some(violation) => println!("{} is violated: {}", violation.invariant, violation.text),
    }
    outcome.violation.is_none()
}

fn hunt_mutants(seeds: u64) -> bool {
    let mut survivors = 0;
    for mutant in MUTANTS {
        if let Some((seed, outcome)) = mutant.hunt(seeds) {
            let what = outcome.violation.map_or("", |violation| violation.invariant);
            println!("{:<28} without it seed {seed:>5} violates {what}", mutant.name);
        } else {
            survivors += 1;
            println!("{:<28} SURVIVES {seeds} seeds", mutant.name);
        }
    }
    survivors == 0
}

fn explore_all(rounds: usize, topology: Topology) -> bool {
    let mut good = true;
    for corner in explore::corners(topology) {
        let found = explore::explore(corner, rounds, Rules::ALL);
        println!("{}", found.text(corner, rounds));
        good &= found.violation.is_none();
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, Misuse> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn words_are_understood_or_refused() {
        let options = parsed("--seeds 5 --topology pair-witness --json").expect("understood");
        assert_eq!((options.seeds, options.json), (5, true));
        assert_eq!(options.topologies, [Topology::PairWitness]);
        assert!(parsed("--seeds").is_err());
        assert!(parsed("--seeds many").is_err());
        assert!(parsed("--topology ring").is_err());
        assert!(parsed("--speed 3").is_err());
    }
}
