//! Where each partition lies: pure arithmetic from the image definition.
//!
//! ```text
//!  1 MiB │ ESP │ ROOT-A │ ROOT-B │ SEED │ STATE ─> end │ 1 MiB with the backup table
//! ```
//! STATE is last because the node grows it to the end of its disk. SEED and STATE stand behind
//! everything that all nodes share, so that two images differ only at their ends.

use disk::boot::Slot;
use disk::gpt::{GptError, Guid, Partition, SECTOR_BYTES, Table, types};
use sha2::{Digest, Sha256};

use crate::root::definition::{Architecture, Partitions};

/// Partitions start at whole mebibytes: a multiple of every disk's and flash's block size.
pub const ALIGNMENT_BYTES: u64 = 1 << 20;

/// The partitions, in the order in which they lie on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Esp,
    Root(Slot),
    Seed,
    State,
}

impl Part {
    pub const ALL: [Self; 5] =
        [Self::Esp, Self::Root(Slot::A), Self::Root(Slot::B), Self::Seed, Self::State];

    /// The name in the partition table, by which the node finds it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Esp => "ESP",
            Self::Root(slot) => slot.partition_name(),
            Self::Seed => "SEED",
            Self::State => "STATE",
        }
    }

    fn type_guid(self, architecture: Architecture) -> Guid {
        match (self, architecture) {
            (Self::Esp, _) => types::ESP,
            (Self::Root(_), Architecture::Amd64) => types::ROOT_X86_64,
            (Self::Root(_), Architecture::Arm64) => types::ROOT_ARM64,
            // A desk machine shows volumes of this type to its user.
            (Self::Seed, _) => types::BASIC_DATA,
            (Self::State, _) => types::LINUX_GENERIC,
        }
    }

    fn attributes(self) -> u64 {
        match self {
            Self::Root(_) => types::ATTRIBUTE_READ_ONLY | types::ATTRIBUTE_NO_AUTO,
            // The node formats STATE at its first boot, and nothing that is not marked so.
            Self::State => types::ATTRIBUTE_UNMADE,
            Self::Esp | Self::Seed => 0,
        }
    }

    fn bytes(self, sizes: &Partitions) -> u64 {
        match self {
            Self::Esp => sizes.esp.bytes(),
            Self::Root(_) => sizes.slot.bytes(),
            Self::Seed => sizes.seed.bytes(),
            Self::State => sizes.state.bytes(),
        }
    }
}

/// The size of the whole disk.
pub fn disk_bytes(sizes: &Partitions) -> u64 {
    let parts: u64 = Part::ALL.iter().map(|part| part.bytes(sizes)).sum();
    parts + 2 * ALIGNMENT_BYTES
}

/// The partition table. Its identities come from `identity`, which names what the image is built
/// from, so equal inputs give equal tables.
pub fn table(
    sizes: &Partitions,
    architecture: Architecture,
    identity: &[u8],
) -> Result<Table, GptError> {
    let disk_guid = derived_guid(identity, "disk");
    let mut table = Table::new(disk_guid, disk_bytes(sizes) / SECTOR_BYTES)?;
    let mut start = ALIGNMENT_BYTES;
    for (number, part) in (1..).zip(Part::ALL) {
        let end = start + part.bytes(sizes);
        table.partitions.push(Partition {
            number,
            type_guid: part.type_guid(architecture),
            guid: derived_guid(identity, part.name()),
            first_lba: start / SECTOR_BYTES,
            last_lba: end / SECTOR_BYTES - 1,
            attributes: part.attributes(),
            name: part.name().to_owned(),
        });
        start = end;
    }
    table.check()?;
    Ok(table)
}

/// A GUID that is the same for the same image and purpose, and different for any other.
pub fn derived_guid(identity: &[u8], purpose: &str) -> Guid {
    let digest = Sha256::new().chain_update(identity).chain_update(purpose).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Guid::from_bytes(bytes).as_version_4()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::size::ByteSize;

    fn sizes() -> Partitions {
        let mib = |count: u64| ByteSize::new(count << 20);
        Partitions {
            esp: mib(64),
            slot: mib(100),
            seed: mib(4),
            state: mib(16),
            fill_both_slots: false,
        }
    }

    #[test]
    fn partitions_are_aligned_and_fill_the_disk() {
        let table = table(&sizes(), Architecture::Amd64, b"image").expect("a table");
        assert_eq!(table.disk_sectors * SECTOR_BYTES, (64 + 200 + 4 + 16 + 2) << 20);
        let mut end = ALIGNMENT_BYTES;
        for partition in &table.partitions {
            assert_eq!(partition.offset_bytes(), end, "{}", partition.name);
            end += partition.size_bytes();
        }
        assert!(end / SECTOR_BYTES <= table.last_usable_lba + 1);
    }

    #[test]
    fn identities_depend_on_the_image_and_the_purpose_alone() {
        assert_eq!(derived_guid(b"a", "ESP"), derived_guid(b"a", "ESP"));
        assert_ne!(derived_guid(b"a", "ESP"), derived_guid(b"b", "ESP"));
        assert_ne!(derived_guid(b"a", "ESP"), derived_guid(b"a", "SEED"));
    }
}
