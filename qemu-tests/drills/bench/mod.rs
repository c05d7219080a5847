//! Measurements side by side with peers: `bench vip`, `bench failover`, `bench boot`.

mod etcd;
mod failover;
mod patroni;
mod takeover;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use builder::cli::{Common, Context};
use builder::unfinished::{self, write_whole};
use qemu_tests::bench::boot;
use qemu_tests::bench::compare::{self, Question, System};
use qemu_tests::bench::samples::Samples;
use qemu_tests::rig::cli;

const USAGE: &str = "\
usage: bench vip       [--rounds N] [--seed N] [--system PART] [--report DIR] [--samples FILE]
       bench failover  [--rounds N] [--seed N] [--system PART] [--report DIR] [--samples FILE]
       bench boot      [--rounds N] [--peer IMAGE]

vip       vipd and keepalived: from a fault to the other node's first advert.
failover  ours without and with a witness, repmgr with keepalived, Patroni on etcd: the time without
          an acknowledged row, and rows that were acknowledged and lost.
boot      the lab image and Debian with systemd, as qemu-tests/peers/debian_systemd.py makes it.

All are struck, or booted, in turns. A table is printed; the report's folder gets it as table.md, and
as a picture, plot.svg, after each strike, and each strike as a line of samples.jsonl. With --samples
those of an earlier run count, and are added to, so that a long bench can be ended and gone on with.
N is 5 unless told; PART is a part of the names of the systems that are wanted.";

const TABLE: &str = "table.md";
const PLOT: &str = "plot.svg";
const SAMPLES: &str = "samples.jsonl";
const ROUNDS: u32 = 5;
/// Faults come at different moments of everybody's periods.
const STEPS: u64 = 20;
const STEP_MS: u64 = 75;

fn spread(seed: u64) -> Duration {
    Duration::from_millis((1 + seed % STEPS) * STEP_MS)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bench {
    Vip,
    Failover,
    Boot,
}

impl Bench {
    fn systems(self) -> Option<(&'static Question, &'static [System])> {
        match self {
            Self::Vip => Some((&takeover::QUESTION, takeover::SYSTEMS)),
            Self::Failover => Some((&failover::QUESTION, failover::SYSTEMS)),
            Self::Boot => None,
        }
    }
}

#[derive(Debug)]
struct Request {
    bench: Bench,
    rounds: u32,
    seed: u64,
    system: String,
    report: PathBuf,
    samples: Option<PathBuf>,
    peer: Option<PathBuf>,
}

/// `bench` and what follows.
pub(crate) fn main(words: &[String]) -> ExitCode {
    if words.iter().any(|word| ["--help", "-h"].contains(&word.as_str())) {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let request = match parse(words) {
        Ok(request) => request,
        Err(problem) => {
            eprintln!("error: {problem}\n{USAGE}");
            return ExitCode::from(cli::USAGE);
        }
    };
    match measure(&request) {
        Ok(table) => {
            println!("{table}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(cli::FAILED)
        }
    }
}

fn measure(request: &Request) -> Result<String, Box<dyn Error>> {
    let Some((question, all)) = request.bench.systems() else {
        unfinished::remove_on_interrupt()?;
        let asked = boot::Request { peer: request.peer.clone(), rounds: request.rounds };
        return Ok(boot::run(&asked, &|line| eprintln!("{line}"))?);
    };
    let wanted = |system: &&System| system.name.contains(&request.system);
    let systems: Vec<System> = all.iter().filter(wanted).copied().collect();
    if systems.is_empty() {
        let names: Vec<&str> = all.iter().map(|system| system.name).collect();
        let names = names.join("; ");
        return Err(format!("no system is called {:?}; there are {names}", request.system).into());
    }
    let Request { rounds, seed, report, .. } = request;
    let mut samples = match &request.samples {
        Some(path) => Samples::open(path)?,
        None => Samples::begin(&report.join(SAMPLES))?,
    };
    let context = Context::new(Common::of_environment());
    let (mut runner, _guards) = cli::prepare(&context, report, cli::Manner::default())?;
    let keep = |measured: &compare::Measured| -> Result<(), Box<dyn Error>> {
        write_whole(&report.join(TABLE), measured.table.as_bytes())?;
        write_whole(&report.join(PLOT), measured.plot.as_bytes())?;
        Ok(())
    };
    let measured =
        compare::run(question, &systems, *rounds, *seed, &mut runner, &mut samples, &keep)?;
    report::index::write(report)?;
    Ok(measured.table)
}

fn parse(words: &[String]) -> Result<Request, String> {
    let mut words = words.iter();
    let bench = match words.next().map(String::as_str) {
        Some("vip") => Bench::Vip,
        Some("failover") => Bench::Failover,
        Some("boot") => Bench::Boot,
        Some(other) => return Err(format!("there is no bench {other:?}")),
        None => return Err("which bench?".to_owned()),
    };
    let mut request = Request {
        bench,
        rounds: ROUNDS,
        seed: 1,
        system: String::new(),
        report: "out/bench".into(),
        samples: None,
        peer: None,
    };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
        let no_number = |_| format!("{value:?} is no number");
        match (word.as_str(), bench) {
            ("--rounds", _) => request.rounds = value.parse().map_err(no_number)?,
            ("--peer", Bench::Boot) => request.peer = Some(value.into()),
            ("--seed", Bench::Vip | Bench::Failover) => {
                request.seed = value.parse().map_err(no_number)?;
            }
            ("--system", Bench::Vip | Bench::Failover) => request.system.clone_from(value),
            ("--report", Bench::Vip | Bench::Failover) => request.report = value.into(),
            ("--samples", Bench::Vip | Bench::Failover) => request.samples = Some(value.into()),
            _ => return Err(format!("what is {word:?} here?")),
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use qemu_tests::rig::entry::Ip;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_request_is_read_and_mistakes_are_named() {
        let request = parse(&words("failover --rounds 30 --system edgepair")).expect("read");
        assert_eq!((request.rounds, request.system.as_str()), (30, "edgepair"));
        let request = parse(&words("boot --peer peer.raw")).expect("read");
        assert_eq!((request.bench, request.rounds), (Bench::Boot, ROUNDS));
        for (line, part) in [
            ("flight", "flight"),
            ("failover --rounds", "wants a value"),
            ("failover --rounds many", "no number"),
            ("vip --turns 3", "--turns"),
            ("vip --peer peer.raw", "--peer"),
            ("boot --samples boot.jsonl", "--samples"),
            ("boot --system edgepair", "--system"),
        ] {
            let problem = parse(&words(line)).expect_err(line);
            assert!(problem.contains(part), "{problem}");
        }
    }

    #[test]
    fn everybody_is_struck_by_a_power_cut_and_ours_in_every_way() {
        for (_, systems) in [Bench::Vip, Bench::Failover].into_iter().filter_map(Bench::systems) {
            let classes = |system: &System| -> BTreeSet<&str> {
                system.strikes.iter().map(|(class, _)| *class).collect()
            };
            let ours = classes(&systems[0]);
            assert!(systems[0].name.starts_with(compare::OURS));
            for system in systems {
                let theirs = classes(system);
                assert!(theirs.iter().any(|class| class.contains("power cut")), "{}", system.name);
                assert!(theirs.is_subset(&ours), "{}", system.name);
                assert!(system.strikes.iter().all(|(_, entry)| entry.ips == [Ip::V4]));
            }
        }
    }
}
