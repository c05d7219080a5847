//! The command line: one file per subcommand, each with its arguments and its `run`.
//!
//! Results go to standard output, progress and errors to standard error. The exit code is 0 when
//! all is well, 1 when the work failed, 2 when the command line was wrong, and 3 when `diff` found
//! a difference, or `lock --check` a lock that is behind.

mod build;
mod check;
mod cluster;
mod context;
mod diff;
pub mod drill;
mod flash;
mod inspect;
mod lock;
mod render;
mod run;
mod seed;
mod verify;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{explain, unfinished};
pub use context::{Common, Context};

/// Builds, checks, writes and boots the appliance image.
#[derive(Debug, Parser)]
#[command(name = "builder", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(build::Arguments),
    Check(check::Arguments),
    Diff(diff::Arguments),
    Drill(drill::Arguments),
    Inspect(inspect::Arguments),
    Lock(lock::Arguments),
    Verify(verify::Arguments),
    Cluster(cluster::Arguments),
    Flash(flash::Arguments),
    Render(render::Arguments),
    Run(run::Arguments),
    Seed(seed::Arguments),
}

/// What a subcommand ends with; the error's whole chain is printed once, here.
type Outcome = Result<ExitCode, Box<dyn Error>>;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = unfinished::remove_on_interrupt() {
        eprintln!("warning: Ctrl-C may leave files behind: {error}");
    }
    let context = Context::new(cli.common);
    let outcome = match cli.command {
        Command::Build(arguments) => build::run(&context, &arguments),
        Command::Check(arguments) => check::run(&context, &arguments),
        Command::Diff(arguments) => diff::run(&context, &arguments),
        Command::Drill(arguments) => drill::run(&context, &arguments),
        Command::Inspect(arguments) => inspect::run(&context, &arguments),
        Command::Lock(arguments) => lock::run(&context, &arguments),
        Command::Verify(arguments) => verify::run(&context, &arguments),
        Command::Cluster(arguments) => cluster::run(&context, &arguments),
        Command::Flash(arguments) => flash::run(&context, &arguments),
        Command::Render(arguments) => render::run(&context, &arguments),
        Command::Run(arguments) => run::run(&context, &arguments),
        Command::Seed(arguments) => seed::run(&context, &arguments),
    };
    unfinished::wait_if_interrupted();
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {}", explain::chain(error.as_ref()));
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
