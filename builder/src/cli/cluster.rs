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
    let mut text = String::new();
    for seed in &report.seeds {
        text.push_str(&format!("{}\n", seed.display()));
    }
    let secrets = report.secrets.display();
    text.push_str(&if report.new_secrets {
        format!("{secrets}  new keys and tokens: keep a copy, and keep it private\n")
    } else {
        format!("{secrets}  keys and tokens that were there are used again\n")
    });
    text.push_str(&format!("operator's certificate {}\n", report.operator_fingerprint));
    let arguments: String =
        report.seeds.iter().map(|seed| format!(" --seed {}", seed.display())).collect();
    text.push_str(&format!("next: builder check{arguments}\n"));
    text.push_str(&format!("      builder build --image edge{arguments}\n"));
    text
}
