//! `builder seed`: whose image or device it is, and making it another node's.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use seed::scalar::REDACTED;
use serde::Serialize;
use toml_edit::{DocumentMut, Item, Table, value};

use super::{Context, Outcome};
use crate::build::seeds;
use crate::device::{DeviceFacts, Identity, Machine, Refusal, Source, Target, identify, replace};
use crate::unfinished::Unfinished;

/// Show or change whose image or device it is
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  builder seed out/edge-node1.raw\n  \
    builder seed out/edge-node1.raw --set node2.toml\n  \
    sudo builder seed /dev/sdb --export node1-sealed.toml")]
pub(super) struct Arguments {
    /// An image, or a device that one was written to
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// Give it this seed; secrets are added from the folder beside the seed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["show", "export"])]
    set: Option<PathBuf>,
    /// Print the seed, without its secrets
    #[arg(long)]
    show: bool,
    /// Write the seed, with its secrets, to a private file
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report<'a> {
    image: &'a Path,
    /// Null if the image has no seed, or not a good one.
    node: Option<String>,
    cluster: Option<String>,
    format: Option<u32>,
    /// Whether the seed has its secrets.
    sealed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<seed::Problems>,
    /// The text, redacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exported: Option<&'a Path>,
}

#[derive(Serialize)]
struct SetReport<'a> {
    image: &'a Path,
    node: String,
    /// Whose image it was before.
    replaced: Option<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    match &arguments.set {
        Some(seed) => set(context, &arguments.image, seed),
        None => show(context, arguments),
    }
}

fn show(context: &Context, arguments: &Arguments) -> Outcome {
    let image = &arguments.image;
    let source = Source::open(image, &context.progress)?;
    let identity = identify(&source)?;
    let mut lines = vec![match &identity {
        None => format!("{}: no seed yet", image.display()),
        Some(Identity { seed: Ok(seed), .. }) => {
            let sealed = if seed.secrets.is_some() { "with" } else { "without" };
            let (node, cluster) = (&seed.node.name, &seed.cluster.name);
            format!("{}: {node} in {cluster}, {sealed} its secrets", image.display())
        }
        Some(Identity { seed: Err(problems), .. }) => problems.to_string(),
    }];
    let redacted = identity.as_ref().filter(|_| arguments.show).map(|it| redacted(&it.text));
    lines.extend(redacted.iter().map(|redacted| format!("\n{redacted}")));
    if let Some(path) = &arguments.export {
        let Some(identity) = &identity else {
            return Err(format!("{}: there is no seed to export", image.display()).into());
        };
        export(path, &identity.text)?;
        lines.push(format!("exported with its secrets to {}", path.display()));
    }
    let good = identity.as_ref().is_none_or(|identity| identity.seed.is_ok());
    let (seed, problems) = match identity.map(|identity| identity.seed) {
        Some(Ok(seed)) => (Some(seed), None),
        Some(Err(problems)) => (None, Some(problems)),
        None => (None, None),
    };
    let seed = seed.as_deref();
    let report = Report {
        image,
        node: seed.map(|seed| seed.node.name.to_string()),
        cluster: seed.map(|seed| seed.cluster.name.to_string()),
        format: seed.map(|seed| seed.format.get()),
        sealed: seed.is_some_and(|seed| seed.secrets.is_some()),
        problems,
        seed: redacted,
        exported: arguments.export.as_deref(),
    };
    context.print(&report, &lines.join("\n"))?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn set(context: &Context, image: &Path, seed_path: &Path) -> Outcome {
    let source = Source::open(image, &context.progress)?;
    let machine = Machine::read(Path::new("/"))?;
    let facts = DeviceFacts::of_path(image, &machine)?;
    if !facts.uses.is_empty() {
        let lines = facts.uses.iter().map(|it| format!("\n  {}", Refusal::InUse(it.clone())));
        let lines: String = lines.collect();
        return Err(format!("{} is in use:{lines}", image.display()).into());
    }
    // A volume that can't be read, as after a power cut, is a reason to write it and not to refuse.
    let replaced = identify(&source).ok().flatten().and_then(|identity| identity.seed.ok());
    let (_, checked) = seeds::read(seed_path)?;
    let sealed = seeds::seal_all(&[seed_path.to_owned()], &context.progress)?;
    let Some(sealed) = sealed.into_iter().next() else {
        return Err(format!("{}: no seed", seed_path.display()).into());
    };
    let target = Target::open(image, &facts)?;
    replace(&source, &target, checked.format.get(), &sealed.text)?;
    let report = SetReport {
        image,
        node: sealed.node,
        replaced: replaced.map(|seed| seed.node.name.to_string()),
    };
    let before = report.replaced.as_deref().map_or(String::new(), |was| format!(", was {was}"));
    let text = format!("{}: now {}{before}\n", image.display(), report.node);
    context.print(&report, &text)?;
    Ok(ExitCode::SUCCESS)
}

/// The seed as it may be shown: each secret keeps its key and loses its value. A text that is no
/// TOML isn't shown at all, since nobody can tell what in it is secret.
fn redacted(text: &str) -> String {
    let Ok(mut document) = text.parse::<DocumentMut>() else {
        return format!("# {REDACTED}: the seed is no valid TOML\n");
    };
    match document.get_mut("secrets") {
        None => {}
        Some(Item::Table(table)) => redact_table(table),
        Some(other) => *other = value(REDACTED),
    }
    document.to_string()
}

fn redact_table(table: &mut Table) {
    for (_, item) in table.iter_mut() {
        match item {
            Item::Table(inner) => redact_table(inner),
            other => *other = value(REDACTED),
        }
    }
}

/// Writes a file that only its owner can read, and none over another.
fn export(path: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    if path.symlink_metadata().is_ok() {
        return Err(format!("{} exists: name another file", path.display()).into());
    }
    let unfinished = Unfinished::create_private(path)?;
    let written = unfinished.file().write_all(text.as_bytes());
    written.map_err(|error| format!("{}: {error}", path.display()))?;
    unfinished.finish_new()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_keep_their_keys_and_lose_their_values() {
        let text = "name = \"n\" # stays\n[secrets]\nkey = \"\"\"\nSECRET\n\"\"\"\n\
                    pair = { a = \"SECRET\" }\n[secrets.map]\nvip = \"SECRET\"\n";
        let shown = redacted(text);
        assert!(!shown.contains("SECRET"), "{shown}");
        assert!(shown.starts_with("name = \"n\" # stays\n"), "{shown}");
        assert!(shown.contains("key = \"(redacted)\"") && shown.contains("vip = \"(redacted)\""));
        assert!(!redacted("[secrets]\nkey = SECRET").contains("SECRET"));
        assert!(!redacted("secrets = [\"SECRET\"]").contains("SECRET"));
        assert!(!redacted("secrets.key = \"SECRET\"").contains("SECRET"));
    }
}
