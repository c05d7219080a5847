//! The boot partition: every file against its digest, and all that is around them.

use disk::ReadAt;
use disk::boot::Slot;
use disk::fat::{self, NewFile, Timestamp};

use super::Checks;
use super::compare::Comparison;
use crate::image::assemble::ESP_DIGESTS;
use crate::image::layout::Part;
use crate::image::open::OpenImage;
use crate::image::region::Region;
use crate::image::uki;
use crate::read::boot_files::{self, BootFile};
use crate::read::slots::Tries;

/// What the boot loader and stage 1 look for in a kernel.
const SECTIONS: [&str; 5] = [".osrel", ".cmdline", ".uname", ".linux", ".initrd"];
/// How many tries a kernel has that was never booted.
const FRESH_TRIES: u32 = 3;

pub(super) fn check(
    image: &OpenImage,
    files: &[BootFile],
    date: Option<u64>,
    checks: &mut Checks<'_>,
) {
    checks.note("boot partition, files", digests(files));
    for file in files.iter().filter(|file| file.path.starts_with("EFI/Linux/")) {
        checks.note(format!("kernel {}", file.path), sections(file));
    }
    checks.note("boot partition, tables", tables(image));
    checks.note("boot partition, layout", layout(image, files, date));
}

fn digests(files: &[BootFile]) -> Result<String, String> {
    let listed = boot_files::listed_digests(files)
        .ok_or_else(|| format!("no {ESP_DIGESTS}: build the image anew"))?;
    for (path, digest) in &listed {
        let file = files.iter().find(|file| file.listed_path() == *path);
        let file = file.ok_or_else(|| format!("{path} is listed but not there"))?;
        if file.sha256() != *digest {
            return Err(format!("{} is damaged: its digest is not the listed one", file.path));
        }
    }
    let unlisted = files
        .iter()
        .find(|file| file.path != ESP_DIGESTS && !listed.contains_key(&file.listed_path()));
    match unlisted {
        Some(file) => Err(format!("{} is there but not listed in {ESP_DIGESTS}", file.path)),
        None => Ok(format!("{} with the right digest", listed.len())),
    }
}

fn sections(file: &BootFile) -> Result<String, String> {
    for name in SECTIONS {
        let section = uki::read_section(&file.content, name).map_err(|error| error.to_string())?;
        if section.is_none_or(<[u8]>::is_empty) {
            return Err(format!("section {name} is missing"));
        }
    }
    Ok(format!("has {}", SECTIONS.join(" ")))
}

/// Both copies of the allocation table must agree, even about clusters that no file uses.
fn tables(image: &OpenImage) -> Result<String, String> {
    let partition = image.partition(Part::Esp).map_err(|error| error.to_string())?;
    let region = Region::new(&image.file, partition.offset_bytes(), partition.size_bytes());
    let mut sector = [0; 512];
    region.read_exact_at(0, &mut sector).map_err(|error| error.to_string())?;
    let u16_at = |at: usize| u64::from(u16::from_le_bytes([sector[at], sector[at + 1]]));
    let (sector_bytes, reserved, copies) = (u16_at(11), u16_at(14), u64::from(sector[16]));
    let sectors = match u16_at(22) {
        0 => u16_at(36) | u16_at(38) << 16,
        small => small,
    };
    let (start, length) = (reserved * sector_bytes, sectors * sector_bytes);
    let read = |copy: u64| {
        let room = start + (copy + 1) * length <= region.size();
        let mut bytes = vec![0; if room { usize::try_from(length).unwrap_or(0) } else { 0 }];
        let read = region.read_exact_at(start + copy * length, &mut bytes);
        read.map(|()| bytes).map_err(|error| error.to_string())
    };
    let first = read(0)?;
    for copy in 1..copies {
        if read(copy)? != first {
            return Err("the copies of the allocation table differ: write the image again".into());
        }
    }
    Ok(format!("{copies} equal copies"))
}

/// Formats the same files again, in memory, and compares. A node that has booted renamed its kernel,
/// so there only the checks above count.
fn layout(image: &OpenImage, files: &[BootFile], date: Option<u64>) -> Result<String, String> {
    let kernel_name = |file: &BootFile| file.path.strip_prefix("EFI/Linux/").map(str::to_owned);
    for name in files.iter().filter_map(kernel_name) {
        match Tries::of(&name) {
            Tries::Counting { left: FRESH_TRIES, failed: 0 } => {}
            Tries::Counting { left, failed } if failed > 0 && left + failed == FRESH_TRIES => {
                return Ok("changed by a boot".to_owned());
            }
            Tries::Good => return Ok("changed by a boot".to_owned()),
            _ => {
                return Err(format!("the kernel's name {name:?} has an odd count of tries"));
            }
        }
    }
    let date = date.ok_or("unknown: the root does not tell its date")?;
    let partition = image.partition(Part::Esp).map_err(|error| error.to_string())?;
    let volume = boot_files::volume(image).map_err(|error| error.to_string())?;
    let spec = fat::Spec {
        size_bytes: partition.size_bytes(),
        serial: volume.serial(),
        label: "ESP",
        time: Timestamp::from_unix(date),
    };
    let mut ordered: Vec<&BootFile> = files.iter().collect();
    ordered.sort_by_key(|file| written_order(&file.path));
    let new: Vec<NewFile<'_>> =
        ordered.iter().map(|file| NewFile { path: &file.path, content: &file.content }).collect();
    let region = Region::new(&image.file, partition.offset_bytes(), partition.size_bytes());
    let mut comparison = Comparison::new(region);
    fat::format(&spec, &new, &mut comparison).map_err(|error| error.to_string())?;
    match comparison.first_difference {
        Some(offset) => Err(format!(
            "byte {offset} of the partition is not what the builder writes: write the image again"
        )),
        None => Ok("as the builder writes it".to_owned()),
    }
}

/// The order in which the assembly gives files their clusters.
fn written_order(path: &str) -> usize {
    let known = ["EFI/BOOT/", "loader/loader.conf", ESP_DIGESTS];
    let place = known.iter().position(|start| path.starts_with(start));
    place.unwrap_or_else(|| {
        let of_slot = |slot: &Slot| path.contains(&format!("-{}+", slot.letter()));
        let slot = Slot::BOTH.iter().position(of_slot);
        known.len() + slot.unwrap_or(Slot::BOTH.len())
    })
}
