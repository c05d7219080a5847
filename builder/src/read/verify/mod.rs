//! Whether an image is whole: every used byte is compared with something that says what it must be.
//!
//! ```text
//!  partition table   both copies, byte for byte what the table encodes to
//!  ESP               file digests in its own list; everything else what formatting it gives
//!  ROOT-A, ROOT-B    the hash tree under the root hash of the kernel's command line
//!  SEED              what formatting it gives, and a seed that is valid
//!  STATE             last; a node's own, so not looked into
//! ```
//! This finds damage, not malice: who can change a file can change its digest. What holds against
//! an attacker is the firmware's check of the signed kernel, and the kernel's of the root.

mod boot;
mod compare;
mod identity;
mod root;
mod table;

use std::fmt::Write;

use serde::Serialize;

use super::boot_files;
use super::slots;
use crate::image::open::OpenImage;
use crate::progress::{Bytes, Progress};

/// One check and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub what: String,
    pub good: bool,
    /// What was found; for a bad one, what is wrong.
    pub detail: String,
}

/// All checks of an image.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    pub good: bool,
    pub checks: Vec<Check>,
}

/// Collects checks as they are made.
#[derive(Debug)]
struct Checks<'a> {
    list: Vec<Check>,
    bar: &'a Bytes<'a>,
}

impl Checks<'_> {
    /// Notes how a check ended: with what was found, or with what is wrong.
    fn note(&mut self, what: impl Into<String>, result: Result<String, String>) -> bool {
        let good = result.is_ok();
        let (Ok(detail) | Err(detail)) = result;
        self.list.push(Check { what: what.into(), good, detail });
        good
    }
}

/// Checks everything that an image has.
pub fn verify(image: &OpenImage, progress: &Progress) -> Verdict {
    let (kernels, faults) = slots::kernels(image);
    let of_kernels: u64 =
        kernels.iter().map(|kernel| 2 * kernel.arguments.verity.data_blocks).sum();
    let bar = progress.bytes("verifying", Some(of_kernels * disk::verity::BLOCK_BYTES));
    let mut checks = Checks { list: Vec::new(), bar: &bar };
    table::check(image, &mut checks);
    let mut manifest = None;
    for fault in faults {
        checks.note("kernels", Err(fault));
    }
    for kernel in &kernels {
        let found = root::check(image, kernel, &mut checks);
        manifest = manifest.or(found);
    }
    let date = manifest.as_ref().map(|manifest| manifest.source_date);
    match boot_files::read_all(image) {
        Ok(files) => boot::check(image, &files, date, &mut checks),
        Err(error) => {
            checks.note("boot partition", Err(crate::explain::chain(&error)));
        }
    }
    identity::check(image, manifest.as_ref(), &mut checks);
    let checks = checks.list;
    Verdict { good: checks.iter().all(|check| check.good), checks }
}

impl Verdict {
    /// Adds the checks that another program made.
    pub fn extend(&mut self, checks: impl IntoIterator<Item = Check>) {
        self.checks.extend(checks);
        self.good = self.checks.iter().all(|check| check.good);
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        for Check { what, good, detail } in &self.checks {
            let mark = if *good { "ok " } else { "BAD" };
            let _written = writeln!(out, "{mark}  {what}: {detail}");
        }
        let bad = self.checks.iter().filter(|check| !check.good).count();
        let _written = match bad {
            0 => writeln!(out, "the image is whole ({} checks)", self.checks.len()),
            _ => writeln!(out, "the image is damaged: {bad} of {} checks", self.checks.len()),
        };
        out
    }
}
