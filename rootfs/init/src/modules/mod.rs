//! Kernel modules: found by name, alias or device, and loaded with what they need.
//!
//! [`glob`] and [`index`] are pure: they answer what to load, in which order. Here it is loaded.
//! [`modprobe`] is the program that the kernel and K3s start when they want a module.
//!
//! A module's parameters come from the kernel's command line, as `softdog.soft_margin=30`, and
//! `modprobe.blacklist=a,b` keeps modules from being loaded for a device: what an operator would
//! try on any Linux works here too.

mod glob;
mod index;
pub(crate) mod modprobe;

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

pub(crate) use index::{Found, Index, Step, Texts};

/// `MODULE_INIT_COMPRESSED_FILE`: the kernel unpacks the module itself.
const COMPRESSED_FILE: i32 = 4;
const MODULES_FOLDER: &str = "/usr/lib/modules";
const COMMAND_LINE: &str = "/proc/cmdline";
const BLACKLIST: &str = "modprobe.blacklist=";

#[derive(Debug, Error)]
pub(crate) enum ModuleError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("no module {name:?} in {}", folder.display())]
    Unknown { name: String, folder: PathBuf },
    #[error("the kernel refuses {}: {source}", path.display())]
    Refused { path: PathBuf, source: io::Error },
}

/// The modules of the running kernel, as they lie in the root.
#[derive(Debug)]
pub(crate) struct Modules {
    folder: PathBuf,
    texts: Texts,
    command_line: String,
}

impl Modules {
    /// Reads the index of the running kernel's modules.
    pub(crate) fn of_running_kernel() -> Result<Self, ModuleError> {
        let release = rustix::system::uname();
        let folder = Path::new(MODULES_FOLDER).join(&*release.release().to_string_lossy());
        let texts = Texts::read(&folder)
            .map_err(|source| ModuleError::Read { path: folder.join("modules.dep"), source })?;
        // Without `/proc` there are no parameters, which no module insists on.
        let command_line = fs::read_to_string(COMMAND_LINE).unwrap_or_default();
        Ok(Self { folder, texts, command_line })
    }

    /// What loads them.
    pub(crate) fn loader(&self) -> Loader<'_> {
        let mut index = Index::new(&self.texts);
        let words = self.command_line.split_ascii_whitespace();
        let denied = words.filter_map(|word| word.strip_prefix(BLACKLIST));
        index.deny(denied.flat_map(|names| names.split(',')).map(str::to_owned));
        Loader { modules: self, index }
    }
}

/// Loads modules of one index.
#[derive(Debug)]
pub(crate) struct Loader<'m> {
    modules: &'m Modules,
    index: Index<'m>,
}

impl Loader<'_> {
    /// Whether there is a module of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.index.has(name)
    }

    /// Loads what a name, an alias or a device asks for; gives the names of what is new, and what
    /// went wrong with any of them. `parameters` are for the module itself.
    pub(crate) fn load(&self, asked: &str, parameters: &str) -> Result<Vec<String>, ModuleError> {
        let names = match self.index.find(asked) {
            Found::Modules(names) => names,
            Found::BuiltIn => return Ok(Vec::new()),
            Found::Nothing => {
                let folder = self.modules.folder.clone();
                return Err(ModuleError::Unknown { name: asked.to_owned(), folder });
            }
        };
        let mut new = Vec::new();
        let mut trouble = None;
        // Of several modules for one device each may be the right one; the others say so.
        for name in &names {
            if let Err(error) = self.load_with_needs(name, parameters, &mut new) {
                trouble = Some(error);
            }
        }
        match trouble {
            Some(error) if new.is_empty() => Err(error),
            _ => Ok(new),
        }
    }

    fn load_with_needs(
        &self,
        name: &str,
        parameters: &str,
        new: &mut Vec<String>,
    ) -> Result<(), ModuleError> {
        for step in self.index.plan(name) {
            if is_live(&step.name) {
                continue;
            }
            let given = if step.name == *name { parameters } else { "" };
            match self.insert(&step, given) {
                Ok(()) => new.push(step.name),
                Err(_) if step.optional => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn insert(&self, step: &Step, given: &str) -> Result<(), ModuleError> {
        let path = self.modules.folder.join(&step.path);
        let file =
            File::open(&path).map_err(|source| ModuleError::Read { path: path.clone(), source })?;
        let plain = path.extension().is_some_and(|extension| extension == "ko");
        let flags = if plain { 0 } else { COMPRESSED_FILE };
        let words = parameters_of(&self.modules.command_line, &step.name, given);
        let words = CString::new(words).unwrap_or_default();
        match rustix::system::finit_module(&file, &words, flags) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(ModuleError::Refused { path, source: errno.into() }),
        }
    }
}

/// Whether a module is loaded and ready: asking costs less than unpacking it for a refusal.
fn is_live(name: &str) -> bool {
    let state = fs::read_to_string(format!("/sys/module/{name}/initstate"));
    state.is_ok_and(|state| state.trim_end() == "live")
}

/// A module's parameters: those of the command line, then those that are given, which win.
fn parameters_of(command_line: &str, module: &str, given: &str) -> String {
    let of_module = |word: &&str| {
        word.split_once('.')
            .is_some_and(|(name, rest)| index::canonical(name) == module && !rest.starts_with('='))
    };
    let mut words: Vec<&str> = command_line
        .split_ascii_whitespace()
        .filter(of_module)
        .filter_map(|word| word.split_once('.').map(|(_, parameter)| parameter))
        .collect();
    words.extend(given.split_ascii_whitespace());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_from_the_command_line_and_given_ones_win() {
        let line = "quiet softdog.soft_margin=30 nvme-core.io_timeout=9 softdogs.x=1 panic=10";
        assert_eq!(parameters_of(line, "softdog", ""), "soft_margin=30");
        assert_eq!(parameters_of(line, "nvme_core", ""), "io_timeout=9");
        assert_eq!(parameters_of(line, "softdog", "a=1 b"), "soft_margin=30 a=1 b");
        assert_eq!(parameters_of(line, "panic", ""), "");
    }
}
