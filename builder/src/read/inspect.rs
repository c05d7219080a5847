//! Everything that can be told about one image.

use std::collections::BTreeMap;
use std::fmt::Write;

use seed::manifest::{OverlayRecord, PackageRecord};
use serde::Serialize;

use super::date::rfc3339;
use super::root::Root;
use super::seeds::{self, SeedState};
use super::slots::{self, SlotFacts};
use crate::image::ext4::read::{Entry, EntryKind};
use crate::image::open::OpenImage;
use crate::progress::readable_bytes;
use crate::root::tree::Origin;

/// How many of the biggest files are worth a look.
const BIGGEST: usize = 15;

/// The facts, in the order in which they are told.
#[derive(Debug, Serialize)]
pub struct Inspection {
    pub path: String,
    pub bytes: u64,
    pub table: TableFacts,
    pub partitions: Vec<PartitionFacts>,
    pub slots: Vec<SlotFacts>,
    /// None if no root could be read.
    pub image: Option<ImageFacts>,
    pub seed: SeedState,
    pub packages: Vec<PackageFacts>,
    pub biggest: Vec<FileFacts>,
    /// All entries; only filled when asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileFacts>,
    /// What could not be read, and why.
    pub faults: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct TableFacts {
    pub disk_guid: String,
    pub primary: String,
    pub backup: String,
    /// Else the disk is larger than the image that was written to it.
    pub backup_at_end: bool,
}

#[derive(Debug, Serialize)]
pub struct PartitionFacts {
    pub number: u32,
    pub name: String,
    pub kind: String,
    pub offset: u64,
    pub bytes: u64,
    pub guid: String,
}

#[derive(Debug, Serialize)]
pub struct ImageFacts {
    pub name: String,
    pub version: String,
    pub architecture: String,
    pub source_date: u64,
    pub date: String,
    pub seed_format: u32,
    pub stand_in: bool,
    pub debug: bool,
    pub overlays: Vec<OverlayRecord>,
    pub services: Vec<String>,
    pub entries: usize,
    /// Bytes of the root filesystem that are in use.
    pub root_used_bytes: u64,
}

#[derive(Debug, Serialize)]
pub struct PackageFacts {
    #[serde(flatten)]
    pub record: PackageRecord,
    /// Bytes of its files in the root.
    pub root_bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct FileFacts {
    pub path: String,
    pub kind: &'static str,
    /// In octal, as `chmod` takes it.
    pub mode: String,
    pub uid: u32,
    pub gid: u32,
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Which overlay, package or library need put it there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

impl FileFacts {
    pub fn new(entry: &Entry, origin: Option<&Origin>) -> Self {
        let (kind, target) = match &entry.kind {
            EntryKind::Directory => ("directory", None),
            EntryKind::File => ("file", None),
            EntryKind::Symlink(target) => ("symlink", Some(target.clone())),
            EntryKind::Other => ("special", None),
        };
        Self {
            path: entry.path.clone(),
            kind,
            mode: format!("{:04o}", entry.mode),
            uid: entry.uid,
            gid: entry.gid,
            bytes: entry.size,
            target,
            origin: origin.map(ToString::to_string),
        }
    }
}

/// Looks at an image; returns its root too, for further questions.
pub fn inspect(image: &OpenImage, with_files: bool) -> (Inspection, Option<Root>) {
    let (kernels, mut faults) = slots::kernels(image);
    let mut slot_facts = Vec::new();
    let mut root = None;
    for kernel in &kernels {
        match slots::facts(image, kernel) {
            Ok(facts) => slot_facts.push(facts),
            Err(error) => faults.push(error.to_string()),
        }
        if root.is_none() {
            root = Root::open(image, kernel)
                .map_err(|error| faults.push(crate::explain::chain(&error)))
                .ok();
        }
    }
    let files = root.as_ref().map(all_files).unwrap_or_default();
    let mut biggest: Vec<FileFacts> =
        files.iter().filter(|file| file.kind == "file").cloned().collect();
    biggest.sort_by(|one, other| other.bytes.cmp(&one.bytes).then(one.path.cmp(&other.path)));
    biggest.truncate(BIGGEST);
    let found = &image.table;
    let inspection = Inspection {
        path: image.path.display().to_string(),
        bytes: image.bytes,
        table: TableFacts {
            disk_guid: found.table.disk_guid.to_string(),
            primary: found.primary.to_string(),
            backup: found.backup.to_string(),
            backup_at_end: (found.backup_lba + 1) * disk::gpt::SECTOR_BYTES == image.bytes,
        },
        partitions: partitions(image),
        slots: slot_facts,
        image: root.as_ref().map(image_facts),
        seed: seeds::state(image),
        packages: root.as_ref().map(packages).unwrap_or_default(),
        biggest,
        files: if with_files { files } else { Vec::new() },
        faults,
    };
    (inspection, root)
}

fn partitions(image: &OpenImage) -> Vec<PartitionFacts> {
    let facts = |partition: &disk::gpt::Partition| PartitionFacts {
        number: partition.number,
        name: partition.name.clone(),
        kind: kind_of(partition.type_guid),
        offset: partition.offset_bytes(),
        bytes: partition.size_bytes(),
        guid: partition.guid.to_string(),
    };
    image.table.table.partitions.iter().map(facts).collect()
}

/// A partition's type in words; an unknown one as its GUID.
pub(super) fn kind_of(type_guid: disk::gpt::Guid) -> String {
    use disk::gpt::types;
    let known = [
        (types::ESP, "EFI system"),
        (types::ROOT_X86_64, "root, x86-64"),
        (types::ROOT_ARM64, "root, ARM64"),
        (types::BASIC_DATA, "basic data"),
        (types::LINUX_GENERIC, "Linux"),
    ];
    let found = known.iter().find(|(guid, _)| *guid == type_guid);
    found.map_or_else(|| type_guid.to_string(), |(_, name)| (*name).to_owned())
}

fn image_facts(root: &Root) -> ImageFacts {
    let manifest = &root.manifest;
    ImageFacts {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        architecture: manifest.architecture.clone(),
        source_date: manifest.source_date,
        date: rfc3339(manifest.source_date),
        seed_format: manifest.seed_format,
        stand_in: manifest.stand_in,
        debug: manifest.debug,
        overlays: manifest.overlays.clone(),
        services: manifest.services.iter().map(|service| service.name.to_string()).collect(),
        entries: root.files.entries.len(),
        root_used_bytes: root.files.used_bytes,
    }
}

/// Every entry with its origin.
pub fn all_files(root: &Root) -> Vec<FileFacts> {
    let origin = |path: &str| root.origins.as_ref().and_then(|origins| origins.get(path));
    root.files.entries.iter().map(|entry| FileFacts::new(entry, origin(&entry.path))).collect()
}

fn packages(root: &Root) -> Vec<PackageFacts> {
    let mut bytes: BTreeMap<&str, u64> = BTreeMap::new();
    for (path, origin) in root.origins.iter().flat_map(crate::root::origins::Origins::iter) {
        if let Origin::Package { package, .. } | Origin::Library { package, .. } = origin {
            let size = root.files.get(path).filter(|entry| entry.kind == EntryKind::File);
            *bytes.entry(package).or_default() += size.map_or(0, |entry| entry.size);
        }
    }
    let records = root.manifest.packages.iter();
    records
        .map(|record| PackageFacts {
            root_bytes: bytes.get(record.name.as_str()).copied().unwrap_or(0),
            record: record.clone(),
        })
        .collect()
}

impl Inspection {
    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _written = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{}: {}", self.path, readable_bytes(self.bytes))?;
        if let Some(image) = &self.image {
            image.write(out)?;
        }
        match &self.seed {
            SeedState::Absent => writeln!(out, "seed: none; give it one with `builder seed`")?,
            SeedState::Good { node, cluster, sealed } => {
                let sealed = if *sealed { "with its keys" } else { "without keys" };
                writeln!(out, "seed: {node} of cluster {cluster}, {sealed}")?;
            }
            SeedState::Bad { why } => writeln!(out, "seed: BAD: {why}")?,
        }
        self.write_partitions(out)?;
        for slot in &self.slots {
            slot.write(out)?;
        }
        if !self.packages.is_empty() {
            writeln!(out, "\npackages: {}", self.packages.len())?;
        }
        let width = |field: fn(&PackageRecord) -> &str| {
            let lengths = self.packages.iter().map(|package| field(&package.record).len());
            lengths.max().unwrap_or(0)
        };
        let (names, versions) = (width(|one| &one.name), width(|one| &one.version));
        for PackageFacts { record: PackageRecord { name, version, .. }, root_bytes } in
            &self.packages
        {
            let size = readable_bytes(*root_bytes);
            writeln!(out, "  {name:names$}  {version:versions$}  {size:>8}")?;
        }
        if !self.biggest.is_empty() {
            writeln!(out, "\nbiggest files")?;
        }
        for file in &self.biggest {
            writeln!(out, "  {:>9}  {}", readable_bytes(file.bytes), file.path)?;
        }
        if !self.files.is_empty() {
            writeln!(out, "\nfiles")?;
        }
        for file in &self.files {
            file.write(out)?;
        }
        for fault in &self.faults {
            writeln!(out, "\nDAMAGED: {fault}")?;
        }
        Ok(())
    }

    fn write_partitions(&self, out: &mut String) -> std::fmt::Result {
        let table = &self.table;
        write!(out, "\npartition table: primary {}, backup {}", table.primary, table.backup)?;
        let at_end = if table.backup_at_end { "" } else { ", not at the disk's end" };
        writeln!(out, "{at_end}; disk {}", table.disk_guid)?;
        for partition in &self.partitions {
            writeln!(
                out,
                "  {} {:<7} {:<13} at {:>9}, {:>9}  {}",
                partition.number,
                partition.name,
                partition.kind,
                mebibytes(partition.offset),
                mebibytes(partition.bytes),
                partition.guid
            )?;
        }
        Ok(())
    }
}

/// Partitions are made in whole mebibytes, so that is how they read best.
fn mebibytes(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) {
        return format!("{} MiB", bytes >> 20);
    }
    readable_bytes(bytes)
}

impl ImageFacts {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Self { name, version, architecture, date, .. } = self;
        writeln!(out, "image: {name} {version}, {architecture}, of {date}")?;
        if self.stand_in {
            writeln!(out, "!!! STAND-IN: K3s is replaced; for tests only, never to be shipped")?;
        }
        if self.debug {
            writeln!(out, "!!! DEBUG: whoever is at the console has a shell")?;
        }
        let overlay = |overlay: &OverlayRecord| match &overlay.version {
            Some(version) => format!("{} {version}", overlay.name),
            None => overlay.name.clone(),
        };
        let overlays: Vec<String> = self.overlays.iter().map(overlay).collect();
        writeln!(out, "overlays: {}", overlays.join(", "))?;
        if !self.services.is_empty() {
            writeln!(out, "services: {}", self.services.join(", "))?;
        }
        let used = readable_bytes(self.root_used_bytes);
        writeln!(out, "root: {} entries, {used} used", self.entries)
    }
}

impl SlotFacts {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\nslot {}: {}, {}", self.slot, self.kernel_file, self.tries)?;
        writeln!(out, "  kernel   {}", self.kernel_release)?;
        writeln!(out, "  command  {}", self.command_line)?;
        writeln!(out, "  verity   {}", self.verity_root)?;
        writeln!(out, "  data     {}", readable_bytes(self.data_bytes))
    }
}

impl FileFacts {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Self { path, mode, uid, gid, bytes, .. } = self;
        let target = self.target.as_ref().map(|target| format!(" -> {target}")).unwrap_or_default();
        let letter = self.kind.chars().next().unwrap_or('?');
        writeln!(out, "  {letter} {mode} {uid:>5} {gid:>5} {bytes:>10}  {path}{target}")
    }
}
