//! Which bytes go where: pure arithmetic over the image's table and its stored runs.
//!
//! ```text
//!  │ head │ ESP ▓▓▓░▓▓· ·░│ ROOT-A ▓▓▓▓· ·░│ ROOT-B ░· ·░│ SEED ▓░░░│ STATE ░· ·░│ · · │ tail │
//!    ▓ stored in the image    ░ zeros that matter    · left as it is
//! ```
//!
//! An image is mostly holes, and skipping them is what makes flashing quick. But a hole reads as
//! zeros, and the disk has somebody's old bytes there. They matter in these places, which therefore
//! are overwritten:
//!
//! * between stored bytes: a table of a filesystem, or a block under a hash tree, may happen to be
//!   all zeros and still mean something;
//! * the first and the last mebibyte of each partition: the signatures by which a filesystem, a
//!   RAID or a volume group of the disk's former life would be found and, in STATE, taken for the
//!   node's own;
//! * the whole of SEED, where an older seed with its keys may lie;
//! * the tail of the disk, where the old backup table and RAID superblocks are.
//!
//! Anything else that was on the disk stays there and is reachable by nobody but a forensic reader.
//!
//! The head, the first mebibyte with the partition table, is no piece of the plan: it is wiped
//! first and written last, so that a disk whose writing was interrupted has no partition and boots
//! nothing, instead of being half good.
//!
//! All disks that are written from one image are alike but for one thing: each one's boot partition
//! gets an identity of its own. The firmware tells by it which disk it started from, so that a node
//! with two such disks in it knows its own.

use disk::gpt::{GptError, Guid, Partition, SECTOR_BYTES, Table, types};
use thiserror::Error;

use crate::image::layout::{ALIGNMENT_BYTES, Part};
use crate::image::sparse::Run;

/// The partition table and nothing else; partitions begin behind it.
pub(super) const HEAD_BYTES: u64 = ALIGNMENT_BYTES;
/// Signatures lie this close to an end of what they describe.
const SIGNATURES_BYTES: u64 = 1 << 20;

#[derive(Debug, Error)]
pub enum PlanError {
    #[error("partition {name} begins within the first MiB: build the image anew")]
    Head { name: String },
    #[error("the partition table does not fit the device: {0}")]
    Table(#[from] GptError),
}

/// Where the bytes of a piece come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceContent {
    /// The same place of the image.
    Stored,
    Zeros,
}

/// A part of the disk that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub run: Run,
    pub content: PieceContent,
}

/// Everything that is written to a disk of a given size.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In the order of the disk, without overlaps.
    pub pieces: Vec<Piece>,
    /// The last bytes of the disk: the backup table, and zeros before it.
    pub tail: Vec<u8>,
    pub tail_offset: u64,
    /// The first bytes of the disk.
    pub head: Vec<u8>,
    pub disk_bytes: u64,
}

impl Plan {
    /// Plans the writing of an image with this table and these stored runs; `mark` is what the disk's
    /// boot partition is told by.
    pub fn new(
        table: &Table,
        runs: &[Run],
        disk_bytes: u64,
        mark: Guid,
    ) -> Result<Self, PlanError> {
        let mut partitions: Vec<&Partition> = table.partitions.iter().collect();
        partitions.sort_by_key(|partition| partition.first_lba);
        if let Some(first) = partitions.first()
            && first.offset_bytes() < HEAD_BYTES
        {
            return Err(PlanError::Head { name: first.name.clone() });
        }
        let pieces = partitions.iter().flat_map(|partition| pieces_of(partition, runs)).collect();
        let disk_sectors = disk_bytes / SECTOR_BYTES;
        let disk_bytes = disk_sectors * SECTOR_BYTES;
        let mut table = table.clone();
        let is_boot = |partition: &&mut Partition| partition.type_guid == types::ESP;
        if let Some(boot) = table.partitions.iter_mut().find(is_boot) {
            boot.guid = mark;
        }
        // The disk may be larger than the image, and the backup belongs at its very end.
        table.relocate(disk_sectors)?;
        let used_end = partitions.last().map_or(HEAD_BYTES, |last| end_of(last));
        let tail_offset = used_end.max(disk_bytes.saturating_sub(SIGNATURES_BYTES));
        let mut head = zeros(HEAD_BYTES);
        let mut tail = zeros(disk_bytes - tail_offset);
        for piece in table.encode()? {
            let (buffer, base) =
                if piece.offset < HEAD_BYTES { (&mut head, 0) } else { (&mut tail, tail_offset) };
            lay(buffer, piece.offset - base, &piece.bytes);
        }
        Ok(Self { pieces, tail, tail_offset, head, disk_bytes })
    }

    /// How much is written, head and tail included.
    pub fn bytes(&self) -> u64 {
        let pieces: u64 = self.pieces.iter().map(|piece| piece.run.length).sum();
        pieces + self.tail.len() as u64 + self.head.len() as u64
    }
}

fn end_of(partition: &Partition) -> u64 {
    partition.offset_bytes() + partition.size_bytes()
}

fn zeros(length: u64) -> Vec<u8> {
    // Head and tail are at most two mebibytes.
    vec![0; usize::try_from(length).unwrap_or(0)]
}

/// Copies a part of the table to its place; `check` has made sure that there is room.
fn lay(buffer: &mut [u8], offset: u64, bytes: &[u8]) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    if let Some(place) = start.checked_add(bytes.len()).and_then(|end| buffer.get_mut(start..end)) {
        place.copy_from_slice(bytes);
    }
}

fn pieces_of(partition: &Partition, runs: &[Run]) -> Vec<Piece> {
    let (start, end) = (partition.offset_bytes(), end_of(partition));
    let stored: Vec<Run> = runs.iter().filter_map(|run| clip(*run, start, end)).collect();
    let stored_end = stored.last().map_or(start, |run| run.offset + run.length);
    let zeros_end = if partition.name == Part::Seed.name() {
        end
    } else {
        stored_end.max(start + SIGNATURES_BYTES).min(end)
    };
    let last_start = zeros_end.max(end.saturating_sub(SIGNATURES_BYTES));
    let mut holes = gaps(&stored, start, zeros_end);
    holes.extend(gaps(&stored, last_start, end));
    let of = |content| move |run| Piece { run, content };
    let mut pieces: Vec<Piece> = stored.into_iter().map(of(PieceContent::Stored)).collect();
    pieces.extend(holes.into_iter().map(of(PieceContent::Zeros)));
    pieces.sort_by_key(|piece| piece.run.offset);
    pieces
}

/// The part of a run between two offsets.
fn clip(run: Run, start: u64, end: u64) -> Option<Run> {
    let offset = run.offset.max(start);
    let length = (run.offset + run.length).min(end).checked_sub(offset)?;
    (length > 0).then_some(Run { offset, length })
}

/// What no run covers between two offsets.
fn gaps(runs: &[Run], start: u64, end: u64) -> Vec<Run> {
    let mut gaps = Vec::new();
    let mut position = start;
    for run in runs.iter().filter_map(|run| clip(*run, start, end)) {
        gaps.extend(clip(Run { offset: position, length: run.offset - position }, start, end));
        position = run.offset + run.length;
    }
    if position < end {
        gaps.push(Run { offset: position, length: end - position });
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk::gpt::{Guid, types};
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;
    const MARK: Guid = Guid::from_u128(0x3a4c);

    fn table(parts: &[(&str, u64, u64)]) -> Table {
        let sectors = 64 * MIB / SECTOR_BYTES;
        let mut table = Table::new(Guid::from_u128(9), sectors).expect("a table");
        for (number, (name, start, end)) in (1..).zip(parts) {
            table.partitions.push(Partition {
                number,
                type_guid: if *name == "ESP" { types::ESP } else { types::LINUX_GENERIC },
                guid: Guid::from_u128(u128::from(number)),
                first_lba: start * MIB / SECTOR_BYTES,
                last_lba: end * MIB / SECTOR_BYTES - 1,
                attributes: 0,
                name: (*name).to_owned(),
            });
        }
        table
    }

    fn plan(parts: &[(&str, u64, u64)], runs: &[(u64, u64)], disk: u64) -> Plan {
        let runs: Vec<Run> = runs
            .iter()
            .map(|&(start, end)| Run { offset: start * MIB, length: (end - start) * MIB })
            .collect();
        Plan::new(&table(parts), &runs, disk * MIB, MARK).expect("a plan")
    }

    fn shape(plan: &Plan) -> Vec<(char, u64, u64)> {
        let letter = |content| {
            if content == PieceContent::Stored { 's' } else { '0' }
        };
        let piece = |piece: &Piece| {
            let Run { offset, length } = piece.run;
            (letter(piece.content), offset / MIB, (offset + length) / MIB)
        };
        plan.pieces.iter().map(piece).collect()
    }

    #[test]
    fn zeros_go_between_stored_bytes_and_to_the_ends_of_partitions() {
        let parts = [("ESP", 1, 20), ("ROOT-B", 20, 30), ("SEED", 30, 34), ("STATE", 34, 35)];
        let found = plan(&parts, &[(0, 3), (5, 6), (31, 32), (63, 64)], 64);
        let wanted = [
            ('s', 1, 3),
            ('0', 3, 5),
            ('s', 5, 6),
            ('0', 19, 20),
            ('0', 20, 21),
            ('0', 29, 30),
            ('0', 30, 31),
            ('s', 31, 32),
            ('0', 32, 34),
            ('0', 34, 35),
        ];
        assert_eq!(shape(&found), wanted);
    }

    #[test]
    fn the_tables_are_those_of_a_disk_of_that_size() {
        let found = plan(&[("ESP", 1, 20)], &[(0, 64)], 100);
        let mut disk = vec![0; usize::try_from(100 * MIB).expect("small")];
        lay(&mut disk, 0, &found.head);
        lay(&mut disk, found.tail_offset, &found.tail);
        let read = disk::gpt::read(&disk).expect("a table");
        assert!(read.is_healthy(100 * MIB / SECTOR_BYTES), "{read:?}");
        assert_eq!(found.tail_offset, 99 * MIB);
        assert_eq!(read.table.find_name("ESP").map(|boot| boot.guid), Some(MARK));
    }

    #[test]
    fn a_disk_that_is_too_small_or_a_strange_layout_is_refused() {
        let runs = [Run { offset: 0, length: MIB }];
        let small = Plan::new(&table(&[("ESP", 1, 20)]), &runs, 20 * MIB, MARK);
        assert!(matches!(small, Err(PlanError::Table(_))), "{small:?}");
        let mut early = table(&[("ESP", 1, 20)]);
        early.partitions[0].first_lba -= 1;
        let early = Plan::new(&early, &runs, 64 * MIB, MARK);
        assert!(matches!(early, Err(PlanError::Head { .. })), "{early:?}");
    }

    proptest! {
        #[test]
        fn pieces_are_in_order_apart_and_within_partitions(
            cuts in proptest::collection::btree_set(0_u64..64, 0..12),
        ) {
            let cuts: Vec<u64> = cuts.into_iter().collect();
            let runs: Vec<(u64, u64)> =
                cuts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
            let parts = [("ESP", 1, 20), ("ROOT-A", 20, 40), ("SEED", 40, 50), ("STATE", 51, 63)];
            let found = plan(&parts, &runs, 64);
            let mut position = MIB;
            for piece in &found.pieces {
                prop_assert!(piece.run.offset >= position && piece.run.length > 0);
                position = piece.run.offset + piece.run.length;
            }
            prop_assert!(position <= found.tail_offset);
            // No stored byte of a partition is forgotten.
            let holds = |run: &Run, at: u64| run.offset <= at && at < run.offset + run.length;
            for mib in (1..63).filter(|mib| *mib != 50) {
                let is_stored = runs.iter().any(|&(start, end)| start <= mib && mib < end);
                let mut stored =
                    found.pieces.iter().filter(|piece| piece.content == PieceContent::Stored);
                let is_written = stored.any(|piece| holds(&piece.run, mib * MIB));
                prop_assert_eq!(is_stored, is_written);
            }
        }
    }
}
