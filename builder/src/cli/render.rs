//! `builder render`: the files that a node would have, on the desk.
//!
//! The overlays' templates go through the code that the node runs at boot. Without `--with-secrets`
//! no secret is read or made: those that the node needs are shown by their names, and those that
//! only a person can add to a site's folder count as absent unless the seed itself has them.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use seed::Secrets;
use seed::manifest::{Manifest, Template};
use seed::render::{Rendered, context as template_context, render_all};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Context, Outcome};
use crate::build::seeds;
use crate::root::definition::Definition;
use crate::root::overlay::{self, Overlay};
use crate::unfinished::Unfinished;

/// Nobody else may look before a file has its own mode.
const PRIVATE: u32 = 0o600;

/// Show the files that a node makes from its seed when it boots
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  builder render --seed node1.toml\n  \
    builder render --seed node1.toml --path /etc/haproxy/haproxy.cfg\n  \
    builder render --seed node1.toml --out rendered --with-secrets")]
pub(super) struct Arguments {
    /// The seed file
    #[arg(long, value_name = "FILE")]
    seed: PathBuf,
    /// The image definition: a name in images/ or the path of a .toml file
    #[arg(long, default_value = "lab")]
    image: String,
    /// Only this file, and nothing but its content
    #[arg(long, value_name = "PATH", conflicts_with = "out")]
    path: Option<String>,
    /// Write the files below this folder instead of printing them
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Show the secrets too
    #[arg(long)]
    with_secrets: bool,
}

#[derive(Serialize)]
struct Report {
    node: String,
    files: Vec<FileReport>,
    /// Files that this node doesn't have, and the key of the seed that would bring them.
    absent: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct FileReport {
    path: String,
    mode: String,
    user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    text: String,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let (text, mut seed) = seeds::read(&arguments.seed)?;
    let project = context.project()?;
    let definition = Definition::load(&project.image_definition(&arguments.image)?)?;
    let overlays = overlay::load_all(&project.overlays_of(&definition.path), &definition.overlays)?;
    if arguments.with_secrets && seed.secrets.is_none() {
        let sealed = seeds::seal_all(std::slice::from_ref(&arguments.seed), &context.progress)?;
        let text = sealed.into_iter().next().map_or(text, |sealed| sealed.text);
        let name = arguments.seed.display().to_string();
        seed = seed::parse(&name, &text).map_err(|problems| problems.to_string())?;
    }
    let mut values = template_context(&seed);
    if !arguments.with_secrets {
        values["secrets"] = masked(&seed);
    }
    let manifest = manifest_of(&definition, &overlays);
    let files = render_all(&manifest, &values, &|source| read_source(&overlays, source))?;
    let is_absent = |template: &&Template| {
        !files.iter().any(|file| file.path == template.path.as_str()) && template.when.is_some()
    };
    let absent = manifest
        .templates
        .iter()
        .filter(is_absent)
        .map(|template| (template.path.to_string(), template.when.clone().unwrap_or_default()));
    let report = Report {
        node: seed.node.name.to_string(),
        absent: absent.collect(),
        files: files.into_iter().map(file_report).collect(),
    };
    match (&arguments.path, &arguments.out) {
        (Some(path), _) => {
            let chosen = choose(report, path)?;
            let text = chosen.files.first().map_or(String::new(), |file| file.text.clone());
            context.print(&chosen, &text)?;
        }
        (None, Some(folder)) => {
            let text = write_all(&report, folder)?;
            context.print(&report, &text)?;
        }
        (None, None) => context.print(&report, &listing(&report))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The part of the image's manifest that says what is rendered.
fn manifest_of(definition: &Definition, overlays: &[Overlay]) -> Manifest {
    let architecture = definition.architecture.debian();
    let mut manifest = Manifest::new(&definition.name, &definition.version, architecture, 0);
    manifest.templates = overlays.iter().flat_map(Overlay::templates).collect();
    manifest
}

/// A template's text, by the name that it has in a manifest.
fn read_source(overlays: &[Overlay], source: &str) -> io::Result<String> {
    let absent = || io::Error::from(io::ErrorKind::NotFound);
    let (name, file) = source.split_once('/').ok_or_else(absent)?;
    let overlay = overlays.iter().find(|overlay| overlay.name == name).ok_or_else(absent)?;
    let bytes = overlay.template(file).map_err(io::Error::other)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// In the place of each secret that the node has or will be given, its name.
fn masked(seed: &seed::Seed) -> Value {
    let mut secrets = seed.secrets.clone().unwrap_or_default().expose();
    for needed in Secrets::needed_by(seed) {
        let mut place = &mut secrets;
        for part in needed.key.split('.') {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[part];
        }
        *place = Value::String(String::new());
    }
    mask(&mut secrets, "");
    secrets
}

fn mask(value: &mut Value, key: &str) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let dot = if key.is_empty() { "" } else { "." };
                mask(inner, &format!("{key}{dot}{name}"));
            }
        }
        // Null is a secret that this node does without, and templates ask for that.
        Value::Null => {}
        other => *other = Value::String(format!("<secret {key}>")),
    }
}

fn file_report(file: Rendered) -> FileReport {
    let mode = format!("{:04o}", file.mode.bits());
    FileReport { path: file.path, mode, user: file.user, group: file.group, text: file.text }
}

fn choose(mut report: Report, path: &str) -> Result<Report, Box<dyn Error>> {
    if let Some(at) = report.files.iter().position(|file| file.path == path) {
        let file = report.files.swap_remove(at);
        return Ok(Report { files: vec![file], absent: BTreeMap::new(), ..report });
    }
    if let Some(when) = report.absent.get(path) {
        let node = &report.node;
        return Err(format!("{node} has no {path}: it is for nodes with {when}").into());
    }
    let known: Vec<&str> = report.files.iter().map(|file| file.path.as_str()).collect();
    Err(format!("no template makes {path}; there are {}", known.join(", ")).into())
}

fn listing(report: &Report) -> String {
    let file = |FileReport { path, mode, user, group, text }: &FileReport| {
        let owner = group.as_ref().map_or(user.clone(), |group| format!("{user}:{group}"));
        let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
        format!("==> {path} ({mode} {owner}) <==\n{text}{end}")
    };
    let mut parts: Vec<String> = report.files.iter().map(file).collect();
    parts.extend(
        report
            .absent
            .iter()
            .map(|(path, when)| format!("not on this node: {path} (for nodes with {when})")),
    );
    parts.join("\n")
}

fn write_all(report: &Report, folder: &Path) -> Result<String, Box<dyn Error>> {
    let mut written_paths = Vec::new();
    for file in &report.files {
        let path = folder.join(file.path.trim_start_matches('/'));
        let unfinished = Unfinished::create_private(&path)?;
        // Set-id bits mean nothing on a desk.
        let mode = u32::from_str_radix(&file.mode, 8).unwrap_or(PRIVATE) & 0o777;
        let mut content = unfinished.file();
        let written = content
            .write_all(file.text.as_bytes())
            .and_then(|()| content.set_permissions(Permissions::from_mode(mode)));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
        unfinished.finish()?;
        written_paths.push(path.display().to_string());
    }
    Ok(written_paths.join("\n"))
}
