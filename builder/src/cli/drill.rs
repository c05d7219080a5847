//! `builder drill`: makes things go wrong in virtual machines, and says whether the claims hold.
//!
//! The drills are a program of their own, in `qemu-tests/`, which links this crate to build its
//! images. So the builder starts it through cargo, as it has the node's binaries built: whoever has a
//! checkout has cargo, what runs is what the sources say, and the `builder` that ships carries no
//! test harness. The arguments are defined here once, for both.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser};

use super::{Common, Context, Outcome};
use crate::node;
use crate::unfinished::Running;

/// Make things go wrong in virtual machines, and see whether the claims hold
#[derive(Args, Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // Switches of a command line, each independent.
#[command(after_help = "Examples:\n  builder drill --list\n  builder drill vip_power_cut\n  \
    builder drill vip_power_cut/v6 --seed 7 --repeat 10\n  builder drill vip boot --report /tmp/r\n  \
    builder drill pg_switchover --shell\n\n\
    Exit codes: 0 all passed, 1 a claim was violated, 3 something stayed unknown, 4 the rig failed.")]
pub struct Arguments {
    /// Drills, families, or one version of a drill (`vip_power_cut/v6`) [default: all]
    #[arg(value_name = "NAME|FAMILY")]
    pub names: Vec<String>,
    /// Show what there is, and run nothing
    #[arg(long)]
    pub list: bool,
    /// Print the page INDEX.md, and run nothing
    #[arg(long)]
    pub index: bool,
    /// What everything random comes from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Run each so often, with one seed after the other
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,
    /// Only the drills that CI runs, if none is named
    #[arg(long)]
    pub ci: bool,
    /// Leave the machines of a run that didn't pass running until Enter is pressed
    #[arg(long)]
    pub keep: bool,
    /// Form each cluster anew, instead of going on from one that was formed earlier
    #[arg(long)]
    pub cold: bool,
    /// Form the cluster of one drill, and do by hand what the drill would do
    #[arg(long)]
    pub shell: bool,
    /// Wait for Enter before each fault and each heal
    #[arg(long)]
    pub step: bool,
    /// Where verdicts, consoles and captures go [default: out/drills]
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
}

#[derive(Debug, Parser)]
#[command(name = "drill", version, max_term_width = 100)]
struct Program {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    arguments: Arguments,
}

/// What the drill program's own command line says.
pub fn of_command_line() -> (Context, Arguments) {
    let Program { common, arguments } = Program::parse();
    (Context::new(common), arguments)
}

pub(super) fn run(context: &Context, _arguments: &Arguments) -> Outcome {
    let project = context.project()?;
    let mut command = node::cargo();
    let cargo = command.get_program().to_string_lossy().into_owned();
    command.args(["run", "--locked", "--release", "--quiet", "--package", "qemu-tests"]);
    command.args(["--bin", "drill", "--manifest-path"]).arg(project.root().join("Cargo.toml"));
    // They were parsed once to find mistakes early, and are parsed again over there.
    command.arg("--").args(without_subcommand(env::args_os().skip(1)));
    let start = |error| -> Box<dyn Error> {
        format!("can't start cargo ({cargo}): {error}; a Rust toolchain builds the drills").into()
    };
    let status = Running::spawn(&mut command).map_err(start)?.wait()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// All words but the one that chose this subcommand: flags may stand on either side of it, and a
/// folder may be called like it.
fn without_subcommand(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.collect();
    let chooses = |position: &usize| {
        let before = position.checked_sub(1).and_then(|before| words.get(before));
        words[*position] == "drill"
            && before.is_none_or(|word| word != "--cache" && word != "--project")
    };
    if let Some(position) = (0..words.len()).find(chooses) {
        words.remove(position);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_on_either_side_reach_the_drill_program() {
        let line = "--json --cache drill --quiet drill vip --seed 7";
        let words = without_subcommand(line.split(' ').map(OsString::from));
        let read = Program::try_parse_from([OsString::from("drill")].into_iter().chain(words));
        let Program { common, arguments } = read.expect("the same words");
        let context = Context::new(common);
        assert!(context.wants_json() && context.is_quiet());
        assert_eq!(context.cache().expect("named"), PathBuf::from("drill"));
        assert_eq!((arguments.names, arguments.seed), (vec!["vip".to_owned()], 7));
    }
}
