//! `builder flash`: an image onto a disk, after a good look at that disk.

use std::error::Error;
use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{Context, Outcome};
use crate::device::{
    DeviceFacts, ImageFacts, Kind, Machine, Refusal, SeedState, Source, Target, flash, refusals,
    warnings,
};
use crate::progress::readable_bytes;

/// Write an image to a disk or a file, and read it back
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  sudo builder flash out/edge-node1.raw /dev/sdb\n  \
    builder flash out/lab-node1.raw disk.raw --force --yes\n\n\
    A disk that is mounted, in use, too small, or that this machine runs from is refused,\n\
    whatever the flags. The partition table is written last: after Ctrl-C the disk has no\n\
    partitions.")]
pub(super) struct Arguments {
    /// The image: raw or raw.zst
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// The disk, such as /dev/sdb, or a file
    #[arg(value_name = "DEVICE")]
    device: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Write even a lab image
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    image: &'a Path,
    device: &'a Path,
    /// The node that the image is; null if it has no good seed.
    node: Option<String>,
    /// Whose node that is.
    cluster: Option<String>,
    bytes: u64,
    disk_bytes: u64,
    seconds: f64,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let Arguments { image, device, .. } = arguments;
    let source = Source::open_file(image, &context.progress)?;
    let machine = Machine::read(Path::new("/"))?;
    let device_facts = DeviceFacts::of_path(device, &machine)?;
    if is_same_file(image, device) {
        return Err(format!("{} is the image itself: name a device", device.display()).into());
    }
    let image_facts = source.facts()?;
    let found = refusals(&device_facts, &image_facts);
    let left: Vec<&Refusal> =
        found.iter().filter(|it| !(arguments.force && it.yields_to_force())).collect();
    if !left.is_empty() {
        let lines: Vec<String> = left.iter().map(|refusal| format!("\n  {refusal}")).collect();
        return Err(
            format!("nothing was written to {}:{}", device.display(), lines.concat()).into()
        );
    }
    eprintln!("{}", description(&source, &image_facts, &device_facts));
    for warning in warnings(&image_facts) {
        eprintln!("warning: {warning}");
    }
    if !arguments.yes {
        confirm(&device_facts)?;
    }
    let target = Target::open(device, &device_facts)?;
    let flashed = flash(&source, target, device_facts.bytes, &context.progress)?;
    let (node, cluster) = match image_facts.seed {
        SeedState::Node { node, cluster } => (Some(node), Some(cluster)),
        SeedState::Empty | SeedState::Bad => (None, None),
    };
    let report = Report {
        image,
        device,
        node,
        cluster,
        bytes: flashed.bytes,
        disk_bytes: flashed.disk_bytes,
        seconds: flashed.seconds,
    };
    context.print(&report, &summary(&report, &device_facts))?;
    Ok(ExitCode::SUCCESS)
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

/// What the user is about to overwrite, and with what.
fn description(source: &Source, image: &ImageFacts, device: &DeviceFacts) -> String {
    let Source { name, version, .. } = source;
    let ImageFacts { seed, bytes, .. } = image;
    let mut lines = vec![format!("image   {name} {version} ({seed}), {}", readable_bytes(*bytes))];
    let maker = [&device.vendor, &device.model].into_iter().flatten().cloned();
    let mut words: Vec<String> = maker.collect();
    words.extend(device.bytes.map(readable_bytes));
    words.extend(device.serial.iter().map(|serial| format!("serial {serial}")));
    words.extend(device.transport.map(str::to_owned));
    if device.removable {
        words.push("removable".to_owned());
    }
    if device.kind == Kind::File {
        words.push(if device.bytes.is_some() { "a file" } else { "a new file" }.to_owned());
    }
    lines.push(format!("device  {}: {}", device.path().display(), words.join(", ")));
    lines.extend(device.partitions.iter().map(|partition| {
        format!("        {} {}", partition.name, readable_bytes(partition.bytes))
    }));
    lines.join("\n")
}

/// Wants the device's name, or yes, from a person.
fn confirm(device: &DeviceFacts) -> Result<(), Box<dyn Error>> {
    if !io::stdin().is_terminal() {
        return Err("there is no terminal to ask on: look again, then add --yes".into());
    }
    let name = device.name.as_str();
    eprint!("Everything on {name} will be lost. Type {name} or yes to go on: ");
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let answer = line.trim();
    if answer == name || answer == "yes" || Path::new(answer) == device.path() {
        Ok(())
    } else {
        Err("nothing was written".into())
    }
}

fn summary(report: &Report<'_>, device: &DeviceFacts) -> String {
    let seconds = report.seconds;
    let device_path = report.device.display();
    let next = match device.kind {
        Kind::File => format!("next: builder run {device_path}"),
        Kind::Disk | Kind::Partition { .. } => format!(
            "next: unplug it, or let the kernel read the new partition table with\n      \
             blockdev --rereadpt {device_path}"
        ),
    };
    let bytes = readable_bytes(report.bytes);
    format!("{device_path}  wrote {bytes} and read it back alike, {seconds:.1} s\n{next}")
}
