//! Changing the table of a disk while power may fail: whatever a disk does with the sectors of a
//! stage, a reader finds the table of before or the one of after.

#![expect(clippy::cast_possible_truncation, reason = "test disks are small")]

use disk::gpt::types::{ATTRIBUTE_UNMADE, LINUX_GENERIC, ROOT_X86_64};
use disk::gpt::{Guid, Health, Partition, Piece, SECTOR_BYTES, Table, read, rewrite};
use disk::state;
use proptest::prelude::*;

const IMAGE_SECTORS: u64 = 10_240;

fn image_table() -> Table {
    let partition = |number, name: &str, type_guid, first_lba, last_lba| Partition {
        number,
        type_guid,
        guid: Guid::from_u128(0x1000 + u128::from(number)),
        first_lba,
        last_lba,
        attributes: 0,
        name: name.to_owned(),
    };
    let mut table = Table::new(Guid::from_u128(0xd15c), IMAGE_SECTORS).expect("large enough");
    let state = partition(2, "STATE", LINUX_GENERIC, 4096, 8191);
    table.partitions = vec![
        partition(1, "ROOT-A", ROOT_X86_64, 2048, 4095),
        Partition { attributes: ATTRIBUTE_UNMADE, ..state },
    ];
    table
}

/// The image on a disk of another size, which had other bytes before.
fn disk_of(sectors: u64, old_bytes: u8) -> Vec<u8> {
    let mut disk = vec![old_bytes; (sectors * SECTOR_BYTES) as usize];
    image_table().write_to(&mut disk).expect("written");
    disk
}

fn apply(disk: &mut [u8], piece: &Piece) {
    let start = piece.offset as usize;
    disk[start..start + piece.bytes.len()].copy_from_slice(&piece.bytes);
}

/// The sectors of a stage, one by one.
fn sectors(stage: &[Piece]) -> Vec<Piece> {
    let split = |piece: &Piece| {
        let chunks = piece.bytes.chunks(SECTOR_BYTES as usize);
        let at = (piece.offset..).step_by(SECTOR_BYTES as usize);
        at.zip(chunks).map(|(offset, bytes)| Piece { offset, bytes: bytes.to_vec() }).collect()
    };
    stage.iter().flat_map(|piece| -> Vec<Piece> { split(piece) }).collect()
}

/// Grows as the node does at its first boot.
fn grow(disk: &[u8]) -> (Table, Vec<Vec<Piece>>) {
    let found = read(disk).expect("a table");
    let plan = state::plan_table(&found, disk.len() as u64 / SECTOR_BYTES).expect("a plan");
    let stages = rewrite(disk, &found, &plan.table).expect("encoded");
    (plan.table, stages)
}

#[test]
fn a_cut_after_each_sector_and_in_the_middle_of_it_leaves_a_table() {
    let mut disk = disk_of(24_000, 0);
    let before = image_table();
    let (after, stages) = grow(&disk);
    assert_eq!(stages.len(), 2, "the backup, then the primary");
    for stage in &stages {
        for sector in sectors(stage) {
            for torn in [0, 1, 17, 100, 255, 256, 511] {
                let mut cut = disk.clone();
                let part = Piece { bytes: sector.bytes[..torn].to_vec(), ..sector.clone() };
                apply(&mut cut, &part);
                let found = read(&cut).expect("one copy is good").table;
                assert!(found == before || found == after);
            }
            apply(&mut disk, &sector);
            let found = read(&disk).expect("one copy is good").table;
            assert!(found == before || found == after);
        }
    }
    assert!(read(&disk).expect("a table").is_healthy(24_000));
    assert_eq!(read(&disk).expect("a table").table, after);
    assert_eq!(grow(&disk).1, Vec::<Vec<Piece>>::new(), "a second boot writes nothing");
}

#[test]
fn growing_takes_the_whole_disk_and_keeps_the_mark() {
    let disk = disk_of(24_000, 0xaa);
    let found = read(&disk).expect("a table");
    let plan = state::plan_table(&found, 24_000).expect("a plan");
    assert_eq!((plan.state.last_lba + 1) % 2048, 0);
    assert!(24_000 - plan.state.last_lba < 2048 + 35);
    assert!(state::is_unmade(&plan.state));
    assert_eq!(plan.growth.map(|growth| growth.number), Some(2));
    let made = state::mark_made(&plan.table, 2);
    assert!(!state::is_unmade(state::find(&made).expect("STATE")));
    assert_eq!(made.partitions[0], plan.table.partitions[0]);
}

#[test]
fn a_damaged_primary_is_restored_before_the_backup_is_touched() {
    let mut disk = disk_of(IMAGE_SECTORS, 0);
    disk[512 + 60] ^= 1;
    let found = read(&disk).expect("the backup is good");
    assert_ne!(found.primary, Health::Good);
    let made = state::mark_made(&found.table, 2);
    let stages = rewrite(&disk, &found, &made).expect("encoded");
    let ends: Vec<bool> = stages.iter().map(|stage| stage[0].offset < 34 * SECTOR_BYTES).collect();
    assert_eq!(ends, [true, false, true], "restore, backup, primary");
}

#[test]
fn a_partition_behind_state_keeps_it_from_growing() {
    let mut table = image_table();
    let behind = Partition {
        number: 3,
        guid: Guid::from_u128(3),
        first_lba: 8192,
        last_lba: 9000,
        name: "MINE".to_owned(),
        ..table.partitions[1].clone()
    };
    table.partitions.push(behind);
    let mut disk = vec![0; 24_000 * 512];
    table.write_to(&mut disk).expect("written");
    let plan = state::plan_table(&read(&disk).expect("a table"), 24_000).expect("a plan");
    assert_eq!(plan.growth, None);
    assert_eq!(plan.state, table.partitions[1]);
    assert_eq!(plan.table.disk_sectors, 24_000, "the backup moves all the same");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Disks of any size, with any damage to one copy; then a cut in any stage, with any of the
    /// stage's sectors written in any order and one of them torn.
    #[test]
    fn a_reader_finds_the_old_or_the_new_table(
        size in IMAGE_SECTORS..IMAGE_SECTORS + 6_000,
        old_bytes: u8,
        damage in prop::option::of(0..34 * 512_usize),
        made: bool,
        cut_stage in 0..4_usize,
        written in prop::collection::vec(any::<bool>(), 160),
        torn in (any::<prop::sample::Index>(), 0..512_usize),
    ) {
        let mut disk = disk_of(size, old_bytes);
        // The backup can be found without the primary only where the disk ends.
        if let Some(at) = damage.filter(|at| *at > 512 && size == IMAGE_SECTORS) {
            disk[at] ^= 0x5a;
        }
        let found = read(&disk).expect("a table");
        let before = found.table.clone();
        let mut after = state::plan_table(&found, size).expect("a plan").table;
        if made {
            after = state::mark_made(&after, 2);
        }
        let stages = rewrite(&disk, &found, &after).expect("encoded");
        for stage in stages.iter().take(cut_stage) {
            for piece in stage {
                apply(&mut disk, piece);
            }
        }
        if let Some(stage) = stages.get(cut_stage) {
            let sectors = sectors(stage);
            for (sector, _) in sectors.iter().zip(&written).filter(|(_, written)| **written) {
                apply(&mut disk, sector);
            }
            let mut half = sectors[torn.0.index(sectors.len())].clone();
            half.bytes.truncate(torn.1);
            apply(&mut disk, &half);
        }
        let now = read(&disk).expect("one copy is good").table;
        prop_assert!(now == before || now == after);
        // The next boot brings it to its end.
        let found = read(&disk).expect("a table");
        for piece in rewrite(&disk, &found, &after).expect("encoded").iter().flatten() {
            apply(&mut disk, piece);
        }
        let last = read(&disk).expect("a table");
        prop_assert!(last.is_healthy(size));
        prop_assert_eq!(last.table, after);
    }
}
