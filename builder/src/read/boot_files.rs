//! The files of the boot partition: what the firmware and the boot loader will find.

use std::collections::BTreeMap;

use disk::fat::{ReadError, Volume};
use disk::verity::to_hex;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::image::assemble::{ESP_DIGESTS, without_tries};
use crate::image::layout::Part;
use crate::image::open::{OpenError, OpenImage};
use crate::image::region::Region;

/// Firmware and boot loaders go three folders deep.
const MAX_DEPTH: usize = 16;
/// A boot partition has a handful of files.
const MAX_FILES: usize = 4096;

/// Why the files can't be read.
#[derive(Debug, Error)]
pub enum BootFilesError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("boot partition, {path}: {source}")]
    Read { path: String, source: ReadError },
    #[error("boot partition: its folders lead in circles or hold more than it has room for")]
    Circle,
}

/// One file.
#[derive(Clone, PartialEq, Eq)]
pub struct BootFile {
    /// As it is called now, with a kernel's count of tries.
    pub path: String,
    pub content: Vec<u8>,
}

impl std::fmt::Debug for BootFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BootFile({:?}, {} bytes)", self.path, self.content.len())
    }
}

impl BootFile {
    pub fn sha256(&self) -> String {
        to_hex(&Sha256::digest(&self.content))
    }

    /// The path under which its digest is listed.
    pub fn listed_path(&self) -> String {
        without_tries(&self.path)
    }
}

/// Opens the boot partition.
pub fn volume(image: &OpenImage) -> Result<Volume<Region<'_>>, BootFilesError> {
    let esp = image.partition(Part::Esp)?;
    let region = Region::new(&image.file, esp.offset_bytes(), esp.size_bytes());
    Volume::open(region).map_err(|source| BootFilesError::Read { path: "/".to_owned(), source })
}

/// Reads every file, in path order.
pub fn read_all(image: &OpenImage) -> Result<Vec<BootFile>, BootFilesError> {
    let volume = volume(image)?;
    // Damaged entries may all lead to the same clusters; honest ones never exceed the volume.
    let mut room = image.partition(Part::Esp)?.size_bytes();
    let mut files = Vec::new();
    let mut pending = vec![(String::new(), 0)];
    while let Some((folder, depth)) = pending.pop() {
        let failed = |path: &str, source| BootFilesError::Read { path: path.to_owned(), source };
        for entry in volume.list(&folder).map_err(|source| failed(&folder, source))? {
            let path = if folder.is_empty() {
                entry.name.clone()
            } else {
                format!("{folder}/{}", entry.name)
            };
            if depth > MAX_DEPTH || files.len() + pending.len() > MAX_FILES {
                return Err(BootFilesError::Circle);
            }
            if entry.is_directory {
                pending.push((path, depth + 1));
                continue;
            }
            let size = u64::from(entry.size);
            room = room.checked_sub(size).ok_or(BootFilesError::Circle)?;
            let content = volume.read_file(&path, size).map_err(|source| failed(&path, source))?;
            files.push(BootFile { path, content });
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

/// What the boot partition says that its files must be: path to SHA-256. None if it doesn't say.
pub fn listed_digests(files: &[BootFile]) -> Option<BTreeMap<String, String>> {
    let list = files.iter().find(|file| file.path == ESP_DIGESTS)?;
    let text = String::from_utf8_lossy(&list.content);
    let lines = text.lines().map(|line| line.split_once("  ").unwrap_or((line, "")));
    Some(lines.map(|(sum, path)| (path.to_owned(), sum.to_owned())).collect())
}
