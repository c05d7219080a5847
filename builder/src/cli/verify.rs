//! `builder verify`: is an image whole?

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::build::ReachArguments;
use super::{Context, Outcome};
use crate::image::formats::Format;
use crate::image::layout::Part;
use crate::image::open::OpenImage;
use crate::image::packed;
use crate::read::slots;
use crate::read::verify::{Check, verify};
use crate::tools::ORACLES;

/// Check that an image is whole, byte for byte
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  builder verify out/lab-node1.raw\n  \
    builder verify /dev/sdb --json\n  builder verify out/lab-node1.raw --oracles\n\n\
    Exit code: 0 if every check is good, 1 if one is not.")]
pub(super) struct Arguments {
    /// The image (raw or raw.zst) or device to check
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// Let e2fsck of Debian's e2fsprogs have a look too; it is fetched into the cache
    #[arg(long)]
    oracles: bool,
    #[command(flatten)]
    reach: ReachArguments,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let (image, format) = packed::open(&arguments.image, &context.progress)?;
    if arguments.oracles && format != Format::Raw {
        let path = arguments.image.display();
        return Err(format!("e2fsck reads no {format}: unpack {path} first (`zstd -d`)").into());
    }
    let mut verdict = verify(&image, &context.progress);
    if arguments.oracles {
        verdict.extend(second_opinion(context, arguments, &image)?);
    }
    context.print(&verdict, &verdict.text())?;
    Ok(if verdict.good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What e2fsck says about the root of each slot, without changing a byte.
fn second_opinion(
    context: &Context,
    arguments: &Arguments,
    image: &OpenImage,
) -> Result<Vec<Check>, Box<dyn Error>> {
    let reach = arguments.reach.reach(false);
    let tools = ORACLES.obtain(&context.cache()?, &reach, &context.progress)?;
    let mut checks = Vec::new();
    for kernel in slots::kernels(image).0 {
        let offset = image.partition(Part::Root(kernel.slot))?.offset_bytes();
        let mut target = image.path.clone().into_os_string();
        target.push(format!("?offset={offset}"));
        let output = tools.command("usr/sbin/e2fsck").arg("-fn").arg(target).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let last = said.lines().last().unwrap_or("it said nothing");
        checks.push(Check {
            what: format!("slot {}, e2fsck -fn", kernel.slot.letter()),
            good: output.status.success(),
            detail: last.to_owned(),
        });
    }
    Ok(checks)
}
