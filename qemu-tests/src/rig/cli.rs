//! The drill program, which `builder drill` starts.
//!
//! Exit codes: 0 when all passed, 1 when a claim was violated, 2 for a wrong command line, 3 when
//! nothing was violated but something stayed unknown, 4 when the rig itself failed.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use builder::cli::drill::Arguments;
use builder::explain;
use builder::progress::Progress;
use builder::project::{self, Project};
use builder::unfinished::{self, Scratch};
use ledger::Verdict;

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
    let arguments = Arguments::of_command_line();
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
    if arguments.list {
        for Wanted { entry, ip, .. } in &wanted {
            println!("{:28} {}", evidence::title(entry, *ip), entry.claim);
        }
        return ExitCode::SUCCESS;
    }
    run_all(&wanted, &arguments).unwrap_or_else(|error| {
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

/// What a runner needs as long as it is there: the folder of its machines, and who ends them if it
/// can't any more.
#[derive(Debug)]
pub struct Guards {
    _reaper: Reaper,
    _scratch: Scratch,
}

/// Makes ready for runs whose evidence goes into a folder.
pub fn prepare(report: &Path, manner: Manner) -> Result<(Runner, Guards), Box<dyn Error>> {
    unfinished::remove_on_interrupt()?;
    let scratch = Scratch::within(&std::env::temp_dir(), "drill-")?;
    let reaper = Reaper::start(scratch.path())?;
    let cache = std::env::var_os("EDGEPAIR_CACHE").map(PathBuf::from);
    let place = Place {
        project: Project::find(None)?,
        cache: project::cache_folder(cache.as_deref())?,
        folder: scratch.path().to_owned(),
    };
    let settings = Settings { place, report: report.to_owned(), manner };
    let runner = Runner::new(settings, Progress::new(false));
    Ok((runner, Guards { _reaper: reaper, _scratch: scratch }))
}

fn run_all(wanted: &[Wanted<'_>], arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let report = arguments.report.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_REPORT));
    let Arguments { step, keep, cold, shell, .. } = *arguments;
    let (mut runner, _guards) = prepare(&report, Manner { step, keep, cold, shell })?;
    let mut tally = Tally::default();
    let count = wanted.len();
    for (number, wanted) in (1..).zip(wanted) {
        let title = evidence::title(wanted.entry, wanted.ip);
        eprintln!("== {number}/{count} {title}: {}", wanted.entry.claim);
        let mut outcome = runner.run_once(wanted.entry, wanted.ip, wanted.seed)?;
        if shell {
            // A person judges; what was seen is written down all the same.
            println!("the evidence is in {}", outcome.folder.display());
            return Ok(ExitCode::SUCCESS);
        }
        say(&title, &outcome);
        if outcome.verdict == Verdict::Unknown {
            tally.again += 1;
            eprintln!("== {title}: unknown, so once more");
            outcome = runner.run_once(wanted.entry, wanted.ip, wanted.seed)?;
            say(&title, &outcome);
        }
        tally.add(title, &outcome);
    }
    report::index::write(&report)?;
    println!("see {}", report.join("index.html").display());
    Ok(tally.tell())
}

fn say(title: &str, outcome: &Outcome) {
    let Outcome { verdict, reason, took, folder, .. } = outcome;
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let (seconds, folder) = (took.as_secs_f64(), folder.display());
    println!("{:8} {title} ({seconds:.1} s){why}\n         {folder}", verdict.to_string());
}

/// What all runs came to.
#[derive(Default)]
struct Tally {
    passed: u32,
    violated: Vec<String>,
    unknown: Vec<String>,
    again: u32,
    took: Duration,
}

impl Tally {
    fn add(&mut self, title: String, outcome: &Outcome) {
        self.took += outcome.took;
        match outcome.verdict {
            Verdict::Pass => self.passed += 1,
            Verdict::Violated => self.violated.push(title),
            Verdict::Unknown => self.unknown.push(title),
        }
    }

    fn tell(&self) -> ExitCode {
        let Self { passed, violated, unknown, again, took } = self;
        let (bad, lost) = (violated.len(), unknown.len());
        let seconds = took.as_secs_f64();
        println!(
            "{passed} passed, {bad} violated, {lost} unknown, {again} run again; {seconds:.0} s"
        );
        match (violated.is_empty(), unknown.is_empty()) {
            (false, _) => ExitCode::from(VIOLATED),
            (true, false) => ExitCode::from(UNKNOWN),
            (true, true) => ExitCode::SUCCESS,
        }
    }
}
