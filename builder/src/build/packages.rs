//! The archive, as the composition sees it: packages by name, fetched and unpacked when asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use seed::manifest::PackageRecord;

use crate::debian::{Package, Resolution, Store};
use crate::progress::Progress;
use crate::root::closure::{Files, PackageSource, PackageSourceError};
use crate::root::tree::{Node, Origin};

/// The packages that an image may take files from.
#[derive(Debug)]
pub struct ArchivePackages<'a> {
    store: &'a Store,
    resolution: &'a Resolution,
    progress: &'a Progress,
    /// Asked for once per file, so the answers are kept.
    opened: Mutex<BTreeMap<String, Files>>,
}

impl<'a> ArchivePackages<'a> {
    pub fn new(store: &'a Store, resolution: &'a Resolution, progress: &'a Progress) -> Self {
        Self { store, resolution, progress, opened: Mutex::default() }
    }

    fn package(&self, name: &str) -> Result<&'a Package, PackageSourceError> {
        let known = self.resolution.get(name).map(|selected| &selected.package);
        let missing = || PackageSourceError(format!("package {name} was not resolved").into());
        known.ok_or_else(missing)
    }
}

impl PackageSource for ArchivePackages<'_> {
    fn files(&self, name: &str) -> Result<Files, PackageSourceError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = opened.get(name) {
            return Ok(Arc::clone(files));
        }
        let package = self.package(name)?;
        let unpacked = self.store.unpack(package, self.progress);
        let unpacked = unpacked.map_err(|error| PackageSourceError(Box::new(error)))?;
        let nodes = unpacked.entries.into_iter().map(|entry| {
            // Whoever takes the file writes down why.
            let origin = Origin::Implied;
            let (mode, uid, gid, kind) = (entry.mode, entry.uid, entry.gid, entry.kind);
            (entry.path, Node { kind, mode, uid, gid, origin })
        });
        let files: Files = Arc::new(nodes.collect());
        opened.insert(name.to_owned(), Arc::clone(&files));
        Ok(files)
    }

    fn dependencies_of(&self, name: &str) -> Vec<String> {
        let packages = self.resolution.dependencies_of(name);
        packages.into_iter().map(|package| package.name.clone()).collect()
    }

    fn records(&self, names: &BTreeSet<&str>) -> Vec<PackageRecord> {
        let record = |package: &Package| PackageRecord {
            name: package.name.clone(),
            version: package.version.to_string(),
            architecture: package.architecture.clone(),
            sha256: package.sha256.to_string(),
        };
        let known = names.iter().filter_map(|name| self.resolution.get(name));
        known.map(|selected| record(&selected.package)).collect()
    }
}
