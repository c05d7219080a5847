//! `builder run`: boots images in QEMU, in this terminal.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;
use disk::boot::Slot;

use super::build::ReachArguments;
use super::{Context, Outcome};
use crate::image::open::OpenImage;
use crate::image::packed;
use crate::image::sparse;
use crate::qemu::accelerate;
use crate::qemu::command::{Acceleration, Bus, Card, Console, Disk, Machine, Start};
use crate::qemu::forward;
use crate::qemu::program::Qemu;
use crate::root::size::ByteSize;
use crate::unfinished::{Running, Scratch, Unfinished, UnfinishedError};

/// The disk that a node gets unless asked otherwise: room for a state partition.
const DISK_BYTES: u64 = 4 << 30;

/// Boot an image in QEMU, with its console in this terminal
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  builder run out/lab-node1.raw\n  \
    builder run --seed images/lab/node1.toml\n  builder run out/lab-node1.raw --uefi\n  \
    builder run out/lab-node1.raw --forward\n\n\
    Ctrl-A X ends the machine; Ctrl-A C switches to QEMU's monitor and back.\n\
    The image is not changed, unless --keep names where the disk goes.")]
pub(super) struct Arguments {
    /// The image to boot: raw or raw.zst
    #[arg(value_name = "IMAGE", required_unless_present = "seed", conflicts_with = "seed")]
    image: Option<PathBuf>,
    /// Build the lab image of this seed first, then boot it
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// Boot as hardware does: firmware, boot loader, kernel
    #[arg(long)]
    uefi: bool,
    /// Memory of the machine
    #[arg(long, default_value = "1GiB")]
    memory: ByteSize,
    /// Processors of the machine
    #[arg(long, default_value_t = 2)]
    processors: u32,
    /// What the machine's disk hangs on
    #[arg(long, value_enum, default_value_t = BusChoice::Virtio)]
    bus: BusChoice,
    /// Keep the machine's disk in this file; once it is there, all is taken from it, and IMAGE isn't
    /// looked at
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// Let `nodectl --node 127.0.0.1:PORT` on this desk reach the node
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "7432")]
    forward: Option<u16>,
    /// Do not probe: run with or without KVM
    #[arg(long, value_enum)]
    acceleration: Option<AccelerationChoice>,
    #[command(flatten)]
    reach: ReachArguments,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum AccelerationChoice {
    Kvm,
    Tcg,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum BusChoice {
    Virtio,
    Nvme,
    Sata,
    Usb,
    Sd,
}

impl From<BusChoice> for Bus {
    fn from(choice: BusChoice) -> Self {
        match choice {
            BusChoice::Virtio => Self::Virtio,
            BusChoice::Nvme => Self::Nvme,
            BusChoice::Sata => Self::Sata,
            BusChoice::Usb => Self::Usb,
            BusChoice::Sd => Self::Sd,
        }
    }
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let kept = arguments.keep.as_deref().filter(|kept| kept.exists());
    // A disk has the root of its own kernel, and another one's would not find it.
    let image = match kept {
        Some(kept) => OpenImage::open(kept)?,
        None => packed::open(&image_of(context, arguments)?, &context.progress)?.0,
    };
    let cache = context.cache()?;
    let qemu = Qemu::find(&cache, &arguments.reach.reach(false), &context.progress)?;
    let folder = Scratch::within(&std::env::temp_dir(), "edgepair-run-")?;
    let kernel_path = folder.path().join("kernel");
    let (start, kernel) = prepare_start(&image, &qemu, arguments.uefi, folder.path())?;
    fs::write(&kernel_path, kernel)?;
    let acceleration = match arguments.acceleration {
        Some(AccelerationChoice::Kvm) => Acceleration::Kvm,
        Some(AccelerationChoice::Tcg) => Acceleration::Tcg,
        None => accelerate::probe(&qemu, &kernel_path, &cache),
    };
    let disk = match kept {
        Some(kept) => kept.to_owned(),
        None => prepare_disk(&image, arguments.keep.as_deref(), folder.path())?,
    };
    let machine = Machine {
        name: image.path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        acceleration,
        memory_mib: u32::try_from(arguments.memory.bytes() >> 20)?,
        processors: arguments.processors,
        start,
        disks: vec![Disk { bus: arguments.bus.into(), ..Disk::from(disk) }],
        sockets: false,
        watchdog: false,
        cards: cards(&image, arguments.forward)?,
        channels: Vec::new(),
        console: if io::stdin().is_terminal() { Console::Terminal } else { Console::Output },
        control: None,
        clock: None,
        end_on_restart: false,
        incoming: false,
    };
    if let Some(kept) = kept {
        context.progress.note(&already_kept(kept, arguments));
    }
    context.progress.note(&format!("{} with {acceleration:?}; Ctrl-A X ends it", qemu.describe()));
    wait_for(qemu.command(&machine))
}

/// The image that was named, or that of the seed, built first.
fn image_of(context: &Context, arguments: &Arguments) -> Result<PathBuf, Box<dyn Error>> {
    match (&arguments.image, &arguments.seed) {
        (Some(image), _) => Ok(image.clone()),
        (None, Some(seed)) => super::build::build_one(context, seed, &arguments.reach),
        (None, None) => Err("name an image, or a seed with --seed".into()),
    }
}

/// What is to be known of a disk that was kept by an earlier run.
fn already_kept(kept: &Path, arguments: &Arguments) -> String {
    let named = arguments.image.as_ref().or(arguments.seed.as_ref());
    let named = named.map(|path| path.display().to_string()).unwrap_or_default();
    format!(
        "{} is booted as it was left, and {named} was not looked at: remove the former to begin \
         with the latter",
        kept.display()
    )
}

/// What starts the machine, and its kernel, which the probe wants too.
fn prepare_start(
    image: &OpenImage,
    qemu: &Qemu,
    uefi: bool,
    folder: &Path,
) -> Result<(Start, Vec<u8>), Box<dyn Error>> {
    let kernel = image.kernel(Slot::A)?;
    let linux = image.section(&kernel, ".linux")?.to_vec();
    if uefi {
        let (firmware, template) = qemu.firmware()?;
        let variables = folder.join("variables");
        fs::copy(template, &variables)?;
        return Ok((Start::Uefi { firmware, variables }, linux));
    }
    let initramfs = folder.join("initramfs");
    fs::write(&initramfs, image.section(&kernel, ".initrd")?)?;
    let start = Start::Direct {
        kernel: folder.join("kernel"),
        initramfs: Some(initramfs),
        command_line: kernel.command_line,
    };
    Ok((start, linux))
}

/// The machine's own new disk: a copy, so that the image stays what was built.
fn prepare_disk(
    image: &OpenImage,
    keep: Option<&Path>,
    folder: &Path,
) -> Result<PathBuf, Box<dyn Error>> {
    let Some(kept) = keep else {
        let path = folder.join("disk.raw");
        copy_with_room(image, &File::create_new(&path)?)?;
        return Ok(path);
    };
    // It is booted whenever it is there, so it must not be there before it is whole.
    let disk = Unfinished::create_private(kept)?;
    copy_with_room(image, disk.file())
        .map_err(|source| UnfinishedError::Finish { path: kept.to_owned(), source })?;
    Ok(disk.finish_new()?)
}

/// The image on a disk that has room for a state partition.
fn copy_with_room(image: &OpenImage, disk: &File) -> io::Result<()> {
    sparse::copy(&image.file, disk)?;
    if image.bytes < DISK_BYTES { disk.set_len(DISK_BYTES) } else { Ok(()) }
}

/// One card for each link that the seed matches by hardware address, on a network of its own.
fn cards(image: &OpenImage, forward: Option<u16>) -> Result<Vec<Card>, Box<dyn Error>> {
    let partition = image.partition(crate::image::layout::Part::Seed)?;
    let Some(text) = crate::image::identity::read(&image.file, partition)? else {
        return Ok(Vec::new());
    };
    let Ok(seed) = seed::parse("the image's seed", &text) else {
        return Ok(Vec::new());
    };
    let macs = seed.links.iter().filter_map(|link| link.r#match.as_ref()?.mac.as_ref());
    let card = |mac: &seed::scalar::MacAddress| Card {
        mac: mac.to_string(),
        backend: "user,restrict=on".to_owned(),
    };
    let mut cards: Vec<Card> = macs.map(card).collect();
    if let Some(port) = forward {
        let open = forward::card(&seed, port);
        let open = open.ok_or("--forward needs a link with an IPv4 address and a MAC to match")?;
        cards.retain(|card| card.mac != open.mac);
        cards.insert(0, open);
    }
    Ok(cards)
}

/// Runs QEMU to its end, or to ours.
fn wait_for(mut command: Command) -> Outcome {
    let status = Running::spawn(&mut command)?.wait()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
