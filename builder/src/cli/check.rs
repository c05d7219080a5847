//! `builder check`: is this seed good?

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{Context, Outcome};

/// Check seeds, and say all that is wrong with them
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  builder check --seed node1.toml\n  \
    builder check --seed node1.toml --seed node2.toml --json")]
pub(super) struct Arguments {
    /// A seed file; may be repeated
    #[arg(long, required = true, value_name = "FILE")]
    seed: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    good: bool,
    seeds: Vec<SeedReport>,
}

#[derive(Serialize)]
struct SeedReport {
    seed: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<seed::Problems>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let mut seeds = Vec::new();
    let mut text = String::new();
    for path in &arguments.seed {
        let name = path.display().to_string();
        let content = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        let report = match seed::parse(&name, &content) {
            Ok(seed) => {
                let node = seed.node.name.to_string();
                text.push_str(&format!("{name}: good seed of {node} in {}\n", seed.cluster.name));
                SeedReport { seed: path.clone(), node: Some(node), problems: None }
            }
            Err(problems) => {
                text.push_str(&format!("{problems}\n"));
                SeedReport { seed: path.clone(), node: None, problems: Some(problems) }
            }
        };
        seeds.push(report);
    }
    let good = seeds.iter().all(|report| report.problems.is_none());
    context.print(&Report { good, seeds }, &text)?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
