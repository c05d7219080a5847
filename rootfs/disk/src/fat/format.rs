//! Formatting: a fresh volume with its files, in one go.
//!
//! Three steps: sort the files into folders, give every folder and file its clusters (all
//! contiguous), write. Nothing is written before everything is known to fit. What is written is the
//! reserved sectors, both tables, the folders and the files: free clusters are left alone.

#![expect(
    clippy::cast_possible_truncation,
    reason = "what is cast was checked to fit the volume or a FAT field"
)]

use thiserror::Error;

use super::boot_sector::{MEDIA, encode_reserved};
use super::folder::{Folder, Starts, encode_folder, sort_into_folders};
use super::geometry::{Geometry, Kind, SECTOR_BYTES};
use super::name::{BadName, encode_label};
use super::{SLOT_BYTES, Timestamp};
use crate::access::{AccessFailed, ReadAt, WriteAt};
use crate::little_endian::put;

/// Beyond this the choice of cluster sizes here would be poor, and nobody needs it.
const MAX_VOLUME_BYTES: u64 = 32 * 1024 * 1024 * 1024;

/// The specification's limit of a directory: 65,536 entries.
const MAX_FOLDER_SLOTS: usize = 65_536;

/// Contents are copied in pieces of this size, a multiple of every cluster size.
const COPY_BYTES: usize = 256 * 1024;

/// What the volume is to be.
#[derive(Clone, Copy, Debug)]
pub struct Spec<'a> {
    /// A multiple of 512.
    pub size_bytes: u64,
    /// The volume's serial number, shown as `XXXX-XXXX`.
    pub serial: u32,
    /// At most eleven upper-case characters.
    pub label: &'a str,
    /// Every time on the volume.
    pub time: Timestamp,
}

/// A file that is to be on the volume; its folders are made.
#[derive(Clone, Copy)]
pub struct NewFile<'a> {
    /// Such as `EFI/BOOT/BOOTX64.EFI`.
    pub path: &'a str,
    pub content: &'a dyn ReadAt,
}

/// Why a volume can't be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FormatError {
    #[error("a FAT volume of {0} bytes can't be: take a multiple of 512 from 64 KiB to 32 GiB")]
    Size(u64),
    #[error("volume label {label:?}: {why}")]
    Label { label: String, why: BadName },
    #[error("file {path:?}: {why}")]
    Name { path: String, why: BadName },
    #[error("{path:?} is there twice, or is a file and a folder; FAT ignores upper and lower case")]
    Clash { path: String },
    #[error("file {path:?} has {size} bytes, but FAT ends at 4 GiB")]
    FileTooLarge { path: String, size: u64 },
    #[error("folder {path:?} has too many entries: spread them over several folders")]
    FolderFull { path: String },
    #[error("the files need {needed} bytes, the volume holds {room}: make it larger")]
    Full { needed: u64, room: u64 },
    #[error("access to the volume or to a file for it")]
    Access(#[from] AccessFailed),
}

impl std::fmt::Debug for NewFile<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewFile({:?}, {} bytes)", self.path, self.content.size())
    }
}

/// Where everything goes.
struct Layout {
    starts: Starts,
    /// Contiguous runs, in order: all clusters from 2 to `next_free`.
    runs: Vec<u32>,
    next_free: u32,
}

/// A volume in memory; for small ones.
pub fn format_to_vec(spec: &Spec<'_>, files: &[NewFile<'_>]) -> Result<Vec<u8>, FormatError> {
    geometry_of(spec)?;
    let size = usize::try_from(spec.size_bytes).map_err(|_| FormatError::Size(spec.size_bytes))?;
    let mut volume = vec![0; size];
    format(spec, files, &mut volume)?;
    Ok(volume)
}

/// Formats `out`, whose start is the start of the volume.
pub fn format(
    spec: &Spec<'_>,
    files: &[NewFile<'_>],
    out: &mut dyn WriteAt,
) -> Result<(), FormatError> {
    let geometry = geometry_of(spec)?;
    let why_label = |why| FormatError::Label { label: spec.label.to_owned(), why };
    let label = encode_label(spec.label).map_err(why_label)?;
    let folders = sort_into_folders(files)?;
    let layout = lay_out(&geometry, &folders, files)?;

    out.write_all_at(0, &encode_reserved(&geometry, spec.serial, &label, layout.next_free))?;
    let table = encode_table(&geometry, &layout.runs);
    for index in 0..geometry.fats {
        out.write_all_at(geometry.fat_offset(index), &table)?;
    }
    for (number, folder) in folders.iter().enumerate() {
        let mut bytes = encode_folder(number, folder, &layout.starts, files, spec.time, &label);
        let start = layout.starts.folders[number];
        let offset = if start == 0 {
            bytes.resize(geometry.root_entries as usize * SLOT_BYTES, 0);
            geometry.root_offset()
        } else {
            let clusters = geometry.clusters_for(bytes.len() as u64) as usize;
            bytes.resize(clusters * geometry.cluster_bytes() as usize, 0);
            // On FAT32 the root is an ordinary chain, whose number is written as zero elsewhere.
            geometry.cluster_offset(start)
        };
        out.write_all_at(offset, &bytes)?;
    }
    for (file, &start) in files.iter().zip(&layout.starts.files) {
        if start != 0 {
            write_content(&geometry, file.content, start, out)?;
        }
    }
    Ok(())
}

fn geometry_of(spec: &Spec<'_>) -> Result<Geometry, FormatError> {
    let bad_size = || FormatError::Size(spec.size_bytes);
    if !spec.size_bytes.is_multiple_of(u64::from(SECTOR_BYTES))
        || spec.size_bytes > MAX_VOLUME_BYTES
    {
        return Err(bad_size());
    }
    let sectors = u32::try_from(spec.size_bytes / u64::from(SECTOR_BYTES));
    Geometry::for_new_volume(sectors.map_err(|_| bad_size())?).ok_or_else(bad_size)
}

fn lay_out(
    geometry: &Geometry,
    folders: &[Folder],
    files: &[NewFile<'_>],
) -> Result<Layout, FormatError> {
    let fixed_root = geometry.kind != Kind::Fat32;
    let mut folder_clusters = Vec::with_capacity(folders.len());
    for (number, folder) in folders.iter().enumerate() {
        let slots = folder.slots(number);
        let in_fixed_root = fixed_root && number == 0;
        let most = if in_fixed_root { geometry.root_entries as usize } else { MAX_FOLDER_SLOTS };
        if slots > most {
            let path = if number == 0 { "/".to_owned() } else { folder.path.clone() };
            return Err(FormatError::FolderFull { path });
        }
        let bytes = if in_fixed_root { 0 } else { (slots * SLOT_BYTES) as u64 };
        folder_clusters.push(geometry.clusters_for(bytes));
    }
    let file_clusters: Vec<u64> =
        files.iter().map(|file| geometry.clusters_for(file.content.size())).collect();
    let needed: u64 = folder_clusters.iter().chain(&file_clusters).sum();
    if needed > u64::from(geometry.clusters) {
        let cluster_bytes = u64::from(geometry.cluster_bytes());
        let room = u64::from(geometry.clusters) * cluster_bytes;
        return Err(FormatError::Full { needed: needed * cluster_bytes, room });
    }
    let mut next_free = 2;
    let mut runs = Vec::new();
    let mut start_of = |clusters: u64| {
        if clusters == 0 {
            return 0;
        }
        let (start, count) = (next_free, clusters as u32);
        next_free += count;
        runs.push(count);
        start
    };
    let folders = folder_clusters.into_iter().map(&mut start_of).collect();
    let files = file_clusters.into_iter().map(&mut start_of).collect();
    let starts = Starts { folders, files };
    Ok(Layout { starts, runs, next_free })
}

/// One allocation table: every run is a chain of neighbours.
fn encode_table(geometry: &Geometry, runs: &[u32]) -> Vec<u8> {
    let mut table = vec![0; geometry.fat_bytes() as usize];
    let all_ones = geometry.kind.end_of_chain() | 7;
    let mut put_entry = |cluster: u32, value: u32| {
        let cluster = cluster as usize;
        match geometry.kind {
            Kind::Fat32 => put(&mut table, cluster * 4, &value.to_le_bytes()),
            Kind::Fat16 => put(&mut table, cluster * 2, &value.to_le_bytes()[..2]),
            Kind::Fat12 => {
                // Two entries share three bytes.
                let at = cluster + cluster / 2;
                let [low, high, ..] = (value << (4 * (cluster % 2))).to_le_bytes();
                table[at] |= low;
                table[at + 1] |= high;
            }
        }
    };
    put_entry(0, all_ones & !0xff | u32::from(MEDIA));
    put_entry(1, all_ones);
    let mut cluster = 2;
    for &run in runs {
        let last = cluster + run - 1;
        (cluster..last).for_each(|one| put_entry(one, one + 1));
        put_entry(last, all_ones);
        cluster = last + 1;
    }
    table
}

/// Copies a file into its clusters and clears the rest of the last one, which may hold older bytes.
fn write_content(
    geometry: &Geometry,
    content: &dyn ReadAt,
    start: u32,
    out: &mut dyn WriteAt,
) -> Result<(), FormatError> {
    let size = content.size();
    let whole = geometry.clusters_for(size) * u64::from(geometry.cluster_bytes());
    let base = geometry.cluster_offset(start);
    let mut buffer = vec![0; COPY_BYTES.min(usize::try_from(whole).unwrap_or(COPY_BYTES))];
    let mut position = 0;
    while position < whole {
        let step = (whole - position).min(buffer.len() as u64) as usize;
        let filled = (size - position).min(step as u64) as usize;
        content.read_exact_at(position, &mut buffer[..filled])?;
        buffer[filled..step].fill(0);
        out.write_all_at(base + position, &buffer[..step])?;
        position += step as u64;
    }
    Ok(())
}
