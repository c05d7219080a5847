//! The partition table, and what lies in which order.

use disk::ReadAt;
use disk::gpt::{Health, SECTOR_BYTES, types};

use super::Checks;
use super::compare::Comparison;
use crate::image::layout::{ALIGNMENT_BYTES, Part};
use crate::image::open::OpenImage;
use crate::image::region::Region;

pub(super) fn check(image: &OpenImage, checks: &mut Checks<'_>) {
    for (which, health) in [("primary", &image.table.primary), ("backup", &image.table.backup)] {
        let result = match health {
            Health::Good => Ok(health.to_string()),
            _ => Err(format!("{health}: write the image again")),
        };
        checks.note(format!("partition table, {which}"), result);
    }
    checks.note("partition table, bytes", encoding(image));
    checks.note("partitions", order(image));
    checks.note("state partition", state(image));
}

/// Also finds what no checksum covers: the protective MBR and the rest of the headers' sectors.
fn encoding(image: &OpenImage) -> Result<String, String> {
    let table = &image.table.table;
    let pieces = table.encode().map_err(|error| error.to_string())?;
    let mut comparison = Comparison::new(Region::new(&image.file, 0, image.bytes));
    for piece in pieces {
        let compared = disk::WriteAt::write_all_at(&mut comparison, piece.offset, &piece.bytes);
        compared.map_err(|error| error.to_string())?;
    }
    if let Some(offset) = comparison.first_difference {
        return Err(format!("byte {offset} is not what the table says: write the image again"));
    }
    let at_end = table.disk_sectors * SECTOR_BYTES == image.bytes;
    Ok(if at_end { "as encoded" } else { "as encoded; the disk is larger than the image" }.into())
}

fn order(image: &OpenImage) -> Result<String, String> {
    let partitions = &image.table.table.partitions;
    let mut places = Vec::new();
    for part in Part::ALL {
        let partition = image.partition(part).map_err(|error| error.to_string())?;
        if !partition.offset_bytes().is_multiple_of(ALIGNMENT_BYTES) {
            return Err(format!("{} does not start at a whole MiB", partition.name));
        }
        places.push(partition.first_lba);
    }
    if !places.is_sorted() {
        return Err("they are not in the order that the builder gives them".to_owned());
    }
    let state = places.last().copied().unwrap_or(0);
    if let Some(behind) = partitions.iter().find(|partition| partition.first_lba > state) {
        return Err(format!("{} lies behind STATE, which must be last to grow", behind.name));
    }
    Ok(format!("{} in order, STATE last", partitions.len()))
}

/// An image has an empty one, a node an ext4 of its own.
fn state(image: &OpenImage) -> Result<String, String> {
    const PROBE_BYTES: usize = 4096;
    const EXT4_MAGIC_AT: usize = 1024 + 56;
    const EXT4_MAGIC: [u8; 2] = [0x53, 0xef];
    let partition = image.partition(Part::State).map_err(|error| error.to_string())?;
    let region = Region::new(&image.file, partition.offset_bytes(), partition.size_bytes());
    let mut start = [0; PROBE_BYTES];
    region.read_exact_at(0, &mut start).map_err(|error| error.to_string())?;
    let is_unmade = partition.attributes & types::ATTRIBUTE_UNMADE != 0;
    if start.iter().all(|byte| *byte == 0) {
        if !is_unmade {
            return Err("empty, but marked as made: the node would refuse it".to_owned());
        }
        return Ok("empty, to be made at first boot".to_owned());
    }
    if start[EXT4_MAGIC_AT..EXT4_MAGIC_AT + 2] == EXT4_MAGIC {
        return Ok("a node's own ext4, not looked into".to_owned());
    }
    Err("neither empty nor ext4: the node would not know what to do with it".to_owned())
}
