//! The drill program, which `builder drill` starts.
//!
//! Exit codes: 0 when all passed, 1 when a claim was violated, 2 for a wrong command line, 3 when
//! nothing was violated but something stayed unknown, 4 when the rig itself failed.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use builder::cli::Context;
use builder::cli::drill::{self, Arguments};
use builder::explain;
use builder::progress::Progress;
use builder::unfinished::{self, Scratch};
use ledger::Verdict;
use report::run::Measure;
use serde::Serialize;

use super::entry::{Entry, Family, Ip};
use super::evidence;
use super::index;
use super::kit::Place;
use super::reaper::{self, Reaper};
pub use super::run::Manner;
use super::run::{Outcome, Runner, Settings};

const VIOLATED: u8 = 1;
pub const USAGE: u8 = 2;
const UNKNOWN: u8 = 3;
pub const FAILED: u8 = 4;
const DEFAULT_REPORT: &str = "out/drills";

/// One run that was asked for.
struct Wanted<'a> {
    entry: &'a Entry,
    ip: Option<Ip>,
    seed: u64,
}

/// The program.
pub fn main(families: &[Family]) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [role, folder] = words.as_slice()
        && role == reaper::ROLE
    {
        reaper::run(Path::new(folder));
        return ExitCode::SUCCESS;
    }
    let (context, arguments) = drill::of_command_line();
    if arguments.index {
        print!("{}", index::page(families));
        return ExitCode::SUCCESS;
    }
    let wanted = match choose(families, &arguments) {
        Ok(wanted) => wanted,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(USAGE);
        }
    };
    let outcome = if arguments.list {
        let list = List::of(&wanted);
        context.print(&list, &list.to_string()).map(|()| ExitCode::SUCCESS)
    } else {
        run_all(&wanted, &context, &arguments)
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {}", explain::chain(error.as_ref()));
        ExitCode::from(FAILED)
    })
}

/// The runs that the command line names: drills, families, `drill/v6`, or all.
fn choose<'a>(families: &'a [Family], arguments: &Arguments) -> Result<Vec<Wanted<'a>>, String> {
    let all = || families.iter().flat_map(|family| family.drills);
    let mut wanted = Vec::new();
    let mut add = |entry: &'a Entry, ip: Option<Ip>| {
        for turn in 0..u64::from(arguments.repeat) {
            wanted.push(Wanted { entry, ip, seed: arguments.seed.wrapping_add(turn) });
        }
    };
    if arguments.names.is_empty() {
        let chosen = all().filter(|entry| entry.in_ci || !arguments.ci);
        for entry in chosen {
            entry.variants().into_iter().for_each(|ip| add(entry, ip));
        }
    }
    for name in &arguments.names {
        let fits = |entry: &Entry, ip: Option<Ip>| {
            *name == evidence::title(entry, ip) || *name == entry.name || *name == entry.family()
        };
        let mut found = false;
        for entry in all() {
            for ip in entry.variants().into_iter().filter(|ip| fits(entry, *ip)) {
                found = true;
                add(entry, ip);
            }
        }
        if !found {
            let names: Vec<&str> = all().map(|entry| entry.name).collect();
            return Err(format!("no drill or family {name:?}; there are {}", names.join(", ")));
        }
    }
    Ok(wanted)
}

/// What `--list` shows.
#[derive(Serialize)]
struct List<'a> {
    drills: Vec<Listed<'a>>,
}

#[derive(Serialize)]
struct Listed<'a> {
    drill: String,
    claim: &'a str,
    in_ci: bool,
}

impl<'a> List<'a> {
    fn of(wanted: &[Wanted<'a>]) -> Self {
        let listed = |Wanted { entry, ip, .. }: &Wanted<'a>| Listed {
            drill: evidence::title(entry, *ip),
            claim: entry.claim,
            in_ci: entry.in_ci,
        };
        Self { drills: wanted.iter().map(listed).collect() }
    }
}

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut drills = self.drills.iter();
        drills.try_for_each(|Listed { drill, claim, .. }| writeln!(f, "{drill:28} {claim}"))
    }
}

/// What a runner needs as long as it is there: the folder of its machines, and who ends them if it
/// can't any more.
#[derive(Debug)]
pub struct Guards {
    _reaper: Reaper,
    _scratch: Scratch,
}

/// Makes ready for runs whose evidence goes into a folder.
pub fn prepare(
    context: &Context,
    report: &Path,
    manner: Manner,
) -> Result<(Runner, Guards), Box<dyn Error>> {
    unfinished::remove_on_interrupt()?;
    let scratch = Scratch::within(&std::env::temp_dir(), "drill-")?;
    let reaper = Reaper::start(scratch.path())?;
    let place = Place {
        project: context.project()?,
        cache: context.cache()?,
        folder: scratch.path().to_owned(),
    };
    let settings = Settings { place, report: report.to_owned(), manner };
    let runner = Runner::new(settings, Progress::new(context.is_quiet()));
    Ok((runner, Guards { _reaper: reaper, _scratch: scratch }))
}

fn run_all(
    wanted: &[Wanted<'_>],
    context: &Context,
    arguments: &Arguments,
) -> Result<ExitCode, Box<dyn Error>> {
    let report = arguments.report.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_REPORT));
    let Arguments { step, keep, cold, shell, .. } = *arguments;
    let (mut runner, _guards) = prepare(context, &report, Manner { step, keep, cold, shell })?;
    let mut tally = Tally { report, ..Tally::default() };
    let note = |line: &str| {
        if !context.is_quiet() {
            eprintln!("{line}");
        }
    };
    if shell {
        // A person judges; what was seen is written down all the same.
        if let Some(Wanted { entry, ip, seed }) = wanted.first() {
            let run = Run::new(entry, *ip, *seed, runner.run_once(entry, *ip, *seed)?);
            context.print(&run, &format!("the evidence is in {}", run.folder.display()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let count = wanted.len();
    let mut failed = None;
    for (number, Wanted { entry, ip, seed }) in (1..).zip(wanted) {
        let title = evidence::title(entry, *ip);
        note(&format!("== {number}/{count} {title}: {}", entry.claim));
        let mut outcome = runner.run_once(entry, *ip, *seed);
        if let Ok(first) = &outcome
            && first.verdict == Verdict::Unknown
        {
            say(context, &Run::new(entry, *ip, *seed, first.clone()));
            tally.run_again += 1;
            note(&format!("== {title}: unknown, so once more"));
            outcome = runner.run_once(entry, *ip, *seed);
        }
        match outcome {
            Ok(outcome) => {
                let run = Run::new(entry, *ip, *seed, outcome);
                say(context, &run);
                tally.runs.push(run);
            }
            // What the others came to is told all the same.
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    context.print(&tally, &tally.to_string())?;
    // An index that can't be written hides no violation.
    match (failed, report::index::write(&tally.report)) {
        (Some(error), _) => Err(error),
        (None, Err(error)) if tally.all_passed() => Err(error.into()),
        (None, Err(error)) => {
            note(&format!("the index of the reports: {error}"));
            Ok(tally.exit_code())
        }
        (None, Ok(_)) => Ok(tally.exit_code()),
    }
}

/// A verdict is shown when it is known; whoever reads JSON gets all of them at the end.
fn say(context: &Context, ran: &Run) {
    if context.wants_json() {
        eprintln!("{ran}");
    } else {
        println!("{ran}");
    }
}

/// What came of one drill.
#[derive(Debug, Serialize)]
struct Run {
    drill: String,
    seed: u64,
    verdict: Verdict,
    reason: String,
    seconds: f64,
    folder: PathBuf,
    measures: Vec<Measure>,
}

impl Run {
    fn new(entry: &Entry, ip: Option<Ip>, seed: u64, outcome: Outcome) -> Self {
        let Outcome { verdict, reason, took, folder, measures, .. } = outcome;
        let (drill, seconds) = (evidence::title(entry, ip), took.as_secs_f64());
        Self { drill, seed, verdict, reason, seconds, folder, measures }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { drill, verdict, reason, seconds, folder, .. } = self;
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let verdict = verdict.to_string();
        write!(f, "{verdict:8} {drill} ({seconds:.1} s){why}\n         {}", folder.display())
    }
}

/// What all runs came to. Of a drill that was run again the second run counts.
#[derive(Debug, Default, Serialize)]
struct Tally {
    runs: Vec<Run>,
    run_again: u32,
    report: PathBuf,
}

impl Tally {
    fn count(&self, verdict: Verdict) -> usize {
        self.runs.iter().filter(|run| run.verdict == verdict).count()
    }

    fn all_passed(&self) -> bool {
        self.runs.iter().all(|run| run.verdict == Verdict::Pass)
    }

    fn exit_code(&self) -> ExitCode {
        match (self.count(Verdict::Violated), self.count(Verdict::Unknown)) {
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(UNKNOWN),
            (_, _) => ExitCode::from(VIOLATED),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [passed, violated, unknown] =
            [Verdict::Pass, Verdict::Violated, Verdict::Unknown].map(|verdict| self.count(verdict));
        let seconds: f64 = self.runs.iter().map(|run| run.seconds).sum();
        writeln!(f, "see {}", self.report.join("index.html").display())?;
        write!(
            f,
            "{passed} passed, {violated} violated, {unknown} unknown, {} run again; {seconds:.0} s",
            self.run_again
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(verdicts: &[Verdict]) -> Tally {
        let run = |verdict: &Verdict| Run {
            drill: "vip_power_cut/v4".to_owned(),
            seed: 1,
            verdict: *verdict,
            reason: String::new(),
            seconds: 2.0,
            folder: PathBuf::from("out/1"),
            measures: Vec::new(),
        };
        let runs = verdicts.iter().map(run).collect();
        Tally { runs, run_again: 0, report: PathBuf::from("out") }
    }

    #[test]
    fn the_worst_verdict_is_the_exit_code_and_nothing_is_left_out() {
        let code = |verdicts: &[Verdict]| format!("{:?}", tally(verdicts).exit_code());
        let of = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(code(&[Verdict::Pass]), of(0));
        assert_eq!(code(&[Verdict::Unknown, Verdict::Pass]), of(UNKNOWN));
        assert_eq!(code(&[Verdict::Unknown, Verdict::Violated]), of(VIOLATED));
        let all = tally(&[Verdict::Pass, Verdict::Violated, Verdict::Pass]);
        let counts = "2 passed, 1 violated, 0 unknown, 0 run again; 6 s";
        assert_eq!(all.to_string(), format!("see out/index.html\n{counts}"));
        let json = serde_json::to_value(&all).expect("plain data");
        assert_eq!(json["runs"][1]["verdict"], "violated");
        assert_eq!(json["runs"].as_array().map(Vec::len), Some(3));
    }
}
