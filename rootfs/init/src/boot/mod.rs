//! Stage 2: the boot phases of the node, then the watch over it until the run ends.
//!
//! Boot is data: [`PHASES`] is the whole timetable. A phase either succeeds, or the boot ends with
//! its error; what a node can do without (one missing driver) a phase says and goes on.

mod control;
mod identity;
mod kernel;
mod network;
mod seed;
mod services;
mod state;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ::seed::manifest::{MANIFEST_PATH, Manifest, ManifestError};
use ::seed::render::RenderError;
use sys::signals::SignalFd;
use thiserror::Error;

use crate::mounts::MountError;
use crate::node::Node;
use crate::power::{self, Ending, PowerError};
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
    OrEnd(fn(&mut Node) -> Step),
}

/// Whether the boot goes on.
enum Step {
    Done,
    /// Someone asked for the end before the boot was over.
    End(Ending),
}

/// The timetable.
const PHASES: &[Phase] = &[
    Phase { name: "mounts", run: Run::OrFail(kernel::early_mounts) },
    Phase { name: "control", run: Run::Always(control::listen) },
    Phase { name: "modules", run: Run::Always(kernel::load_modules) },
    Phase { name: "sysctls", run: Run::Always(kernel::set_sysctls) },
    Phase { name: "state", run: Run::Always(state::open) },
    Phase { name: "seed", run: Run::OrEnd(seed::find_seed) },
    Phase { name: "identity", run: Run::OrFail(identity::take_identity) },
    Phase { name: "network", run: Run::OrEnd(network::bring_up) },
    Phase { name: "services", run: Run::Always(services::begin) },
];

/// Makes the node, which the phases then fill.
pub(crate) fn begin() -> Result<Node, Stage2Error> {
    power::take_over_keystroke()?;
    let signals = SignalFd::new(power::SIGNALS).map_err(Stage2Error::Signals)?;
    let manifest = Manifest::from_json(&read(Path::new(MANIFEST_PATH))?)?;
    say!("{} {}, phases: {}", manifest.name, manifest.version, phase_names());
    Ok(Node::new(manifest, signals))
}

/// Boots the node and watches over it; returns how the run shall end.
pub(crate) fn run(node: &mut Node) -> Result<Ending, Stage2Error> {
    for phase in PHASES {
        let step = match phase.run {
            Run::Always(run) => {
                run(node);
                Step::Done
            }
            Run::OrFail(run) => run(node).map(|()| Step::Done)?,
            Run::OrEnd(run) => run(node),
        };
        if let Step::End(ending) = step {
            return Ok(ending);
        }
    }
    loop {
        if let Some(ending) = node.wait(None) {
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
