//! A slot: the kernel's claims about its root, the hash tree, the filesystem, and what it lists.

use std::io;

use disk::ReadAt;
use disk::verity::{BLOCK_BYTES, Superblock, to_hex};
use seed::manifest::Manifest;

use super::Checks;
use crate::explain::chain;
use crate::image::ext4::read::EntryKind;
use crate::image::layout::{Part, derived_guid};
use crate::image::open::{OpenImage, SlotKernel};
use crate::image::region::Region;
use crate::image::verity;
use crate::progress::Bytes;
use crate::read::root::{Root, check_span};

/// Checks one slot and returns its manifest, if that can be trusted.
pub(super) fn check(
    image: &OpenImage,
    kernel: &SlotKernel,
    checks: &mut Checks<'_>,
) -> Option<Manifest> {
    let slot = kernel.slot.letter();
    if !checks.note(format!("slot {slot}, kernel"), claims(image, kernel)) {
        return None;
    }
    checks.note(format!("slot {slot}, hash tree superblock"), superblock(image, kernel));
    if !checks.note(format!("slot {slot}, hash tree"), tree(image, kernel)) {
        // Without the tree nobody vouches for a single block of the filesystem.
        return None;
    }
    checks.bar.add(kernel.arguments.verity.data_blocks * BLOCK_BYTES);
    let root = match Root::open(image, kernel) {
        Ok(root) => root,
        Err(error) => {
            checks.note(format!("slot {slot}, root"), Err(chain(&error)));
            return None;
        }
    };
    let bar = checks.bar;
    checks.note(format!("slot {slot}, files"), files(&root, bar));
    checks.note(format!("slot {slot}, origins"), origins(&root));
    Some(root.manifest)
}

/// The command line must speak of the partition that is there, and of no more than it has.
fn claims(image: &OpenImage, kernel: &SlotKernel) -> Result<String, String> {
    let partition = image.partition(Part::Root(kernel.slot)).map_err(|error| error.to_string())?;
    let arguments = &kernel.arguments;
    if arguments.slot != kernel.slot {
        return Err(format!("its command line starts slot {}", arguments.slot.letter()));
    }
    if arguments.root != partition.guid {
        return Err(format!("its root is {}, {} is not", arguments.root, partition.name));
    }
    check_span(image, kernel).map_err(|error| chain(&error))?;
    Ok(format!("starts {}", partition.name))
}

/// The root hash covers the tree but not the superblock before it.
fn superblock(image: &OpenImage, kernel: &SlotKernel) -> Result<String, String> {
    let partition = image.partition(Part::Root(kernel.slot)).map_err(|error| error.to_string())?;
    let parameters = &kernel.arguments.verity;
    let wanted = Superblock {
        uuid: derived_guid(&parameters.salt, "root filesystem").bytes(),
        data_blocks: parameters.data_blocks,
        salt: parameters.salt.to_vec(),
    };
    let wanted = wanted.encode().map_err(|error| error.to_string())?;
    let region = Region::new(&image.file, partition.offset_bytes(), partition.size_bytes());
    let mut there = vec![0; wanted.len()];
    let at = parameters.data_blocks * BLOCK_BYTES;
    region.read_exact_at(at, &mut there).map_err(|error| error.to_string())?;
    if there != wanted {
        return Err("not what the kernel's command line says: write the image again".to_owned());
    }
    Ok("as the kernel's command line says".to_owned())
}

fn tree(image: &OpenImage, kernel: &SlotKernel) -> Result<String, String> {
    let partition = image.partition(Part::Root(kernel.slot)).map_err(|error| error.to_string())?;
    let parameters = &kernel.arguments.verity;
    let bytes = parameters.data_blocks * BLOCK_BYTES;
    let start = partition.offset_bytes();
    let checked = verity::check(&image.file, start, bytes, &parameters.root_hash);
    checked.map_err(|error| format!("{}: write the image again", chain(&error)))?;
    let root = to_hex(&parameters.root_hash);
    Ok(format!("{} blocks under {root}", parameters.data_blocks))
}

/// Every file is read to its end and has as many bytes as it says.
fn files(root: &Root, bar: &Bytes<'_>) -> Result<String, String> {
    let mut count = 0_usize;
    for entry in &root.files.entries {
        match entry.kind {
            EntryKind::Directory | EntryKind::Symlink(_) => {}
            EntryKind::Other => return Err(format!("{} is a special file", entry.path)),
            EntryKind::File => {
                let mut counter = Counter { bytes: 0, bar };
                root.files.copy(entry, &mut counter).map_err(|error| chain(&error))?;
                if counter.bytes != entry.size {
                    let (path, size) = (&entry.path, entry.size);
                    return Err(format!("{path} has {} of {size} bytes", counter.bytes));
                }
                count += 1;
            }
        }
    }
    Ok(format!("{count} files and {} other entries read", root.files.entries.len() - count))
}

/// The list of origins and the filesystem name the same entries.
fn origins(root: &Root) -> Result<String, String> {
    let Some(origins) = &root.origins else {
        return Err("the image does not list them: build it anew".to_owned());
    };
    if let Some((missing, _)) = origins.iter().find(|(path, _)| root.files.get(path).is_none()) {
        return Err(format!("{missing} is listed but not there"));
    }
    let unlisted = root.files.entries.iter().find(|entry| origins.get(&entry.path).is_none());
    match unlisted {
        Some(entry) => Err(format!("{} is there but not listed", entry.path)),
        None => Ok(format!("{} entries, all listed", origins.len())),
    }
}

struct Counter<'a> {
    bytes: u64,
    bar: &'a Bytes<'a>,
}

impl io::Write for Counter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        self.bar.add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
