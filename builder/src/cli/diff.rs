//! `builder diff`: in what do two images differ?

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Context, Outcome};
use crate::image::packed;
use crate::read::diff::diff;

/// The exit code that says "the work was done, and there is a difference".
pub(super) const DIFFERENT: u8 = 3;

/// Say in what two images differ
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  builder diff out/lab-node1.raw out/lab-node2.raw\n  \
    builder diff old.raw new.raw --json\n\n\
    Exit code: 0 if they are the same, 3 if they differ. What a node keeps in STATE is left out, and\n\
    the identity that `flash` gives each disk's boot partition.")]
pub(super) struct Arguments {
    /// An image (raw or raw.zst) or device
    #[arg(value_name = "LEFT")]
    left: PathBuf,
    /// Another one
    #[arg(value_name = "RIGHT")]
    right: PathBuf,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let (left, _) = packed::open(&arguments.left, &context.progress)?;
    let (right, _) = packed::open(&arguments.right, &context.progress)?;
    let difference = diff(&left, &right, &context.progress)?;
    context.print(&difference, &difference.text())?;
    Ok(if difference.same { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}
