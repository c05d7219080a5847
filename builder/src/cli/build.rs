//! `builder build`: images from seeds.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::{Context, Outcome};
use crate::build::images::BuiltImage;
use crate::build::source::Reach;
use crate::build::{Built, Request, build};
use crate::image::formats::Format;
use crate::progress::readable_bytes;
use crate::project::ProjectError;

/// Build a disk image for each seed
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  builder build --seed images/lab/node1.toml\n  \
    builder build --image edge --seed node1.toml --seed node2.toml --out /tmp/site\n  \
    builder build --seed node1.toml --locked --offline --json")]
pub(super) struct Arguments {
    /// A seed file; repeat it to build the images of several nodes at once
    #[arg(long, required = true, value_name = "FILE")]
    seed: Vec<PathBuf>,
    /// The image definition: a name in images/ or the path of a .toml file
    #[arg(long, default_value = "lab")]
    image: String,
    /// Where the images go; one of another cluster that is there is not replaced, unless it is a qcow2
    #[arg(long, default_value = "out", value_name = "DIR")]
    out: PathBuf,
    /// What the image files shall be
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    reach: ReachArguments,
    /// A K3s binary, or a folder with the files of its release, instead of downloading it
    #[arg(long, value_name = "PATH")]
    k3s: Option<PathBuf>,
    /// Use exactly the packages of the lock beside the image definition (see `builder lock`)
    #[arg(long)]
    locked: bool,
    /// Assemble the image anew even if the cache has it
    #[arg(long)]
    anew: bool,
}

/// How the Debian archive is reached.
#[derive(Args, Clone, Debug)]
pub(super) struct ReachArguments {
    /// A Debian mirror to use instead of the image definition's or the host's; may be repeated
    #[arg(long, value_name = "URL")]
    mirror: Vec<String>,
    /// A keyring to trust instead of Debian's archive keys
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
    /// Use only what is in the cache
    #[arg(long)]
    offline: bool,
}

impl ReachArguments {
    pub(super) fn reach(&self, locked: bool) -> Reach {
        let Self { mirror, keyring, offline } = self.clone();
        Reach { mirrors: mirror, keyring, offline, locked }
    }
}

#[derive(Serialize)]
struct Report {
    images: Vec<BuiltImage>,
    seconds: f64,
    packages: usize,
}

impl Arguments {
    fn request(&self, context: &Context) -> Result<Request, ProjectError> {
        Ok(Request {
            project: context.project()?,
            cache: context.cache()?,
            image: self.image.clone(),
            seeds: self.seed.clone(),
            out: self.out.clone(),
            reach: self.reach.reach(self.locked),
            k3s: self.k3s.clone(),
            format: self.format,
            anew: self.anew,
        })
    }
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let started = Instant::now();
    let Built { images, base } = build(&arguments.request(context)?, &context.progress)?;
    let report =
        Report { images, seconds: started.elapsed().as_secs_f64(), packages: base.record.packages };
    context.print(&report, &summary(&report, base.record.root_used_bytes, arguments.format))?;
    Ok(ExitCode::SUCCESS)
}

/// The lab image of one seed, in the usual place; for `builder run`.
pub(super) fn build_one(
    context: &Context,
    seed: &Path,
    reach: &ReachArguments,
) -> Result<PathBuf, Box<dyn Error>> {
    let arguments = Arguments {
        seed: vec![seed.to_owned()],
        image: "lab".to_owned(),
        out: PathBuf::from("out"),
        format: Format::Raw,
        reach: reach.clone(),
        k3s: None,
        locked: false,
        anew: false,
    };
    let built = build(&arguments.request(context)?, &context.progress)?;
    built.images.into_iter().next().map(|image| image.path).ok_or_else(|| "nothing built".into())
}

/// What was made, how large, how long, and what to type next.
fn summary(report: &Report, root_bytes: u64, format: Format) -> String {
    let root = readable_bytes(root_bytes);
    let what = if format == Format::Raw { "disk" } else { "file" };
    let image = |image: &BuiltImage| {
        let (path, file) = (image.path.display(), readable_bytes(image.bytes));
        format!("{path}  {file} {what}, {root} root, verity {}…", &image.verity_root[..12])
    };
    let mut lines: Vec<String> = report.images.iter().map(image).collect();
    lines.push(format!("{} packages, {:.1} s", report.packages, report.seconds));
    lines.extend(report.images.first().map(|image| {
        let path = image.path.display();
        match format {
            Format::Raw => format!("next: builder run {path}"),
            Format::RawZst => format!("next: builder flash {path} DEVICE"),
            Format::Qcow2 => "next: give it to a virtual machine that starts by UEFI".to_owned(),
        }
    }));
    lines.join("\n")
}
