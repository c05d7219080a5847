//! Where the parts of a volume lie, for volumes that we make and for those that we meet.

#![expect(
    clippy::cast_possible_truncation,
    reason = "all counts are below the 32-bit number of sectors"
)]

use super::SLOT_BYTES;

/// What we format with; every machine can read it.
pub(super) const SECTOR_BYTES: u32 = 512;

/// Below so many clusters a volume is FAT12, and below the next number FAT16: this is the
/// definition, whatever the boot sector's text says.
const FAT12_CLUSTERS: u32 = 4085;
const FAT16_CLUSTERS: u32 = 65_525;

/// Some drivers get the borders slightly wrong, so we stay away from them.
const MARGIN_CLUSTERS: u32 = 85;

/// The largest size at which we make FAT12 and the smallest at which we make FAT32.
const FAT12_UP_TO_SECTORS: u32 = 4 * 1024 * 1024 / SECTOR_BYTES;
const FAT32_FROM_SECTORS: u32 = 64 * 1024 * 1024 / SECTOR_BYTES;

/// 4 KiB: what firmware and desk machines handle best.
const MAX_NEW_SECTORS_PER_CLUSTER: u32 = 8;

/// Usual, and a whole number of sectors.
const NEW_ROOT_ENTRIES: u32 = 512;

/// How wide the entries of the allocation table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Fat12,
    Fat16,
    Fat32,
}

/// All numbers that place the parts of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) kind: Kind,
    pub(super) sector_bytes: u32,
    pub(super) sectors_per_cluster: u32,
    pub(super) reserved_sectors: u32,
    pub(super) fats: u32,
    pub(super) fat_sectors: u32,
    /// Room in the fixed root directory; none on FAT32.
    pub(super) root_entries: u32,
    pub(super) total_sectors: u32,
    /// Clusters for data; they are numbered from 2.
    pub(super) clusters: u32,
    /// Where the root directory starts on FAT32.
    pub(super) root_cluster: u32,
}

impl Kind {
    /// The definition of the three kinds.
    pub(super) fn of_clusters(clusters: u32) -> Self {
        match clusters {
            0..FAT12_CLUSTERS => Self::Fat12,
            FAT12_CLUSTERS..FAT16_CLUSTERS => Self::Fat16,
            _ => Self::Fat32,
        }
    }

    pub(super) fn bits(self) -> u32 {
        match self {
            Self::Fat12 => 12,
            Self::Fat16 => 16,
            Self::Fat32 => 32,
        }
    }

    /// From this value on an entry ends a chain.
    pub(super) fn end_of_chain(self) -> u32 {
        match self {
            Self::Fat12 => 0xff8,
            Self::Fat16 => 0xfff8,
            Self::Fat32 => 0x0fff_fff8,
        }
    }

    fn for_new_volume(total_sectors: u32) -> Self {
        match total_sectors {
            0..=FAT12_UP_TO_SECTORS => Self::Fat12,
            sectors if sectors < FAT32_FROM_SECTORS => Self::Fat16,
            _ => Self::Fat32,
        }
    }

    fn new_sectors_per_cluster(self, total_sectors: u32) -> u32 {
        let sizes = [1, 2, 4, MAX_NEW_SECTORS_PER_CLUSTER];
        let below = |limit: u32| {
            let few_enough = |size: &u32| total_sectors / size < limit - MARGIN_CLUSTERS;
            sizes.into_iter().find(few_enough).unwrap_or(MAX_NEW_SECTORS_PER_CLUSTER)
        };
        match self {
            Self::Fat12 => below(FAT12_CLUSTERS),
            Self::Fat16 => below(FAT16_CLUSTERS),
            Self::Fat32 => {
                // The tables themselves take up to 2 % of such a volume.
                let wanted = FAT16_CLUSTERS + MARGIN_CLUSTERS;
                let many_enough = |size: &u32| total_sectors / 50 * 49 / size > wanted;
                sizes.into_iter().rev().find(many_enough).unwrap_or(1)
            }
        }
    }
}

impl Geometry {
    /// For a fresh volume; none if so few sectors leave no cluster.
    pub(super) fn for_new_volume(total_sectors: u32) -> Option<Self> {
        let kind = Kind::for_new_volume(total_sectors);
        let sectors_per_cluster = kind.new_sectors_per_cluster(total_sectors);
        let is_fat32 = kind == Kind::Fat32;
        let reserved_sectors = if is_fat32 { 32 } else { 1 };
        let root_entries = if is_fat32 { 0 } else { NEW_ROOT_ENTRIES };
        // Slightly more than needed, since the tables' own sectors are not clusters.
        let most_entries = u64::from(total_sectors / sectors_per_cluster) + 2;
        let fat_bits = most_entries * u64::from(kind.bits());
        let fat_sectors = fat_bits.div_ceil(u64::from(SECTOR_BYTES) * 8) as u32;
        let mut geometry = Self {
            kind,
            sector_bytes: SECTOR_BYTES,
            sectors_per_cluster,
            reserved_sectors,
            fats: 2,
            fat_sectors,
            root_entries,
            total_sectors,
            clusters: 0,
            root_cluster: if is_fat32 { 2 } else { 0 },
        };
        let data_sectors = u64::from(total_sectors).checked_sub(geometry.data_start_sector())?;
        geometry.clusters = (data_sectors / u64::from(sectors_per_cluster)) as u32;
        (geometry.clusters > 0 && Kind::of_clusters(geometry.clusters) == kind).then_some(geometry)
    }

    pub(super) fn cluster_bytes(&self) -> u32 {
        self.sector_bytes * self.sectors_per_cluster
    }

    pub(super) fn root_sectors(&self) -> u64 {
        let bytes = u64::from(self.root_entries) * SLOT_BYTES as u64;
        bytes.div_ceil(u64::from(self.sector_bytes))
    }

    /// Where table number `index` starts, in bytes.
    pub(super) fn fat_offset(&self, index: u32) -> u64 {
        let sector =
            u64::from(self.reserved_sectors) + u64::from(index) * u64::from(self.fat_sectors);
        sector * u64::from(self.sector_bytes)
    }

    pub(super) fn fat_bytes(&self) -> u64 {
        u64::from(self.fat_sectors) * u64::from(self.sector_bytes)
    }

    /// Where the fixed root directory of FAT12 and FAT16 starts, in bytes.
    pub(super) fn root_offset(&self) -> u64 {
        self.fat_offset(self.fats)
    }

    pub(super) fn data_start_sector(&self) -> u64 {
        let tables = u64::from(self.fats) * u64::from(self.fat_sectors);
        u64::from(self.reserved_sectors) + tables + self.root_sectors()
    }

    /// Where a cluster starts, in bytes; `cluster` is one of [`Self::is_data_cluster`].
    pub(super) fn cluster_offset(&self, cluster: u32) -> u64 {
        let data_start = self.data_start_sector() * u64::from(self.sector_bytes);
        data_start + u64::from(cluster - 2) * u64::from(self.cluster_bytes())
    }

    pub(super) fn is_data_cluster(&self, cluster: u32) -> bool {
        cluster >= 2 && cluster - 2 < self.clusters
    }

    pub(super) fn clusters_for(&self, bytes: u64) -> u64 {
        bytes.div_ceil(u64::from(self.cluster_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_from_64_kib_to_32_gib_gives_its_kind() {
        let mut sectors = 128_u32;
        while sectors <= 64 * 1024 * 1024 {
            for total in [sectors - 1, sectors, sectors + 1] {
                let geometry = Geometry::for_new_volume(total).expect("room for clusters");
                assert_eq!(Kind::of_clusters(geometry.clusters), geometry.kind, "{total}");
                let entries = geometry.fat_bytes() * 8 / u64::from(geometry.kind.bits());
                assert!(entries >= u64::from(geometry.clusters) + 2, "{total}");
            }
            sectors += sectors / 7;
        }
        assert!(Geometry::for_new_volume(16).is_none());
    }
}
