//! What every subcommand may need: the project, the cache, how to talk.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::progress::Progress;
use crate::project::{self, Project, ProjectError};

/// The environment's word for `--cache`.
pub(super) const CACHE_VARIABLE: &str = "EDGEPAIR_CACHE";

/// Flags that all subcommands share.
#[derive(Args, Clone, Debug, Default)]
pub struct Common {
    /// The checkout with overlays/ and images/ [default: the nearest one above this folder]
    #[arg(long, global = true, value_name = "DIR")]
    project: Option<PathBuf>,
    /// Where downloads are kept [default: edgepair in the user's cache folder]
    #[arg(long, global = true, value_name = "DIR", env = CACHE_VARIABLE)]
    cache: Option<PathBuf>,
    /// Print the result as one JSON object
    #[arg(long, global = true)]
    json: bool,
    /// No progress
    #[arg(short, long, global = true)]
    quiet: bool,
}

impl Common {
    /// No flags, and what the environment says.
    pub fn of_environment() -> Self {
        Self { cache: env::var_os(CACHE_VARIABLE).map(PathBuf::from), ..Self::default() }
    }
}

/// The same, at work.
#[derive(Debug)]
pub struct Context {
    common: Common,
    pub progress: Progress,
}

impl Context {
    pub fn new(common: Common) -> Self {
        let progress = Progress::new(common.quiet);
        Self { common, progress }
    }

    pub fn project(&self) -> Result<Project, ProjectError> {
        Project::find(self.common.project.as_deref())
    }

    pub fn cache(&self) -> Result<PathBuf, ProjectError> {
        project::cache_folder(self.common.cache.as_deref())
    }

    /// Whether results are for a program, so that nothing else may be on standard output.
    pub const fn wants_json(&self) -> bool {
        self.common.json
    }

    pub const fn is_quiet(&self) -> bool {
        self.common.quiet
    }

    /// Prints a result: as JSON if that was asked for, else as the given text.
    pub fn print<T: Serialize>(&self, value: &T, text: &str) -> Result<(), Box<dyn Error>> {
        let mut out = io::stdout().lock();
        let text = if self.common.json { serde_json::to_string(value)? } else { text.to_owned() };
        match writeln!(out, "{}", text.trim_end()) {
            // A reader such as `head` that has seen enough is no error of ours.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }
}
