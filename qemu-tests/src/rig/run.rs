//! Runs drills one after the other, and decides what each comes to.
//!
//! ```text
//!   form the cluster,        the drill's     consoles
//!   or go on from one  ───>  body       ───> are clean? ─> verdict ─┬─ pass, violated: said
//!                                                                   └─ unknown: once more
//! ```
//! A violation is never tried again: it happened. What is unknown is, once, and that is counted: a
//! rig that often doesn't know is a rig to mend.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use builder::progress::Progress;
use builder::unfinished::Scratch;
use ledger::check::console::{Line, console_clean};
use ledger::check::promises;
use ledger::{Finding, Micros, Verdict};
use report::Folder;
use report::run::{Measure, Power};

use super::cluster::{Cluster, Setting};
use super::drill::{Drill, PowerChange, READY_LIMIT};
use super::entry::{Begin, Entry, Ip, Steady};
use super::evidence::{self, Told};
use super::fault::Stop;
use super::hang::{GRACE, Seen, Watch};
use super::kit::{Kit, KitError, Place};
use super::log::Log;
use super::shell;
use super::warm::{self, Warm};

/// Whoever tries things out by hand isn't hurried.
const A_PERSONS_TIME: Duration = Duration::from_hours(24);

/// How a run is made.
#[derive(Clone, Debug)]
pub struct Settings {
    pub place: Place,
    pub report: PathBuf,
    pub manner: Manner,
}

/// What a person wants of all runs.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // Switches of a command line, each independent.
pub struct Manner {
    /// Wait for Enter before each fault and each heal.
    pub step: bool,
    /// Leave the cluster of a run that didn't pass as it is until somebody has looked.
    pub keep: bool,
    /// Form each cluster anew.
    pub cold: bool,
    /// Give the cluster to whoever is at the terminal, instead of running the drill.
    pub shell: bool,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub verdict: Verdict,
    /// Why it is no pass; empty if it is.
    pub reason: String,
    /// When it began, since 1970.
    pub started: Duration,
    pub took: Duration,
    pub folder: PathBuf,
    /// The root hash of the image that ran.
    pub image: String,
    /// What the drill measured, by name.
    pub measures: Vec<Measure>,
}

/// Kits of the images that drills asked for so far.
#[derive(Debug)]
pub struct Runner {
    settings: Settings,
    progress: Progress,
    kits: BTreeMap<&'static str, Arc<Kit>>,
    runs: u32,
}

impl Runner {
    pub fn new(settings: Settings, progress: Progress) -> Self {
        Self { settings, progress, kits: BTreeMap::new(), runs: 0 }
    }

    /// The kit of an image, built by whoever asks first.
    pub fn kit(&mut self, image: &'static str) -> Result<Arc<Kit>, KitError> {
        if let Some(kit) = self.kits.get(image) {
            return Ok(Arc::clone(kit));
        }
        let folder = self.settings.place.folder.join(format!("kit{}", self.kits.len()));
        std::fs::create_dir(&folder)
            .map_err(|source| KitError::File { path: folder.clone(), source })?;
        let place = Place { folder, ..self.settings.place.clone() };
        let path = place.project.root().join(image);
        let named = if path.is_file() { path.display().to_string() } else { image.to_owned() };
        let kit = Arc::new(Kit::prepare(&named, &place, &self.progress)?);
        self.progress.note(&format!("{} with {:?}", kit.qemu.describe(), kit.acceleration));
        self.kits.insert(image, Arc::clone(&kit));
        Ok(kit)
    }

    /// What there is of the formed cluster that a drill begins with.
    fn warmth(
        &self,
        entry: &Entry,
        ip: Option<Ip>,
        kit: &Kit,
    ) -> Result<Option<Warmth>, warm::WarmError> {
        if self.settings.manner.cold || entry.begin == Begin::Off {
            return Ok(None);
        }
        let place = &self.settings.place;
        let key = warm::key(kit, &entry.topology, ip, place.project.root())?;
        let store = warm::Store::within(&place.cache);
        let found = store.find(&key);
        Ok(Some(Warmth { store, key, found }))
    }

    /// Runs a drill once.
    pub fn run_once(
        &mut self,
        entry: &Entry,
        ip: Option<Ip>,
        seed: u64,
    ) -> Result<Outcome, Box<dyn std::error::Error>> {
        let kit = self.kit(entry.topology.image)?;
        self.runs += 1;
        let scratch = Scratch::within(&self.settings.place.folder, &format!("r{}-", self.runs))?;
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let variant = ip.map_or_else(String::new, |ip| ip.to_string());
        let (report, unix) = (&self.settings.report, started.as_secs());
        let folder = Folder::create(report, entry.name, &variant, seed, unix)?;
        let origin = Instant::now();
        let warmth = self.warmth(entry, ip, &kit)?;
        let cluster = Cluster::new(&Setting {
            kit: &kit,
            project: &self.settings.place.project,
            topology: &entry.topology,
            ip,
            folder: scratch.path(),
            seed,
            origin,
            capture: folder.path().join("wire.pcapng"),
            warm: warmth.as_ref().and_then(|warmth| warmth.found.as_ref()),
        })?;
        let progress = Progress::new(false);
        let log = Log::new(Box::new(move |line| progress.note(line)));
        let run = (ip.unwrap_or(Ip::V4), seed);
        let mut drill = Drill::new(cluster, log, run, self.settings.manner.step);
        // A panic of the rig must not cost the evidence.
        let ended = panic::catch_unwind(AssertUnwindSafe(|| {
            form(&mut drill, entry, warmth.as_ref())?;
            drill.begin(if self.settings.manner.shell { A_PERSONS_TIME } else { entry.limit });
            if self.settings.manner.shell {
                shell::run(&mut drill)
            } else {
                let _watch = (!self.settings.manner.step).then(|| {
                    let seen = seen_of(&drill, entry, ip, &folder);
                    Watch::start(entry.limit + GRACE, || seen.end_it())
                });
                (entry.body)(&mut drill)
            }
        }));
        judge(&mut drill, ended);
        let verdict = verdict(&drill);
        let reason = reason(&drill, verdict);
        let took = origin.elapsed();
        let told = Told { entry, ip, started, took, verdict, kit: &kit };
        let written = evidence::write(&folder, &drill, &told);
        if self.settings.manner.keep && verdict != Verdict::Pass {
            wait_for_person(&drill);
        }
        let measures = drill.measures.clone();
        drop(drill);
        written?;
        let (folder, image) = (folder.path().to_owned(), kit.verity_root.clone());
        Ok(Outcome { verdict, reason, started, took, folder, image, measures })
    }
}

/// What there is to tell of a drill that never ends.
fn seen_of(drill: &Drill, entry: &Entry, ip: Option<Ip>, folder: &Folder) -> Seen {
    let machines = drill.cluster.nodes.iter().chain(&drill.cluster.tester);
    Seen {
        title: evidence::title(entry, ip),
        folder: folder.path().to_owned(),
        log: drill.log.clone(),
        consoles: machines.map(|it| (it.name.clone(), it.console.clone())).collect(),
    }
}

/// Where the cluster of a drill is kept once it is formed.
struct Warmth {
    store: warm::Store,
    key: String,
    found: Option<Warm>,
}

/// Brings the cluster to where the drill begins.
fn form(drill: &mut Drill, entry: &Entry, warmth: Option<&Warmth>) -> Result<(), Stop> {
    drill.mark();
    match (entry.begin, warmth) {
        (Begin::Off, _) => drill.cluster.start_tester(READY_LIMIT)?,
        (Begin::Formed, None) => form_anew(drill, entry.topology.steady)?,
        (Begin::Formed, Some(Warmth { store, key, found: Some(warm) })) => {
            if let Err(error) = drill.cluster.resume(warm) {
                // The next run doesn't find it, and forms one.
                let _gone = store.remove(key);
                return Err(Stop::Unknown(format!("the formed cluster can't go on: {error}")));
            }
            note_resumed(drill, "formed earlier");
        }
        (Begin::Formed, Some(Warmth { store, key, found: None })) => {
            form_anew(drill, entry.topology.steady)?;
            let (_scratch, saved) = store.begin()?;
            drill.cluster.save(&saved)?;
            let warm = store.keep(saved, key)?;
            drill.cluster.resume(&warm)?;
            note_resumed(drill, "just formed");
        }
    }
    Ok(())
}

fn form_anew(drill: &mut Drill, steady: Steady) -> Result<(), Stop> {
    for node in drill.nodes() {
        drill.start(node)?;
    }
    drill.cluster.start_tester(READY_LIMIT)?;
    let limit = match steady {
        Steady::Logged(..) => PEER_READY_LIMIT,
        Steady::Ready | Steady::Owner | Steady::InSync => READY_LIMIT,
    };
    for node in drill.nodes() {
        drill.wait_ready_within(node, limit)?;
        drill.note(format!("{} is ready", drill.name(node)));
    }
    match steady {
        Steady::Ready => Ok(()),
        Steady::Owner => drill.vip_roles().map(drop),
        Steady::InSync => drill.pair_roles().map(drop),
        Steady::Logged(service, text) => drill.wait_logged(service, text),
    }
}

fn note_resumed(drill: &mut Drill, which: &str) {
    let at = drill.now();
    drill.note(format!("goes on from a cluster that was {which}"));
    for node in drill.nodes() {
        drill.power.push(PowerChange { node, at, power: Power::On });
    }
}

/// Three members of Patroni that start side by side on two emulated processors took over four minutes.
const PEER_READY_LIMIT: Duration = Duration::from_mins(10);

type Ended = Result<Result<(), Stop>, Box<dyn Any + Send>>;

/// What the body's end and the consoles say becomes findings.
fn judge(drill: &mut Drill, ended: Ended) {
    let check = "the drill ran to its end";
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(Stop::Violated(why))) => {
            drill.check(Finding::violated("every expectation is met", why));
        }
        Ok(Err(Stop::Unknown(why))) => drill.check(Finding::unknown(check, why)),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
            drill.check(Finding::unknown(check, format!("the rig panicked: {said}")));
        }
    }
    judge_promises_of_unfinished_clients(drill);
    let unproven: Vec<String> = drill
        .faults
        .iter()
        .filter(|span| span.proof.is_none())
        .map(|span| span.label.clone())
        .collect();
    for label in unproven {
        let why = format!("\"{label}\" was never seen to have an effect");
        drill.check(Finding::unknown("each fault had an effect", why));
    }
    let machines = drill.cluster.nodes.iter().chain(&drill.cluster.tester);
    let consoles: Vec<(String, Vec<crate::console::Line>)> =
        machines.map(|machine| (machine.name.clone(), machine.console.lines())).collect();
    let lines = consoles.iter().flat_map(|(name, lines)| {
        lines.iter().map(|line| Line { node: name, at: Micros::from(line.after), text: &line.text })
    });
    let excused: Vec<&str> = drill.excused.iter().map(String::as_str).collect();
    let finding = console_clean(lines, &excused);
    drill.check(finding);
    let failures = drill.cluster.nodes.iter().filter_map(|node| {
        node.desk_failure().map(|why| format!("the disk of {}: {why}", node.name))
    });
    if let Some(why) = failures.reduce(|one, other| format!("{one}; {other}")) {
        prove_nothing(&mut drill.findings, &why);
        drill.check(Finding::unknown("the desk keeps what guests write", why));
    }
}

/// A guest whose disk fails does what it must, and a desk that is full isn't the fault that was drilled.
fn prove_nothing(findings: &mut [Finding], why: &str) {
    for finding in findings.iter_mut().filter(|finding| finding.verdict == Verdict::Violated) {
        finding.verdict = Verdict::Unknown;
        finding.reasons.push(format!("but the desk failed: {why}"));
    }
}

/// A drill that ended early has clients whose promises nobody looked at. A promise that was broken is
/// told, however slow the desk was; that one can't be judged tells nothing new.
fn judge_promises_of_unfinished_clients(drill: &mut Drill) {
    let Some(clients) = drill.unfinished_clients() else { return };
    let Ok(history) = drill.finish_clients(clients) else { return };
    let broken = promises(&history).into_iter();
    for finding in broken.filter(|finding| finding.verdict == Verdict::Violated) {
        drill.check(finding);
    }
}

/// The worst of what was found. A drill that looked at nothing knows nothing.
fn verdict(drill: &Drill) -> Verdict {
    let looked = drill.expected.len() + drill.findings.len();
    if looked <= 1 { Verdict::Unknown } else { Verdict::over(&drill.findings) }
}

fn reason(drill: &Drill, verdict: Verdict) -> String {
    let worst = drill.findings.iter().find(|finding| finding.verdict == verdict);
    match worst {
        Some(finding) if verdict != Verdict::Pass => {
            format!("{}: {}", finding.check, finding.reasons.join("; "))
        }
        _ if verdict == Verdict::Pass => String::new(),
        _ => "the drill looked at nothing".to_owned(),
    }
}

/// Leaves everything as it is until Enter is pressed.
fn wait_for_person(drill: &Drill) {
    let mut all = drill.cluster.nodes.iter().chain(&drill.cluster.tester);
    let sockets = all.find_map(|machine| machine.probe.socket().parent());
    if let Some(folder) = sockets {
        eprintln!("-- the cluster runs on; its sockets are in {}", folder.display());
    }
    eprintln!("-- Enter ends it");
    let mut line = String::new();
    let _answered = std::io::stdin().read_line(&mut line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_violated_on_a_desk_that_failed() {
        let lost = Finding::violated("nothing acknowledged is lost", "row 7 is");
        let mut findings = [Finding::pass("fine", ""), lost];
        prove_nothing(&mut findings, "no space left on device");
        assert_eq!(Verdict::over(&findings), Verdict::Unknown);
        assert_eq!(
            findings[1].reasons,
            ["row 7 is", "but the desk failed: no space left on device"]
        );
    }
}
