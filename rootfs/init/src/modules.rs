//! Loading kernel modules by name, with what they need first.
//!
//! The builder writes `modules.dep` in the usual text form, one line a module:
//! `kernel/drivers/md/dm-verity.ko.xz: kernel/drivers/md/dm-mod.ko.xz …`. The dependencies on a
//! line are complete and ordered with the deepest last, as depmod writes them.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

/// `MODULE_INIT_COMPRESSED_FILE`: the kernel unpacks the module itself.
const COMPRESSED_FILE: i32 = 4;

#[derive(Debug, Error)]
pub(crate) enum ModuleError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("no module named {name:?} in {}", index.display())]
    Unknown { name: String, index: PathBuf },
    #[error("the kernel refuses {}: {source}", path.display())]
    Refused { path: PathBuf, source: io::Error },
}

/// The modules of the running kernel.
#[derive(Debug)]
pub(crate) struct Modules {
    folder: PathBuf,
    by_name: BTreeMap<String, Line>,
}

#[derive(Debug, PartialEq, Eq)]
struct Line {
    path: String,
    needs: Vec<String>,
}

impl Modules {
    /// Reads the index of the running kernel's modules.
    pub(crate) fn of_running_kernel() -> Result<Self, ModuleError> {
        let release = rustix::system::uname();
        let folder = Path::new("/usr/lib/modules").join(&*release.release().to_string_lossy());
        let path = folder.join("modules.dep");
        let text = fs::read_to_string(&path)
            .map_err(|source| ModuleError::Read { path: path.clone(), source })?;
        Ok(Self { folder, by_name: parse(&text) })
    }

    /// Loads a module and what it needs; one that is loaded already is fine.
    pub(crate) fn load(&self, name: &str) -> Result<(), ModuleError> {
        self.load_with(name, c"")
    }

    /// Loads a module with parameters, and what it needs.
    pub(crate) fn load_with(&self, name: &str, parameters: &CStr) -> Result<(), ModuleError> {
        let Some(line) = self.by_name.get(&canonical(name)) else {
            let index = self.folder.join("modules.dep");
            return Err(ModuleError::Unknown { name: name.to_owned(), index });
        };
        for path in line.needs.iter().rev() {
            self.insert(path, c"")?;
        }
        self.insert(&line.path, parameters)
    }

    fn insert(&self, relative: &str, parameters: &CStr) -> Result<(), ModuleError> {
        let path = self.folder.join(relative);
        let file =
            File::open(&path).map_err(|source| ModuleError::Read { path: path.clone(), source })?;
        let plain = path.extension().is_some_and(|extension| extension == "ko");
        let flags = if plain { 0 } else { COMPRESSED_FILE };
        match rustix::system::finit_module(&file, parameters, flags) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(ModuleError::Refused { path, source: errno.into() }),
        }
    }
}

/// The kernel treats `-` and `_` in module names as the same.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn parse(index: &str) -> BTreeMap<String, Line> {
    let mut by_name = BTreeMap::new();
    for line in index.lines() {
        let Some((path, needs)) = line.split_once(':') else { continue };
        let file = path.rsplit('/').next().unwrap_or(path);
        let name = canonical(file.split(".ko").next().unwrap_or(file));
        let needs = needs.split_whitespace().map(str::to_owned).collect();
        by_name.insert(name, Line { path: path.to_owned(), needs });
    }
    by_name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_line_gives_the_path_and_what_it_needs() {
        let modules = parse(
            "kernel/md/dm-verity.ko.xz: kernel/md/dm-bufio.ko.xz kernel/md/dm-mod.ko.xz\nkernel/fs/fat.ko:\n",
        );
        let verity = &modules["dm_verity"];
        assert_eq!(verity.path, "kernel/md/dm-verity.ko.xz");
        assert_eq!(verity.needs, ["kernel/md/dm-bufio.ko.xz", "kernel/md/dm-mod.ko.xz"]);
        assert!(modules["fat"].needs.is_empty());
    }

    #[test]
    fn a_damaged_index_is_read_as_far_as_it_makes_sense() {
        assert!(parse("no colon here\n\n").is_empty());
        assert_eq!(parse(":").len(), 1);
    }
}
