//! A written image or device, opened for reading: what `inspect`, `verify`, `flash` and `run` ask.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::boot::{BootArguments, BootArgumentsError, Slot};
use disk::fat::{ReadError as FatError, Volume};
use disk::gpt::{self, Found, GptError, Partition};
use disk::verity::BLOCK_BYTES;
use seed::manifest::{MANIFEST_PATH, Manifest, ManifestError};
use thiserror::Error;

use super::ext4::read::{Filesystem, ReadError as Ext4Error};
use super::formats::{self, Format};
use super::layout::Part;
use super::region::Region;
use super::uki::{self, UkiError};

/// A kernel with its initramfs is a tenth of this.
const KERNEL_MAX_BYTES: u64 = 1 << 30;
const KERNELS: &str = "EFI/Linux";

#[derive(Debug, Error)]
pub enum OpenError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is a {format} image, and a raw one is needed: {}", path.display(), format.unpacking())]
    Packed { path: PathBuf, format: Format },
    #[error("{}: {source}; is it an image that this builder made?", path.display())]
    Table { path: PathBuf, source: GptError },
    #[error("{} has no partition {name}: is it an image that this builder made?", path.display())]
    NoPartition { path: PathBuf, name: &'static str },
    #[error("{}: boot partition: {source}", path.display())]
    Esp { path: PathBuf, source: FatError },
    #[error("{}: no kernel for slot {slot} in {KERNELS}", path.display())]
    NoKernel { path: PathBuf, slot: &'static str },
    #[error("{}: kernel of slot {slot}: {source}", path.display())]
    Uki { path: PathBuf, slot: &'static str, source: UkiError },
    #[error("{}: kernel of slot {slot} has no section {section}", path.display())]
    NoSection { path: PathBuf, slot: &'static str, section: &'static str },
    #[error("{}: kernel of slot {slot}: {source}", path.display())]
    Arguments { path: PathBuf, slot: &'static str, source: BootArgumentsError },
    #[error("{}: {source}", path.display())]
    Root { path: PathBuf, source: Ext4Error },
    #[error("{}: {source}", path.display())]
    Manifest { path: PathBuf, source: ManifestError },
}

/// An open image.
#[derive(Debug)]
pub struct OpenImage {
    pub path: PathBuf,
    pub file: Arc<File>,
    pub bytes: u64,
    pub table: Found,
}

/// What the boot partition has for one slot.
#[derive(Debug)]
pub struct SlotKernel {
    pub slot: Slot,
    /// The file's name on the boot partition, with its count of tries.
    pub file_name: String,
    pub command_line: String,
    pub arguments: BootArguments,
    uki: Vec<u8>,
}

impl OpenImage {
    /// Opens a raw image, or a device; see [`super::packed::open`] for the others.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let io_error = |source| OpenError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io_error)?;
        match formats::detect(&file).map_err(io_error)? {
            Format::Raw => Self::of(path, file),
            format => Err(OpenError::Packed { path: path.to_owned(), format }),
        }
    }

    /// The image whose bytes are in this file; messages name it by `path`.
    pub fn of(path: &Path, mut file: File) -> Result<Self, OpenError> {
        let io_error = |source| OpenError::Io { path: path.to_owned(), source };
        // Metadata knows the size of files only; the end can be sought on devices too.
        let bytes = file.seek(SeekFrom::End(0)).map_err(io_error)?;
        let table = gpt::read(&Region::new(&file, 0, bytes))
            .map_err(|source| OpenError::Table { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file: Arc::new(file), bytes, table })
    }

    pub fn partition(&self, part: Part) -> Result<&Partition, OpenError> {
        let name = part.name();
        let missing = || OpenError::NoPartition { path: self.path.clone(), name };
        self.table.table.find_name(name).ok_or_else(missing)
    }

    fn esp(&self) -> Result<Volume<Region<'_>>, OpenError> {
        let esp = self.partition(Part::Esp)?;
        let region = Region::new(&self.file, esp.offset_bytes(), esp.size_bytes());
        Volume::open(region).map_err(|source| self.esp_error(source))
    }

    fn esp_error(&self, source: FatError) -> OpenError {
        OpenError::Esp { path: self.path.clone(), source }
    }

    /// The slots that have a kernel.
    pub fn slots(&self) -> Result<Vec<Slot>, OpenError> {
        let names = self.kernel_names()?;
        let has = |slot: &Slot| names.iter().any(|name| is_kernel_of(name, *slot));
        Ok(Slot::BOTH.into_iter().filter(has).collect())
    }

    fn kernel_names(&self) -> Result<Vec<String>, OpenError> {
        let entries = self.esp()?.list(KERNELS).map_err(|source| self.esp_error(source))?;
        Ok(entries.into_iter().map(|entry| entry.name).collect())
    }

    /// Reads the kernel of a slot with what it says about its root.
    pub fn kernel(&self, slot: Slot) -> Result<SlotKernel, OpenError> {
        let path = || self.path.clone();
        let letter = slot.letter();
        let names = self.kernel_names()?;
        let missing = || OpenError::NoKernel { path: path(), slot: letter };
        let file_name =
            names.into_iter().find(|name| is_kernel_of(name, slot)).ok_or_else(missing)?;
        let uki = self
            .esp()?
            .read_file(&format!("{KERNELS}/{file_name}"), KERNEL_MAX_BYTES)
            .map_err(|source| self.esp_error(source))?;
        let uki_error = |source| OpenError::Uki { path: path(), slot: letter, source };
        let section = ".cmdline";
        let missing = || OpenError::NoSection { path: path(), slot: letter, section };
        let line = uki::read_section(&uki, section).map_err(uki_error)?.ok_or_else(missing)?;
        let command_line = String::from_utf8_lossy(line).trim_end_matches('\0').to_owned();
        let arguments = command_line.parse().map_err(|source| OpenError::Arguments {
            path: path(),
            slot: letter,
            source,
        })?;
        Ok(SlotKernel { slot, file_name, command_line, arguments, uki })
    }

    /// A section of a slot's kernel, such as `.linux`.
    pub fn section<'k>(
        &self,
        kernel: &'k SlotKernel,
        section: &'static str,
    ) -> Result<&'k [u8], OpenError> {
        let (path, slot) = (self.path.clone(), kernel.slot.letter());
        match uki::read_section(&kernel.uki, section) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(OpenError::NoSection { path, slot, section }),
            Err(source) => Err(OpenError::Uki { path, slot, source }),
        }
    }

    /// The root filesystem of a slot.
    pub fn root(&self, kernel: &SlotKernel) -> Result<Filesystem, OpenError> {
        let partition = self.partition(Part::Root(kernel.slot))?;
        let length = kernel.arguments.verity.data_blocks * BLOCK_BYTES;
        let file = Arc::clone(&self.file);
        Filesystem::open(file, partition.offset_bytes(), length)
            .map_err(|source| OpenError::Root { path: self.path.clone(), source })
    }

    /// What the root of a slot says it is made of.
    pub fn manifest(&self, root: &Filesystem) -> Result<Manifest, OpenError> {
        let bytes = root
            .read_file(MANIFEST_PATH)
            .map_err(|source| OpenError::Root { path: self.path.clone(), source })?;
        Manifest::from_json(&String::from_utf8_lossy(&bytes))
            .map_err(|source| OpenError::Manifest { path: self.path.clone(), source })
    }
}

/// `edgepair-a.efi`, `edgepair-a+3.efi`, `edgepair-a+2-1.efi`: systemd-boot counts tries in it.
fn is_kernel_of(name: &str, slot: Slot) -> bool {
    let rest = name.strip_prefix("edgepair-").and_then(|rest| rest.strip_prefix(slot.letter()));
    rest.is_some_and(|rest| rest.ends_with(".efi") && (rest.starts_with(['.', '+'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_known_with_and_without_a_count_of_tries() {
        for name in ["edgepair-a.efi", "edgepair-a+3.efi", "edgepair-a+2-1.efi"] {
            assert!(is_kernel_of(name, Slot::A), "{name}");
            assert!(!is_kernel_of(name, Slot::B), "{name}");
        }
        assert!(!is_kernel_of("edgepair-attic.efi", Slot::A));
        assert!(!is_kernel_of("other.efi", Slot::A));
    }
}
