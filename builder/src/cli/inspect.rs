//! `builder inspect`: what is in an image?

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use disk::verity::to_hex;
use serde::Serialize;

use super::{Context, Outcome};
use crate::image::packed;
use crate::read::inspect::{FileFacts, inspect};
use crate::read::root::Root;
use crate::read::sbom::{Format, sbom};
use crate::root::tree::Origin;

/// A chain of needs that is longer than this is a circle.
const MAX_NEEDS: usize = 64;

/// Say what is in an image
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  builder inspect out/lab-node1.raw\n  \
    builder inspect out/lab-node1.raw --why /usr/lib/x86_64-linux-gnu/libpq.so.5\n  \
    builder inspect out/lab-node1.raw --sbom cyclonedx > sbom.json")]
pub(super) struct Arguments {
    /// The image (raw or raw.zst) or device to look at
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// Say which overlay, package or program's need put this path there
    #[arg(long, value_name = "PATH", conflicts_with_all = ["sbom", "files"])]
    why: Option<String>,
    /// List every file
    #[arg(long, conflicts_with = "sbom")]
    files: bool,
    /// Print a software bill of materials as JSON instead
    #[arg(long, value_name = "FORMAT")]
    sbom: Option<SbomFormat>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SbomFormat {
    /// SPDX 2.3
    Spdx,
    /// `CycloneDX` 1.6
    Cyclonedx,
}

#[derive(Serialize)]
struct Why {
    #[serde(flatten)]
    file: FileFacts,
    /// Who needs it, who needs that one, and so on.
    because: Vec<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let (image, _) = packed::open(&arguments.image, &context.progress)?;
    let (inspection, root) = inspect(&image, arguments.files);
    let sound = if inspection.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let no_root = || inspection.faults.join("\n");
    if let Some(path) = &arguments.why {
        let why = why(&root.ok_or_else(no_root)?, path)?;
        context.print(&why, &why.text())?;
        return Ok(sound);
    }
    if let Some(format) = arguments.sbom {
        let root = root.ok_or_else(no_root)?;
        let format = match format {
            SbomFormat::Spdx => Format::Spdx,
            SbomFormat::Cyclonedx => Format::CycloneDx,
        };
        let verity = inspection.slots.first().map(|slot| slot.verity_root.clone());
        let document = sbom(format, &root.manifest, &verity.unwrap_or_else(|| to_hex(&[0; 32])));
        context.print(&document, &serde_json::to_string_pretty(&document)?)?;
        return Ok(sound);
    }
    context.print(&inspection, &inspection.text())?;
    Ok(sound)
}

fn why(root: &Root, path: &str) -> Result<Why, String> {
    let path = path.trim_end_matches('/');
    let path = if path.is_empty() { "/" } else { path };
    let entry = root.files.get(path).ok_or_else(|| {
        format!("{path} is not in the image; --files lists what is, by its path without links")
    })?;
    let origins = root.origins.as_ref();
    let origins = origins.ok_or("the image does not list its origins: build it anew")?;
    let file = FileFacts::new(entry, origins.get(path));
    let mut because = Vec::new();
    let mut next = origins.get(path);
    while let Some(Origin::Library { needed_by, .. }) = next
        && because.len() < MAX_NEEDS
    {
        next = origins.get(needed_by.as_str());
        let origin = next.map_or_else(|| "unknown".to_owned(), ToString::to_string);
        because.push(format!("{needed_by} is from {origin}"));
    }
    Ok(Why { file, because })
}

impl Why {
    fn text(&self) -> String {
        let FileFacts { path, kind, origin, .. } = &self.file;
        let origin = origin.as_deref().unwrap_or("unknown");
        let mut text = format!("{path}: {kind} from {origin}\n");
        for reason in &self.because {
            // Writing to a string does not fail.
            let _written = writeln!(text, "  {reason}");
        }
        text
    }
}
