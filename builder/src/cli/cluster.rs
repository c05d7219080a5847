//! `builder cluster`: the seeds and secrets of a whole site.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Context, Outcome};
use crate::cluster::{Created, create};

/// Make the seeds and secrets of a site
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(New),
}

/// Write a seed for each node of a cluster file, and make their keys and tokens
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  builder cluster new images/clusters/pair.toml -o site\n\n\
    The folder is private: it holds the keys of the site. Keep a copy of it.")]
struct New {
    /// The cluster file, such as those in images/clusters
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where seeds and secrets go
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Report {
    seeds: Vec<PathBuf>,
    secrets: PathBuf,
    /// False if the secrets were there already and are used again.
    new_secrets: bool,
    operator_fingerprint: String,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let Command::New(new) = &arguments.command;
    let Created { seeds, secrets, new_secrets, operator_fingerprint } =
        create(&new.file, &new.out)?;
    let report = Report { seeds, secrets, new_secrets, operator_fingerprint };
    context.print(&report, &summary(&report))?;
    Ok(ExitCode::SUCCESS)
}

fn summary(report: &Report) -> String {
    let mut lines: Vec<String> = report.seeds.iter().map(|it| it.display().to_string()).collect();
    let secrets = report.secrets.display();
    lines.push(if report.new_secrets {
        format!("{secrets}  new keys and tokens: keep a copy, and keep it private")
    } else {
        format!("{secrets}  keys and tokens that were there are used again")
    });
    lines.push(format!("operator's certificate {}", report.operator_fingerprint));
    let arguments: Vec<String> =
        report.seeds.iter().map(|seed| format!("--seed {}", seed.display())).collect();
    let arguments = arguments.join(" ");
    lines.push(format!("next: builder check {arguments}"));
    lines.push(format!("      builder build --image edge {arguments}"));
    lines.join("\n")
}
