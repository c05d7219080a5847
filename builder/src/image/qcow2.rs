//! qcow2, written sparse and in one pass: what virtual machines take instead of raw.
//!
//! ```text
//!  header │ L1 │ refcount table │ refcount blocks │ L2 tables │ data clusters
//!            └> one entry per L2 table                 └> one entry per 64 KiB of the disk
//! ```
//!
//! Version 3, clusters of 64 KiB, 16-bit reference counts, no snapshots, no compression: the subset
//! that every reader knows. All metadata stands before the data, and the data in the order of the
//! disk. A cluster of zeros is never stored, whether the source has it as a hole or not, so the
//! bytes depend on the content of the disk alone.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::sparse::{Run, runs};

/// The usual size: small enough to stay sparse, large enough for short tables.
pub const CLUSTER_BYTES: u64 = 1 << CLUSTER_BITS;
const CLUSTER_BITS: u32 = 16;
const MAGIC: &[u8; 4] = b"QFI\xfb";
const VERSION: u32 = 3;
/// The header of version 3 without optional fields.
const HEADER_BYTES: u32 = 104;
/// Two to this power are the bits of a reference count.
const REFCOUNT_ORDER: u32 = 4;
const REFCOUNT_BYTES: u64 = 2;
const ENTRY_BYTES: u64 = 8;
const ENTRIES: u64 = CLUSTER_BYTES / ENTRY_BYTES;
const COUNTS: u64 = CLUSTER_BYTES / REFCOUNT_BYTES;
/// Set in an entry whose cluster has exactly one reference; ours all have.
const COPIED: u64 = 1 << 63;

/// Whether a file begins like a qcow2 image.
pub fn is_qcow2(start: &[u8]) -> bool {
    start.starts_with(MAGIC)
}

/// Where everything lies, in clusters of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    l1: u64,
    l1_entries: u64,
    refcount_table: u64,
    refcount_table_clusters: u64,
    refcount_blocks: u64,
    refcount_block_count: u64,
    l2: u64,
    data: u64,
    total: u64,
}

impl Layout {
    /// For a disk of that many bytes with so many L2 tables and data clusters.
    fn new(disk_bytes: u64, l2_tables: u64, data_clusters: u64) -> Self {
        let l1_entries = disk_bytes.div_ceil(CLUSTER_BYTES).div_ceil(ENTRIES);
        let l1_clusters = (l1_entries * ENTRY_BYTES).div_ceil(CLUSTER_BYTES).max(1);
        let others = 1 + l1_clusters + l2_tables + data_clusters;
        // Reference counts count their own clusters too; each round adds few, and soon none.
        let (mut blocks, mut table) = (1, 1);
        loop {
            let needed = (others + table + blocks).div_ceil(COUNTS);
            let needed_table = needed.div_ceil(ENTRIES);
            if (needed, needed_table) == (blocks, table) {
                break;
            }
            (blocks, table) = (needed, needed_table);
        }
        let refcount_table = 1 + l1_clusters;
        let refcount_blocks = refcount_table + table;
        let l2 = refcount_blocks + blocks;
        Self {
            l1: 1,
            l1_entries,
            refcount_table,
            refcount_table_clusters: table,
            refcount_blocks,
            refcount_block_count: blocks,
            l2,
            data: l2 + l2_tables,
            total: others + table + blocks,
        }
    }

    fn header(&self, disk_bytes: u64) -> Vec<u8> {
        let mut header = Vec::new();
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        header.extend(MAGIC);
        header.extend(VERSION.to_be_bytes());
        // No backing file, whose name would be here.
        header.extend([0; 12]);
        header.extend(CLUSTER_BITS.to_be_bytes());
        header.extend(disk_bytes.to_be_bytes());
        // Not encrypted.
        header.extend([0; 4]);
        header.extend(narrow(self.l1_entries).to_be_bytes());
        header.extend((self.l1 * CLUSTER_BYTES).to_be_bytes());
        header.extend((self.refcount_table * CLUSTER_BYTES).to_be_bytes());
        header.extend(narrow(self.refcount_table_clusters).to_be_bytes());
        // No snapshots, and no features of any of the three kinds.
        header.extend([0; 12 + 24]);
        header.extend(REFCOUNT_ORDER.to_be_bytes());
        header.extend(HEADER_BYTES.to_be_bytes());
        // The end of the header's extensions, of which there are none.
        header.extend([0; 8]);
        header
    }
}

/// Writes the raw disk in `from` as qcow2 into `to`, which must be new and empty.
pub fn write(from: &File, to: &File) -> io::Result<()> {
    let disk_bytes = from.metadata()?.len();
    let clusters = stored_clusters(from, disk_bytes)?;
    let mut l2_indices: Vec<u64> = clusters.iter().map(|cluster| cluster / ENTRIES).collect();
    l2_indices.dedup();
    let layout = Layout::new(disk_bytes, l2_indices.len() as u64, clusters.len() as u64);
    // What is never written reads as zeros: tables that are not full, and the end of the last.
    to.set_len(layout.total * CLUSTER_BYTES)?;
    to.write_all_at(&layout.header(disk_bytes), 0)?;

    let counts =
        vec![1_u16.to_be_bytes(); usize::try_from(layout.total).map_err(io::Error::other)?];
    to.write_all_at(counts.as_flattened(), layout.refcount_blocks * CLUSTER_BYTES)?;
    let blocks = (0..layout.refcount_block_count).map(|block| layout.refcount_blocks + block);
    let table: Vec<u8> = blocks.flat_map(|block| (block * CLUSTER_BYTES).to_be_bytes()).collect();
    to.write_all_at(&table, layout.refcount_table * CLUSTER_BYTES)?;

    for (l2_cluster, l1_index) in (layout.l2..).zip(&l2_indices) {
        let entry = (l2_cluster * CLUSTER_BYTES) | COPIED;
        to.write_all_at(&entry.to_be_bytes(), layout.l1 * CLUSTER_BYTES + l1_index * ENTRY_BYTES)?;
    }
    write_data(from, to, &layout, &clusters, disk_bytes)
}

/// Writes the data clusters, and for each table of them the table.
fn write_data(
    from: &File,
    to: &File,
    layout: &Layout,
    clusters: &[u64],
    disk_bytes: u64,
) -> io::Result<()> {
    let mut buffer = vec![0; usize::try_from(CLUSTER_BYTES).map_err(io::Error::other)?];
    let mut data = layout.data;
    let tables = clusters.chunk_by(|one, other| one / ENTRIES == other / ENTRIES);
    for (l2_cluster, members) in (layout.l2..).zip(tables) {
        let mut table = vec![0; buffer.len()];
        for cluster in members {
            read_cluster(from, *cluster, disk_bytes, &mut buffer)?;
            to.write_all_at(&buffer, data * CLUSTER_BYTES)?;
            let entry = (data * CLUSTER_BYTES) | COPIED;
            let at = usize::try_from(cluster % ENTRIES * ENTRY_BYTES).map_err(io::Error::other)?;
            table[at..at + 8].copy_from_slice(&entry.to_be_bytes());
            data += 1;
        }
        to.write_all_at(&table, l2_cluster * CLUSTER_BYTES)?;
    }
    Ok(())
}

/// The clusters of the disk that hold anything but zeros, in order.
fn stored_clusters(from: &File, disk_bytes: u64) -> io::Result<Vec<u64>> {
    let mut buffer = vec![0; usize::try_from(CLUSTER_BYTES).map_err(io::Error::other)?];
    let mut stored = Vec::new();
    let mut next = 0;
    for Run { offset, length } in runs(from)? {
        let first = next.max(offset / CLUSTER_BYTES);
        let end = (offset + length).div_ceil(CLUSTER_BYTES);
        for cluster in first..end {
            let part = read_cluster(from, cluster, disk_bytes, &mut buffer)?;
            if part.iter().any(|byte| *byte != 0) {
                stored.push(cluster);
            }
        }
        next = next.max(end);
    }
    Ok(stored)
}

/// Reads one cluster; beyond the disk's end there are zeros.
fn read_cluster<'b>(
    from: &File,
    cluster: u64,
    disk_bytes: u64,
    buffer: &'b mut [u8],
) -> io::Result<&'b [u8]> {
    let offset = cluster * CLUSTER_BYTES;
    let there = disk_bytes.saturating_sub(offset).min(CLUSTER_BYTES);
    let (part, rest) = buffer.split_at_mut(usize::try_from(there).map_err(io::Error::other)?);
    from.read_exact_at(part, offset)?;
    rest.fill(0);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_counts_cover_their_own_clusters() {
        for data in [0, 1, COUNTS - 6, COUNTS - 5, COUNTS - 4, COUNTS, 40 * COUNTS, 1 << 26] {
            let disk_bytes = (data + 1) * CLUSTER_BYTES;
            let layout = Layout::new(disk_bytes, data.div_ceil(ENTRIES), data);
            assert!(layout.refcount_block_count * COUNTS >= layout.total, "{data}: {layout:?}");
            assert!((layout.refcount_block_count - 1) * COUNTS < layout.total, "{data}");
            assert_eq!(layout.data + data, layout.total, "{data}");
        }
    }

    #[test]
    fn the_header_is_as_long_as_it_says() {
        let header = Layout::new(1 << 30, 0, 0).header(1 << 30);
        assert_eq!(header.len(), HEADER_BYTES as usize + 8);
        assert!(is_qcow2(&header));
        assert_eq!(header[24..32], (1_u64 << 30).to_be_bytes());
    }
}
