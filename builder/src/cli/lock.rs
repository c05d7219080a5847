//! `builder lock`: exactly which packages, and which files of K3s, an image is made of from now on.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::build::ReachArguments;
use super::diff::DIFFERENT;
use super::{Context, Outcome};
use crate::build::source::{Source, lock_path};
use crate::build::{BuildError, obtain_k3s};
use crate::debian::Lock;
use crate::k3s::{K3sError, LockedArtifact};
use crate::root::definition::Definition;
use crate::root::overlay::{self, Overlay};

/// What is said when a lock is made where K3s can't be had.
const KEPT: &str = "warning: K3s can't be had here (no network, or --offline, and not in the cache): \
    what the lock has of that release stays; --k3s PATH takes its files from elsewhere";

/// What is said when a release is locked in part.
const WITHOUT_IMAGES: &str = "warning: K3s is locked without its container images: --locked builds then \
    only with a --k3s PATH that has none beside it";

/// Write down exact versions and hashes of an image's packages, and of its K3s
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  builder lock --image edge\n  \
    builder lock --image edge --check\n  builder build --image edge --seed node1.toml --locked\n\n\
    With --check nothing is written; the exit code is 3 if the archive has moved on.\n\
    Where K3s is out of reach, what the lock has of the same release stays.")]
pub(super) struct Arguments {
    /// The image definition: a name in images/ or the path of a .toml file
    #[arg(long, default_value = "lab")]
    image: String,
    /// Only say what has changed in the archive since the lock was written
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    reach: ReachArguments,
    /// A K3s binary, or a folder with the files of its release, instead of downloading it
    #[arg(long, value_name = "PATH")]
    k3s: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    path: PathBuf,
    packages: usize,
    /// Files of K3s.
    artifacts: usize,
    /// Whether the lock is what the archive has now.
    current: bool,
    changes: Vec<Change>,
}

/// A package, or a file of K3s, that the lock and the archive disagree about.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Change {
    package: String,
    locked: Option<String>,
    archive: Option<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Outcome {
    let project = context.project()?;
    let definition = Definition::load(&project.image_definition(&arguments.image)?)?;
    let overlays = overlay::load_all(&project.overlays_of(&definition.path), &definition.overlays)?;
    let path = lock_path(&definition);
    // A lock that can't be read is what writing a new one mends.
    let old = if arguments.check { Some(Lock::load(&path)?) } else { Lock::load(&path).ok() };
    let reach = arguments.reach.reach(false);
    let source = Source::open(&definition, &reach, &context.cache()?, &context.progress)?;
    let mut lock = source.lock(&source.resolve(&definition, &overlays)?);
    let k3s =
        obtain_k3s(arguments.k3s.as_deref(), &definition, &overlays, &source, &context.progress);
    lock.artifacts = match k3s {
        Ok(files) => {
            if files.as_ref().is_some_and(|files| files.images.is_none()) {
                context.progress.warn(WITHOUT_IMAGES);
            }
            files.map(|files| files.artifacts).unwrap_or_default()
        }
        Err(error) => {
            let kept = kept_artifacts(&error, old.as_ref(), &overlays).ok_or(error)?;
            context.progress.warn(KEPT);
            kept
        }
    };
    let changes = old.as_ref().map(|old| changes(old, &lock)).unwrap_or_default();
    if !arguments.check {
        lock.save(&path)?;
    }
    let report = Report {
        path,
        packages: lock.packages.len(),
        artifacts: lock.artifacts.len(),
        current: !arguments.check || changes.is_empty(),
        changes,
    };
    context.print(&report, &report.text(arguments.check))?;
    Ok(if report.current { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

/// What the old lock has of the release that the overlays want, if that is all that can be had.
fn kept_artifacts(
    error: &BuildError,
    old: Option<&Lock>,
    overlays: &[Overlay],
) -> Option<Vec<LockedArtifact>> {
    let is_out_of_reach =
        matches!(error, BuildError::K3s(K3sError::Unreachable { .. } | K3sError::Offline { .. }));
    let pin = overlays.iter().find_map(|overlay| overlay.manifest.k3s.as_ref())?;
    let is_of_release = |artifact: &&LockedArtifact| version_and_file(artifact).0 == pin.version;
    let kept: Vec<_> = old?.artifacts.iter().filter(is_of_release).cloned().collect();
    (is_out_of_reach && !kept.is_empty()).then_some(kept)
}

/// The two parts of a name such as `v1.37.1+k3s1/k3s`.
fn version_and_file(artifact: &LockedArtifact) -> (&str, &str) {
    artifact.name.rsplit_once('/').unwrap_or(("", artifact.name.as_str()))
}

fn changes(old: &Lock, new: &Lock) -> Vec<Change> {
    let of_artifact = |artifact: &LockedArtifact| {
        let (version, file) = version_and_file(artifact);
        (file.to_owned(), (version.to_owned(), artifact.sha256.to_string()))
    };
    let by_name = |lock: &Lock| -> BTreeMap<String, (String, String)> {
        let packages = lock.packages.iter();
        packages
            .map(|one| (one.name.clone(), (one.version.to_string(), one.sha256.to_string())))
            .chain(lock.artifacts.iter().map(of_artifact))
            .collect()
    };
    let (locked, archive) = (by_name(old), by_name(new));
    let mut names: Vec<&String> = locked.keys().chain(archive.keys()).collect();
    names.sort();
    names.dedup();
    let version = |one: Option<&(String, String)>| one.map(|(version, _)| version.clone());
    names
        .into_iter()
        .filter(|name| locked.get(*name) != archive.get(*name))
        .map(|name| Change {
            package: name.clone(),
            locked: version(locked.get(name)),
            archive: version(archive.get(name)),
        })
        .collect()
}

impl Report {
    fn text(&self, check: bool) -> String {
        let path = self.path.display();
        let k3s = if self.artifacts == 0 { "" } else { " and K3s" };
        let packages = format!("{} packages{k3s}", self.packages);
        let mut text = match (check, self.current) {
            (false, _) => format!("{packages} locked in {path}\n"),
            (true, true) => format!("{path} is what the archive has: {packages}\n"),
            (true, false) => {
                format!("{path} is behind the archive; `builder lock` writes it anew\n")
            }
        };
        for Change { package, locked, archive } in &self.changes {
            let or_none = |version: &Option<String>| version.clone().unwrap_or("none".to_owned());
            let (from, to) = (or_none(locked), or_none(archive));
            // Writing to a string does not fail.
            let _written = writeln!(text, "  {package}: {from} -> {to}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(packages: &[(&str, &str, char)]) -> Lock {
        let mut text = String::from("format = 1\ndate = 1\n");
        for (name, version, digit) in packages {
            let sha256 = digit.to_string().repeat(64);
            let _written = writeln!(
                text,
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsha256 = \"{sha256}\"\n\
                 architecture = \"amd64\"\nsource = \"s\"\nsource_version = \"1\"\n\
                 filename = \"pool/{name}.deb\"\nsize = 1\n"
            );
        }
        toml::from_str(&text).expect("a lock")
    }

    #[test]
    fn added_removed_newer_and_rebuilt_packages_are_changes() {
        let old = lock(&[("gone", "1", 'a'), ("newer", "1", 'a'), ("same", "1", 'a')]);
        let new = lock(&[("added", "2", 'a'), ("newer", "2", 'b'), ("same", "1", 'a')]);
        let found = changes(&old, &new);
        let change = |package: &str, locked: Option<&str>, archive: Option<&str>| Change {
            package: package.to_owned(),
            locked: locked.map(str::to_owned),
            archive: archive.map(str::to_owned),
        };
        assert_eq!(
            found,
            [
                change("added", None, Some("2")),
                change("gone", Some("1"), None),
                change("newer", Some("1"), Some("2")),
            ]
        );
        assert_eq!(changes(&lock(&[("one", "1", 'a')]), &lock(&[("one", "1", 'b')])).len(), 1);
        assert!(changes(&old, &old).is_empty());
    }

    #[test]
    fn a_lock_that_is_behind_says_in_what() {
        let changes = changes(&lock(&[("one", "1", 'a')]), &lock(&[("one", "2", 'b')]));
        let path = PathBuf::from("images/lab.lock");
        let report = Report { path, packages: 1, artifacts: 0, current: false, changes };
        insta::assert_snapshot!(report.text(true), @"
        images/lab.lock is behind the archive; `builder lock` writes it anew
          one: 1 -> 2
        ");
    }
}
