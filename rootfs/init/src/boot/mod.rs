//! Stage 2: the boot phases of the node, then the watch over it until the run ends.
//!
//! Boot is data: [`PHASES`] is the whole timetable. A phase either succeeds, or the boot ends with
//! its error; what a node can do without (one missing driver) a phase says and goes on.

mod identity;
mod kernel;
mod seed;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ::seed::manifest::{MANIFEST_PATH, Manifest, ManifestError};
use ::seed::render::RenderError;
use sys::signals::SignalFd;
use thiserror::Error;

use crate::mounts::MountError;
use crate::node::Node;
use crate::power::{self, Buttons, Ending, PowerError};
use crate::say;

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
    Phase { name: "mounts", run: Run::OrFail(kernel::early_mounts) },
    Phase { name: "modules", run: Run::Always(kernel::load_modules) },
    Phase { name: "sysctls", run: Run::Always(kernel::set_sysctls) },
    Phase { name: "seed", run: Run::OrEnd(seed::find_seed) },
    Phase { name: "identity", run: Run::OrFail(identity::take_identity) },
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

fn read(path: &Path) -> Result<String, Stage2Error> {
    fs::read_to_string(path).map_err(|source| Stage2Error::File { path: path.to_owned(), source })
}
