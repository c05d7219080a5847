//! The boot sector, and FAT32's information sector.

#![expect(
    clippy::cast_possible_truncation,
    reason = "clusters are fewer than the 32-bit number of sectors"
)]

use super::geometry::{Geometry, Kind};
use super::read::ReadError;
use crate::little_endian::{bytes_at, put, u16_at, u32_at};

pub(super) const BOOT_SECTOR_BYTES: usize = 512;

/// Where FAT32 keeps the information sector and the copy of both sectors.
const INFORMATION_SECTOR: u16 = 1;
const COPY_SECTOR: u16 = 6;

/// A fixed disk.
pub(super) const MEDIA: u8 = 0xf8;

/// The larger end of what formatters use.
const MAX_CLUSTER_BYTES: u32 = 256 * 1024;

/// A parsed boot sector.
#[derive(Clone, Debug)]
pub(super) struct BootSector {
    pub(super) geometry: Geometry,
    pub(super) serial: u32,
    pub(super) label: [u8; 11],
}

/// Everything from sector 0 to the first allocation table.
pub(super) fn encode_reserved(
    geometry: &Geometry,
    serial: u32,
    label: &[u8; 11],
    next_free: u32,
) -> Vec<u8> {
    let boot = encode_boot(geometry, serial, label);
    let sector = BOOT_SECTOR_BYTES;
    let mut reserved = vec![0; geometry.reserved_sectors as usize * sector];
    put(&mut reserved, 0, &boot);
    if geometry.kind == Kind::Fat32 {
        let information = encode_information(geometry, next_free);
        put(&mut reserved, usize::from(INFORMATION_SECTOR) * sector, &information);
        put(&mut reserved, usize::from(COPY_SECTOR) * sector, &boot);
        put(&mut reserved, usize::from(COPY_SECTOR + INFORMATION_SECTOR) * sector, &information);
    }
    reserved
}

fn encode_boot(geometry: &Geometry, serial: u32, label: &[u8; 11]) -> Vec<u8> {
    let mut sector = vec![0; BOOT_SECTOR_BYTES];
    let is_fat32 = geometry.kind == Kind::Fat32;
    put(&mut sector, 0, if is_fat32 { &[0xeb, 0x58, 0x90] } else { &[0xeb, 0x3c, 0x90] });
    // Some old drivers look for just this text.
    put(&mut sector, 3, b"MSWIN4.1");
    put(&mut sector, 11, &low_16(geometry.sector_bytes));
    sector[13] = low_16(geometry.sectors_per_cluster)[0];
    put(&mut sector, 14, &low_16(geometry.reserved_sectors));
    sector[16] = low_16(geometry.fats)[0];
    put(&mut sector, 17, &low_16(geometry.root_entries));
    sector[21] = MEDIA;
    // Heads and sectors of a disk that never had any.
    put(&mut sector, 24, &63_u16.to_le_bytes());
    put(&mut sector, 26, &255_u16.to_le_bytes());
    if !is_fat32 && geometry.total_sectors < 0x1_0000 {
        put(&mut sector, 19, &low_16(geometry.total_sectors));
    } else {
        put(&mut sector, 32, &geometry.total_sectors.to_le_bytes());
    }
    let extension = if is_fat32 {
        put(&mut sector, 36, &geometry.fat_sectors.to_le_bytes());
        put(&mut sector, 44, &geometry.root_cluster.to_le_bytes());
        put(&mut sector, 48, &INFORMATION_SECTOR.to_le_bytes());
        put(&mut sector, 50, &COPY_SECTOR.to_le_bytes());
        64
    } else {
        put(&mut sector, 22, &low_16(geometry.fat_sectors));
        36
    };
    sector[extension] = 0x80;
    sector[extension + 2] = 0x29;
    put(&mut sector, extension + 3, &serial.to_le_bytes());
    put(&mut sector, extension + 7, label);
    let kind_text = match geometry.kind {
        Kind::Fat12 => b"FAT12   ",
        Kind::Fat16 => b"FAT16   ",
        Kind::Fat32 => b"FAT32   ",
    };
    put(&mut sector, extension + 18, kind_text);
    put(&mut sector, 510, &[0x55, 0xaa]);
    sector
}

/// What FAT keeps in 16 bits; the geometry of a new volume is chosen so that it fits.
fn low_16(number: u32) -> [u8; 2] {
    let [low, high, ..] = number.to_le_bytes();
    [low, high]
}

fn encode_information(geometry: &Geometry, next_free: u32) -> Vec<u8> {
    let free = geometry.clusters + 2 - next_free;
    let mut sector = vec![0; BOOT_SECTOR_BYTES];
    put(&mut sector, 0, b"RRaA");
    put(&mut sector, 484, b"rrAa");
    put(&mut sector, 488, &free.to_le_bytes());
    put(&mut sector, 492, &next_free.to_le_bytes());
    put(&mut sector, 510, &[0x55, 0xaa]);
    sector
}

impl BootSector {
    /// Reads the boot sector of a volume that is `size` bytes long.
    pub(super) fn parse(sector: &[u8; BOOT_SECTOR_BYTES], size: u64) -> Result<Self, ReadError> {
        if sector[510..] != [0x55, 0xaa] {
            return Err(ReadError::NotFat("the boot signature is missing"));
        }
        let geometry = parse_geometry(sector)?;
        let sector_bytes = u64::from(geometry.sector_bytes);
        if u64::from(geometry.total_sectors) * sector_bytes > size {
            let why = "it claims to be larger than its partition";
            return Err(ReadError::NotFat(why));
        }
        let fat_bits = (u64::from(geometry.clusters) + 2) * u64::from(geometry.kind.bits());
        if geometry.clusters == 0 || geometry.fat_bytes() * 8 < fat_bits {
            let why = "its allocation table is too short for its size";
            return Err(ReadError::NotFat(why));
        }
        let is_fat32 = geometry.kind == Kind::Fat32;
        if is_fat32 != (geometry.root_entries == 0) {
            return Err(ReadError::NotFat("its root directory does not fit its kind"));
        }
        let extension = if is_fat32 { 64 } else { 36 };
        // Only with this mark do serial number and label exist.
        let marked = sector[extension + 2] == 0x29;
        let serial = if marked { u32_at(sector, extension + 3) } else { 0 };
        let label = if marked { bytes_at(sector, extension + 7) } else { *b"NO NAME    " };
        Ok(Self { geometry, serial, label })
    }
}

/// The numbers that place everything else, each within its own limits.
fn parse_geometry(sector: &[u8; BOOT_SECTOR_BYTES]) -> Result<Geometry, ReadError> {
    let sector_bytes = u32::from(u16_at(sector, 11));
    if !(512..=4096).contains(&sector_bytes) || !sector_bytes.is_power_of_two() {
        return Err(ReadError::NotFat("the sector size is not 512 to 4096"));
    }
    let sectors_per_cluster = u32::from(sector[13]);
    if !sectors_per_cluster.is_power_of_two()
        || sectors_per_cluster * sector_bytes > MAX_CLUSTER_BYTES
    {
        return Err(ReadError::NotFat("the cluster size is not a power of two"));
    }
    let reserved_sectors = u32::from(u16_at(sector, 14));
    let fats = u32::from(sector[16]);
    if reserved_sectors == 0 || !(1..=4).contains(&fats) {
        return Err(ReadError::NotFat("there is no allocation table"));
    }
    // A number that does not fit its old 16-bit place is zero there.
    let either = |short: u16, long: u32| if short == 0 { long } else { u32::from(short) };
    let mut geometry = Geometry {
        kind: Kind::Fat32,
        sector_bytes,
        sectors_per_cluster,
        reserved_sectors,
        fats,
        fat_sectors: either(u16_at(sector, 22), u32_at(sector, 36)),
        root_entries: u32::from(u16_at(sector, 17)),
        total_sectors: either(u16_at(sector, 19), u32_at(sector, 32)),
        clusters: 0,
        root_cluster: u32_at(sector, 44) & 0x0fff_ffff,
    };
    let data_sectors =
        u64::from(geometry.total_sectors).saturating_sub(geometry.data_start_sector());
    geometry.clusters = (data_sectors / u64::from(sectors_per_cluster)) as u32;
    // Formatters can be told to make FAT32 of a volume that is too small for it; like Linux and
    // Windows we then go by the length of the table, which only FAT32 keeps elsewhere.
    if u16_at(sector, 22) != 0 {
        geometry.kind = Kind::of_clusters(geometry.clusters);
        geometry.root_cluster = 0;
    }
    Ok(geometry)
}
