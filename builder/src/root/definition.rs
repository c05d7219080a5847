//! The image definition: a TOML file in `images/` that says what makes up an image.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::size::ByteSize;

#[derive(Debug, Error)]
pub enum DefinitionError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Syntax { path: PathBuf, source: Box<toml::de::Error> },
    #[error("{}: {why}", path.display())]
    Meaning { path: PathBuf, why: String },
}

/// The machine that an image is for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    Amd64,
    Arm64,
}

impl Architecture {
    /// Debian's name.
    pub fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The folder of this machine's shared libraries below `/usr/lib`.
    pub fn library_folder(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-linux-gnu",
            Self::Arm64 => "aarch64-linux-gnu",
        }
    }

    /// Rust's target for the node's binaries: static against glibc, so nothing need be installed.
    pub fn rust_target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The name in the file names of UEFI programs.
    pub fn efi(self) -> &'static str {
        match self {
            Self::Amd64 => "x64",
            Self::Arm64 => "aa64",
        }
    }
}

/// The whole definition.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    pub name: String,
    pub summary: String,
    pub version: String,
    pub architecture: Architecture,
    /// Overlays by folder name; what they need comes along.
    pub overlays: Vec<String>,
    pub debian: Debian,
    pub kernel: Kernel,
    pub partitions: Partitions,
    /// Where the file lies; messages and the lock file need it.
    #[serde(skip)]
    pub path: PathBuf,
}

/// Where packages come from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debian {
    /// Suites by code name; the highest version of a package among them is taken.
    pub suites: Vec<String>,
    /// Parts of the archive; firmware is in `non-free-firmware`.
    #[serde(default = "main_component")]
    pub components: Vec<String>,
    /// Mirrors to ask; empty means what the host's apt sources name.
    #[serde(default)]
    pub mirrors: Vec<String>,
}

fn main_component() -> Vec<String> {
    vec!["main".to_owned()]
}

/// The kernel and how it is started.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    pub package: String,
    /// Modules that reach the disk, loaded in this order by the initramfs.
    pub early_modules: Vec<String>,
    /// Modules that the initramfs carries beside these: loaded if the disk is not there yet and a
    /// device asks for them, or when the kernel does.
    #[serde(default)]
    pub initramfs_modules: Vec<String>,
    /// More modules for the root, by name or glob, beside those that overlays ask for.
    #[serde(default)]
    pub modules: Vec<String>,
    pub command_line: Vec<String>,
}

/// How large each partition is.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partitions {
    pub esp: ByteSize,
    /// Each of the two root slots: filesystem and hash tree together.
    pub slot: ByteSize,
    pub seed: ByteSize,
    /// The state partition in the image; the node grows it to the end of its disk.
    pub state: ByteSize,
    /// Write the root to slot B too, so that a node with a bad block in A has where to go.
    #[serde(default)]
    pub fill_both_slots: bool,
}

impl Definition {
    /// Reads and checks a definition file.
    pub fn load(path: &Path) -> Result<Self, DefinitionError> {
        let text = fs::read_to_string(path)
            .map_err(|source| DefinitionError::Read { path: path.to_owned(), source })?;
        let mut definition: Self = toml::from_str(&text).map_err(|source| {
            DefinitionError::Syntax { path: path.to_owned(), source: Box::new(source) }
        })?;
        path.clone_into(&mut definition.path);
        match definition.fault() {
            Some(why) => Err(DefinitionError::Meaning { path: path.to_owned(), why }),
            None => Ok(definition),
        }
    }

    /// What is wrong although every key has the right type.
    fn fault(&self) -> Option<String> {
        const ESP_MIN: u64 = 34 << 20;
        const SEED_MIN: u64 = 1 << 20;
        let partitions = &self.partitions;
        if !is_plain_name(&self.name) {
            return Some(format!("name {:?}: use letters, digits and '-'", self.name));
        }
        if self.debian.suites.is_empty() {
            return Some("debian.suites is empty: name at least one, as \"trixie\"".to_owned());
        }
        let all = [partitions.esp, partitions.slot, partitions.seed, partitions.state];
        if let Some(odd) = all.iter().find(|size| size.bytes() % (1 << 20) != 0) {
            return Some(format!("partition size {odd}: use whole MiB, so that all are aligned"));
        }
        if partitions.esp.bytes() < ESP_MIN {
            return Some("partitions.esp: FAT32 needs at least 34MiB".to_owned());
        }
        if partitions.seed.bytes() < SEED_MIN || partitions.state.bytes() < SEED_MIN {
            return Some("partitions.seed and .state need at least 1MiB".to_owned());
        }
        None
    }
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}
