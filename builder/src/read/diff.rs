//! How two images differ: first what they say about themselves, then every file, byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io;

use serde::Serialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::boot_files::{self, BootFile, BootFilesError};
use super::inspect::kind_of;
use super::root::{Root, RootError, RootFiles};
use super::seeds::{self, SeedState};
use super::slots::{self, SlotFacts};
use crate::image::ext4::read::{Entry, EntryKind};
use crate::image::layout::Part;
use crate::image::open::{OpenError, OpenImage, SlotKernel};
use crate::progress::{Bytes, Progress};

/// Why two images can't be compared.
#[derive(Debug, Error)]
pub enum DiffError {
    #[error("{path}: {source}")]
    BootFiles { path: String, source: Box<BootFilesError> },
    #[error(transparent)]
    Slot(Box<OpenError>),
    #[error("{path}: {source}")]
    Root { path: String, source: Box<RootError> },
    #[error("{path}: {why}")]
    Kernels { path: String, why: String },
}

/// One thing that differs: absent on the side where it is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub what: String,
    pub left: Option<String>,
    pub right: Option<String>,
}

/// Everything that differs between a left and a right image.
#[derive(Debug, Default, Serialize)]
pub struct Difference {
    pub same: bool,
    pub image: Vec<Change>,
    pub partitions: Vec<Change>,
    pub slots: Vec<Change>,
    pub boot_files: Vec<Change>,
    pub packages: Vec<Change>,
    pub files: Vec<FileChange>,
    pub seed: Vec<Change>,
}

/// A file that differs, and in what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileChange {
    pub path: String,
    pub how: How,
    /// Such as `mode 0644 -> 0755`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    Added,
    Removed,
    Changed,
}

/// One side, read as far as it is needed.
struct Side {
    path: String,
    slots: Vec<(SlotKernel, SlotFacts)>,
    boot_files: Vec<BootFile>,
    root: Root,
}

impl Side {
    fn open(image: &OpenImage) -> Result<Self, DiffError> {
        let path = image.path.display().to_string();
        let (kernels, faults) = slots::kernels(image);
        if let Some(why) = faults.into_iter().next() {
            return Err(DiffError::Kernels { path, why });
        }
        let mut facts = Vec::new();
        for kernel in kernels {
            let found = slots::facts(image, &kernel);
            let found = found.map_err(|source| DiffError::Slot(Box::new(source)))?;
            facts.push((kernel, found));
        }
        let Some((kernel, _)) = facts.first() else {
            let why = "no slot is filled".to_owned();
            return Err(DiffError::Kernels { path, why });
        };
        let root = Root::open(image, kernel).map_err(|source| root_error(&path, source))?;
        let boot_files = boot_files::read_all(image).map_err(|source| DiffError::BootFiles {
            path: path.clone(),
            source: Box::new(source),
        })?;
        Ok(Self { path, slots: facts, boot_files, root })
    }
}

fn root_error(path: &str, source: RootError) -> DiffError {
    let (path, source) = (path.to_owned(), Box::new(source));
    DiffError::Root { path, source }
}

/// Compares two images; the STATE partition is left out, since a node fills it.
pub fn diff(
    left: &OpenImage,
    right: &OpenImage,
    progress: &Progress,
) -> Result<Difference, DiffError> {
    let (one, other) = (Side::open(left)?, Side::open(right)?);
    let bytes = one.root.files.used_bytes + other.root.files.used_bytes;
    let bar = progress.bytes("comparing files", Some(bytes));
    let mut difference = Difference {
        same: false,
        image: changes(&manifest_values(&one.root), &manifest_values(&other.root)),
        partitions: changes(&partition_values(left), &partition_values(right)),
        slots: changes(&slot_values(&one), &slot_values(&other)),
        boot_files: changes(&boot_values(&one), &boot_values(&other)),
        packages: changes(&package_values(&one.root), &package_values(&other.root)),
        files: file_changes(&one, &other, &bar)?,
        seed: seed_changes(left, right),
    };
    drop(bar);
    let Difference { image, partitions, slots, boot_files, packages, files, seed, .. } =
        &difference;
    difference.same = [image, partitions, slots, boot_files, packages, seed]
        .iter()
        .all(|changes| changes.is_empty())
        && files.is_empty();
    Ok(difference)
}

type Values = BTreeMap<String, String>;

fn changes(left: &Values, right: &Values) -> Vec<Change> {
    let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    keys.into_iter()
        .filter(|key| left.get(*key) != right.get(*key))
        .map(|key| Change {
            what: key.clone(),
            left: left.get(key).cloned(),
            right: right.get(key).cloned(),
        })
        .collect()
}

fn manifest_values(root: &Root) -> Values {
    let manifest = &root.manifest;
    let mut values = Values::from([
        ("name".to_owned(), manifest.name.clone()),
        ("version".to_owned(), manifest.version.clone()),
        ("architecture".to_owned(), manifest.architecture.clone()),
        ("date".to_owned(), super::date::rfc3339(manifest.source_date)),
        ("seed format".to_owned(), manifest.seed_format.to_string()),
        ("stand-in".to_owned(), manifest.stand_in.to_string()),
        ("debug".to_owned(), manifest.debug.to_string()),
    ]);
    for overlay in &manifest.overlays {
        let version = overlay.version.clone().unwrap_or_else(|| "yes".to_owned());
        values.insert(format!("overlay {}", overlay.name), version);
    }
    values
}

fn partition_values(image: &OpenImage) -> Values {
    let mut values = Values::new();
    for partition in &image.table.table.partitions {
        let (offset, size) = (partition.offset_bytes(), partition.size_bytes());
        let kind = kind_of(partition.type_guid);
        values.insert(partition.name.clone(), format!("{kind}, {size} bytes at {offset}"));
        // Each disk that an image is flashed to has one of its own for its boot partition.
        if partition.name != Part::Esp.name() {
            values.insert(format!("{} identity", partition.name), partition.guid.to_string());
        }
    }
    values.insert("disk identity".to_owned(), image.table.table.disk_guid.to_string());
    values
}

fn slot_values(side: &Side) -> Values {
    let mut values = Values::new();
    for (_, facts) in &side.slots {
        let mut add = |what: &str, value: String| {
            values.insert(format!("slot {} {what}", facts.slot), value);
        };
        add("kernel file", facts.kernel_file.clone());
        add("kernel release", facts.kernel_release.clone());
        add("command line", facts.command_line.clone());
        add("verity root", facts.verity_root.clone());
        add("data bytes", facts.data_bytes.to_string());
    }
    values
}

fn boot_values(side: &Side) -> Values {
    let value = |file: &BootFile| (file.listed_path(), format!("sha256 {}", file.sha256()));
    side.boot_files.iter().map(value).collect()
}

fn package_values(root: &Root) -> Values {
    let records = &root.manifest.packages;
    let value = |record: &seed::manifest::PackageRecord| {
        let digest: String = record.sha256.chars().take(12).collect();
        (record.name.clone(), format!("{} {} {digest}", record.version, record.architecture))
    };
    records.iter().map(value).collect()
}

/// Node and cluster are told; of the rest only whether it is the same.
fn seed_changes(left: &OpenImage, right: &OpenImage) -> Vec<Change> {
    let value = |image: &OpenImage| match seeds::state(image) {
        SeedState::Absent => "none".to_owned(),
        SeedState::Good { node, cluster, .. } => format!("{node} of cluster {cluster}"),
        SeedState::Bad { why } => format!("bad: {why}"),
    };
    if seeds::text(left) == seeds::text(right) {
        return Vec::new();
    }
    let what = "seed".to_owned();
    vec![Change { what, left: Some(value(left)), right: Some(value(right)) }]
}

fn file_changes(left: &Side, right: &Side, bar: &Bytes<'_>) -> Result<Vec<FileChange>, DiffError> {
    let by_path = |side: &'_ Side| -> BTreeMap<String, Entry> {
        let entries = side.root.files.entries.iter();
        entries.map(|entry| (entry.path.clone(), entry.clone())).collect()
    };
    let (ones, others) = (by_path(left), by_path(right));
    let mut found = Vec::new();
    for (path, one) in &ones {
        let Some(other) = others.get(path) else {
            found.push(FileChange { path: path.clone(), how: How::Removed, details: Vec::new() });
            continue;
        };
        let mut details = attribute_changes(one, other);
        if one.kind == EntryKind::File
            && other.kind == EntryKind::File
            && one.size == other.size
            && digest(left, one, bar)? != digest(right, other, bar)?
        {
            details.push("content".to_owned());
        }
        if !details.is_empty() {
            found.push(FileChange { path: path.clone(), how: How::Changed, details });
        }
    }
    let added = others.keys().filter(|path| !ones.contains_key(*path));
    found.extend(added.map(|path| FileChange {
        path: path.clone(),
        how: How::Added,
        details: Vec::new(),
    }));
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn attribute_changes(one: &Entry, other: &Entry) -> Vec<String> {
    let mut details = Vec::new();
    match (&one.kind, &other.kind) {
        (EntryKind::Symlink(from), EntryKind::Symlink(to)) if from != to => {
            details.push(format!("target {from} -> {to}"));
        }
        (EntryKind::Symlink(_), EntryKind::Symlink(_)) => {}
        (from, to) if from != to => {
            details.push(format!("{} -> {}", kind_name(from), kind_name(to)));
        }
        (EntryKind::File, _) if one.size != other.size => {
            details.push(format!("content, {} -> {} bytes", one.size, other.size));
        }
        _ => {}
    }
    if one.mode != other.mode {
        details.push(format!("mode {:04o} -> {:04o}", one.mode, other.mode));
    }
    if (one.uid, one.gid) != (other.uid, other.gid) {
        let Entry { uid, gid, .. } = other;
        details.push(format!("owner {}:{} -> {uid}:{gid}", one.uid, one.gid));
    }
    details
}

fn kind_name(kind: &EntryKind) -> &'static str {
    match kind {
        EntryKind::Directory => "directory",
        EntryKind::File => "file",
        EntryKind::Symlink(_) => "symlink",
        EntryKind::Other => "special file",
    }
}

fn digest(side: &Side, entry: &Entry, bar: &Bytes<'_>) -> Result<[u8; 32], DiffError> {
    let files: &RootFiles = &side.root.files;
    let mut hasher = Hashing { hasher: Sha256::new(), bar };
    files.copy(entry, &mut hasher).map_err(|source| root_error(&side.path, source))?;
    Ok(hasher.hasher.finalize().into())
}

/// A writer that hashes and tells the bar.
struct Hashing<'a> {
    hasher: Sha256,
    bar: &'a Bytes<'a>,
}

impl io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.bar.add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Difference {
    /// For people: `-` is the left image, `+` the right one.
    pub fn text(&self) -> String {
        if self.same {
            return "the images are the same, but for what their nodes keep in STATE\n".to_owned();
        }
        let mut out = String::new();
        let sections = [
            ("image", &self.image),
            ("partitions", &self.partitions),
            ("slots", &self.slots),
            ("boot files", &self.boot_files),
            ("packages", &self.packages),
            ("seed", &self.seed),
        ];
        // Writing to a string does not fail.
        for (title, changes) in sections.into_iter().filter(|(_, changes)| !changes.is_empty()) {
            let _written = writeln!(out, "{title}");
            for change in changes {
                change.write(&mut out);
            }
        }
        if !self.files.is_empty() {
            let _written = writeln!(out, "files");
        }
        for FileChange { path, how, details } in &self.files {
            let sign = match how {
                How::Added => '+',
                How::Removed => '-',
                How::Changed => '~',
            };
            let _written = write!(out, "  {sign} {path}");
            for detail in details {
                let _written = write!(out, "  [{detail}]");
            }
            out.push('\n');
        }
        out
    }
}

impl Change {
    fn write(&self, out: &mut String) {
        let _written = match (&self.left, &self.right) {
            (Some(left), Some(right)) => {
                writeln!(out, "  ~ {}\n      - {left}\n      + {right}", self.what)
            }
            (Some(left), None) => writeln!(out, "  - {}: {left}", self.what),
            (None, Some(right)) => writeln!(out, "  + {}: {right}", self.what),
            (None, None) => Ok(()),
        };
    }
}
