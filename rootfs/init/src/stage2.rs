//! Stage 2: the boot phases of the node, then the watch over it until the run ends.
//!
//! Boot is data: [`PHASES`] is the whole timetable. A phase either succeeds, or the boot ends with
//! its error; what a node can do without (one missing driver) a phase says and goes on.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitOptions, wait};
use seed::Seed;
use seed::manifest::{MANIFEST_PATH, Manifest, ManifestError, RENDERED_PATH, TEMPLATES_PATH};
use seed::render::{RenderError, Rendered};
use sys::signals::SignalFd;
use thiserror::Error;

use crate::modules::Modules;
use crate::mounts::{self, MountError};
use crate::power::{self, Buttons, Ending, PowerError};
use crate::say;
use crate::seed_source;

/// How often a node without a good seed looks for a better one.
const SEED_POLL: Duration = Duration::from_secs(2);

#[derive(Debug, Error)]
pub(crate) enum Stage2Error {
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{MANIFEST_PATH}: {0}")]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Power(#[from] PowerError),
    #[error("signals: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error("host name {name:?}: {source}")]
    HostName { name: String, source: io::Error },
}

/// What a phase leaves for the ones after it.
struct Node {
    started: Instant,
    manifest: Manifest,
    signals: SignalFd,
    buttons: Buttons,
    seed: Option<Seed>,
}

/// One line of the timetable.
struct Phase {
    name: &'static str,
    run: Run,
}

/// What a phase can come to.
enum Run {
    /// It says what goes wrong, and the boot goes on.
    Always(fn(&mut Node)),
    /// Its error ends the boot.
    OrFail(fn(&mut Node) -> Result<(), Stage2Error>),
    /// It waits, and someone may ask for the end meanwhile.
    OrEnd(fn(&mut Node) -> Result<Step, Stage2Error>),
}

/// Whether the boot goes on.
enum Step {
    Done,
    /// Someone asked for the end before the boot was over.
    End(Ending),
}

/// The timetable. Services follow once the supervisor is here.
const PHASES: &[Phase] = &[
    Phase { name: "mounts", run: Run::OrFail(early_mounts) },
    Phase { name: "modules", run: Run::Always(load_modules) },
    Phase { name: "sysctls", run: Run::Always(set_sysctls) },
    Phase { name: "seed", run: Run::OrEnd(find_seed) },
    Phase { name: "identity", run: Run::OrFail(take_identity) },
];

/// Boots the node and watches over it; returns how the run shall end.
pub(crate) fn run() -> Result<Ending, Stage2Error> {
    let started = Instant::now();
    power::take_over_keystroke()?;
    let signals = SignalFd::new(power::SIGNALS).map_err(Stage2Error::Signals)?;
    let manifest = Manifest::from_json(&read(Path::new(MANIFEST_PATH))?)?;
    say!("{} {}, phases: {}", manifest.name, manifest.version, phase_names());
    let buttons = Buttons::default();
    let mut node = Node { started, manifest, signals, buttons, seed: None };
    for phase in PHASES {
        let step = match phase.run {
            Run::Always(run) => {
                run(&mut node);
                Step::Done
            }
            Run::OrFail(run) => run(&mut node).map(|()| Step::Done)?,
            Run::OrEnd(run) => run(&mut node)?,
        };
        if let Step::End(ending) = step {
            return Ok(ending);
        }
    }
    say!("ready node={} after={}ms", node.name(), node.started.elapsed().as_millis());
    loop {
        if let Some(ending) = node.wait(None)? {
            return Ok(ending);
        }
    }
}

fn phase_names() -> String {
    PHASES.iter().map(|phase| phase.name).collect::<Vec<_>>().join(", ")
}

impl Node {
    fn name(&self) -> String {
        self.seed.as_ref().map_or_else(|| "none".to_owned(), |seed| seed.node.name.to_string())
    }

    /// Waits for something to happen, at most for `limit`; says if that asks for an ending.
    fn wait(&mut self, limit: Option<Duration>) -> Result<Option<Ending>, Stage2Error> {
        let mut inputs = vec![PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
        let buttons = self.buttons.descriptors();
        inputs.extend(buttons.map(|button| PollFd::from_borrowed_fd(button, PollFlags::IN)));
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        match poll(&mut inputs, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Stage2Error::Signals(errno.into())),
        }
        if self.buttons.pressed() {
            say!("power button");
            return Ok(Some(Ending::PowerOff));
        }
        while let Some(signal) = self.signals.next().map_err(Stage2Error::Signals)? {
            if signal == Signal::CHILD {
                reap();
            } else if let Some(ending) = Ending::asked_by(signal) {
                return Ok(Some(ending));
            }
        }
        Ok(None)
    }
}

/// Every orphan of the node becomes a child of PID 1, which must take note of its death.
fn reap() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

fn read(path: &Path) -> Result<String, Stage2Error> {
    fs::read_to_string(path).map_err(|source| Stage2Error::File { path: path.to_owned(), source })
}

fn early_mounts(_: &mut Node) -> Result<(), Stage2Error> {
    Ok(mounts::make(mounts::RUNTIME)?)
}

/// A driver that can't be loaded is said; whatever needs it will fail with its own reason.
fn load_modules(node: &mut Node) {
    match Modules::of_running_kernel() {
        Ok(modules) => {
            for name in &node.manifest.modules {
                if let Err(error) = modules.load(name) {
                    say!("{error}");
                }
            }
        }
        Err(error) => say!("{error}"),
    }
    node.buttons = Buttons::open(Path::new("/sys/class/input"), Path::new("/dev/input"));
}

fn set_sysctls(node: &mut Node) {
    for (key, value) in &node.manifest.sysctls {
        let path = Path::new("/proc/sys").join(key.replace('.', "/"));
        if let Err(error) = fs::write(&path, value) {
            say!("sysctl {key}={value}: {error}");
        }
    }
}

/// Finds and checks the seed. With none, or a bad one, the node says why and waits for a better one:
/// it takes no name and no address before it has a good seed.
fn find_seed(node: &mut Node) -> Result<Step, Stage2Error> {
    let mut said = Vec::new();
    loop {
        let mut troubles = Vec::new();
        let mut good = None;
        for found in seed_source::search() {
            let parsed = found.and_then(|candidate| {
                let bad = |problems| format!("bad seed in {}:\n{problems}", candidate.place);
                candidate.parse().map(|seed| (candidate.place.clone(), seed)).map_err(bad)
            });
            match parsed {
                Ok(seed) => {
                    good = Some(seed);
                    break;
                }
                Err(trouble) => troubles.push(trouble),
            }
        }
        if good.is_none() && troubles.is_empty() {
            troubles.push("no seed: put seed.toml on a FAT volume labelled SEED".to_owned());
        }
        // The same words every two seconds would push the reason off the screen.
        if troubles != said {
            troubles.iter().flat_map(|trouble| trouble.lines()).for_each(|line| say!("{line}"));
        }
        if let Some((place, seed)) = good {
            say!("seed from {place}");
            node.seed = Some(seed);
            return Ok(Step::Done);
        }
        if troubles != said {
            say!("waiting for a good seed; nothing is configured until then");
            said = troubles;
        }
        if let Some(ending) = node.wait(Some(SEED_POLL))? {
            return Ok(Step::End(ending));
        }
    }
}

/// The node becomes what its seed says: its name, and every rendered file.
fn take_identity(node: &mut Node) -> Result<(), Stage2Error> {
    let Some(seed) = &node.seed else { return Ok(()) };
    let name = seed.node.name.to_string();
    rustix::system::sethostname(name.as_bytes())
        .map_err(|errno| Stage2Error::HostName { name, source: errno.into() })?;
    let context = seed::render::context(seed);
    let read_source = |source: &str| fs::read_to_string(Path::new(TEMPLATES_PATH).join(source));
    for rendered in seed::render::render_all(&node.manifest, &context, &read_source)? {
        write_rendered(&rendered, &node.manifest)?;
    }
    Ok(())
}

fn write_rendered(rendered: &Rendered, manifest: &Manifest) -> Result<(), Stage2Error> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = PathBuf::from(format!("{RENDERED_PATH}{}", rendered.path));
    let fail = |source| Stage2Error::File { path: path.clone(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fail)?;
    }
    let mut options = fs::OpenOptions::new();
    let mode = rendered.mode.bits();
    let mut file =
        options.write(true).create(true).truncate(true).mode(mode).open(&path).map_err(fail)?;
    io::Write::write_all(&mut file, rendered.text.as_bytes()).map_err(fail)?;
    let group = rendered.group.as_ref().unwrap_or(&rendered.user);
    let (owner, group) = (user_id(&rendered.user, manifest), user_id(group, manifest));
    std::os::unix::fs::fchown(&file, Some(owner), Some(group)).map_err(fail)
}

/// The number of a user; of a name that the image doesn't know nobody becomes the owner but root.
fn user_id(name: &str, manifest: &Manifest) -> u32 {
    let known = manifest.users.iter().find(|user| user.name == name);
    known.map_or(0, |user| user.id)
}
