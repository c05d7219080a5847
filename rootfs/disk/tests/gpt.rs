//! The partition table: what we write is what others read, whatever else is on the disk is refused,
//! and one good copy is enough.

#![expect(clippy::cast_possible_truncation, reason = "test volumes are small")]

mod support;

use std::process::Command;

use disk::ReadAt;
use disk::gpt::{CopyFault, GptError, Guid, Health, Partition, SECTOR_BYTES, Table, read, types};
use proptest::prelude::*;
use support::{oracle, run};

fn partition(number: u32, first_lba: u64, last_lba: u64, name: &str) -> Partition {
    Partition {
        number,
        type_guid: types::LINUX_GENERIC,
        guid: Guid::from_u128(0x1000 + u128::from(number)),
        first_lba,
        last_lba,
        attributes: 0,
        name: name.to_owned(),
    }
}

fn table(disk_sectors: u64) -> Table {
    let disk_guid = Guid::from_u128(0xd15c);
    let mut table = Table::new(disk_guid, disk_sectors).expect("large enough");
    table.partitions = vec![
        Partition { type_guid: types::ESP, ..partition(1, 2048, 4095, "ESP") },
        Partition {
            type_guid: types::ROOT_X86_64,
            attributes: types::ATTRIBUTE_READ_ONLY,
            ..partition(2, 4096, 6143, "ROOT-A")
        },
        partition(5, 6144, 7167, "STATE"),
    ];
    table
}

fn disk_with(table: &Table) -> Vec<u8> {
    let mut disk = vec![0; (table.disk_sectors * SECTOR_BYTES) as usize];
    table.write_to(&mut disk).expect("written");
    disk
}

#[test]
fn a_table_comes_back_and_both_copies_are_good() {
    let table = table(10_000);
    let disk = disk_with(&table);
    let found = read(&disk).expect("read");
    assert_eq!(found.table, table);
    assert!(found.is_healthy(10_000));
    assert_eq!(found.table.find_type(types::ESP).map(|one| one.number), Some(1));
    assert_eq!(found.table.find_name("STATE").map(Partition::offset_bytes), Some(6144 * 512));
    assert_eq!(found.table.find_name("STATE").map(Partition::size_bytes), Some(512 * 1024));
}

#[test]
fn either_copy_is_enough() {
    let table = table(10_000);
    let good = disk_with(&table);
    let mut no_primary = good.clone();
    no_primary[..34 * 512].fill(0);
    let found = read(&no_primary).expect("read");
    assert_eq!((found.table.clone(), found.primary), (table.clone(), Health::Missing));
    assert_eq!(disk_with(&found.table), good, "writing what was found repairs the primary");

    let mut bad_primary = good.clone();
    bad_primary[512 + 56] ^= 1;
    let found = read(&bad_primary).expect("read");
    assert_eq!(found.primary, Health::Bad(CopyFault::HeaderChecksum));

    let mut bad_entries = good.clone();
    bad_entries[1024 + 32] ^= 1;
    let found = read(&bad_entries).expect("read");
    assert_eq!(found.primary, Health::Bad(CopyFault::EntriesChecksum));

    let mut no_backup = good.clone();
    let backup = no_backup.len() - 33 * 512;
    no_backup[backup..].fill(0);
    let found = read(&no_backup).expect("read");
    assert_eq!((found.table, found.backup), (table, Health::Missing));

    no_backup[..1024].fill(0);
    let (primary, backup) = (Health::Missing, Health::Missing);
    assert_eq!(read(&no_backup), Err(GptError::NoTable { primary, backup }));
}

#[test]
fn an_image_on_a_larger_disk_is_grown() {
    let mut disk = disk_with(&table(10_000));
    disk.resize(20_000 * 512, 0);
    let mut found = read(&disk).expect("the copies are where the image had them");
    assert_eq!((found.backup, found.backup_lba), (Health::Good, 9_999));
    found.table.relocate(20_000).expect("larger");
    let growth = found.table.grow_last(2048).expect("there is room");
    assert_eq!((growth.number, growth.old_last_lba), (5, 7167));
    assert_eq!((growth.new_last_lba + 1) % 2048, 0);
    assert!(growth.new_last_lba <= 20_000 - 34);
    assert_eq!(found.table.grow_last(2048), None, "nothing more to gain");

    // A power cut after any of the pieces leaves the old table or the new one.
    let old = table(10_000);
    let pieces = found.table.encode().expect("encoded");
    for written in 0..=pieces.len() {
        let mut cut = disk.clone();
        for piece in &pieces[..written] {
            let start = piece.offset as usize;
            cut[start..start + piece.bytes.len()].copy_from_slice(&piece.bytes);
        }
        let after = read(&cut).expect("one copy is good");
        assert!(after.table == old || after.table == found.table, "after {written} pieces");
    }
}

#[test]
fn a_table_does_not_shrink_below_its_partitions() {
    let mut shrunk = table(10_000);
    let before = shrunk.clone();
    assert!(matches!(shrunk.relocate(7_100), Err(GptError::OutOfBounds { number: 5, .. })));
    assert!(shrunk.relocate(10).is_err());
    assert_eq!(shrunk, before, "a refused change changes nothing");
}

#[test]
fn tables_that_would_lose_data_are_refused() {
    let with = |change: fn(&mut Table)| {
        let mut changed = table(10_000);
        change(&mut changed);
        changed.encode().expect_err("refused")
    };
    let overlap = with(|table| table.partitions[2].first_lba = 6143);
    assert_eq!(overlap, GptError::Overlap { one: 2, other: 5 });
    let outside = with(|table| table.partitions[2].last_lba = 9_999);
    assert!(matches!(outside, GptError::OutOfBounds { number: 5, .. }), "{outside}");
    assert_eq!(with(|table| table.partitions[1].number = 1), GptError::NumberTwice(1));
    assert!(matches!(with(|table| table.partitions[1].number = 0), GptError::BadNumber { .. }));
    assert!(matches!(with(|table| table.partitions[1].number = 129), GptError::BadNumber { .. }));
    let twice = with(|table| table.partitions[1].guid = table.partitions[0].guid);
    assert!(matches!(twice, GptError::GuidTwice(_)));
    let long = with(|table| table.partitions[0].name = "n".repeat(37));
    assert!(matches!(long, GptError::NameTooLong { number: 1, .. }));
    let backwards = with(|table| table.partitions[0].last_lba = 2000);
    assert!(matches!(backwards, GptError::OutOfBounds { .. }));
    assert!(matches!(Table::new(Guid::ZERO, 66), Err(GptError::DiskTooSmall { .. })));
}

/// Makes the checksum of the primary header right again after a change.
fn sign_primary(disk: &mut [u8]) {
    disk[512 + 16..512 + 20].fill(0);
    let checksum = crc32fast::hash(&disk[512..512 + 92]);
    disk[512 + 16..512 + 20].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn a_well_signed_header_with_impossible_numbers_is_refused() {
    let table = table(10_000);
    let with = |at: usize, field: &[u8]| {
        let mut disk = disk_with(&table);
        // The entries once more, in the middle of a partition.
        disk.copy_within(2 * 512..34 * 512, 5000 * 512);
        disk[512 + at..512 + at + field.len()].copy_from_slice(field);
        sign_primary(&mut disk);
        let found = read(&disk).expect("the backup is good");
        assert_eq!(found.table, table);
        found.primary
    };
    assert_eq!(with(8, &[0, 0, 1, 0]), Health::Good, "nothing was changed");
    let bad = |fault| Health::Bad(fault);
    assert_eq!(with(8, &[1]), bad(CopyFault::Revision(0x1_0001)));
    assert_eq!(with(12, &[91]), bad(CopyFault::HeaderSize(91)));
    assert_eq!(with(24, &[2]), bad(CopyFault::WrongPlace(2)));
    assert_eq!(with(72, &5000_u64.to_le_bytes()), bad(CopyFault::EntriesPlace));
    assert_eq!(with(72, &u64::MAX.to_le_bytes()), bad(CopyFault::EntriesPlace));
    assert_eq!(with(72, &[1]), bad(CopyFault::EntriesPlace));
    assert_eq!(with(80, &u32::MAX.to_le_bytes()), bad(CopyFault::EntryCount(u32::MAX)));
    assert_eq!(with(84, &[64]), bad(CopyFault::EntrySize(64)));
    assert_eq!(with(84, &[192]), bad(CopyFault::EntrySize(192)));
}

#[test]
fn sgdisk_and_sfdisk_agree() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("disk.img");
    std::fs::write(&image, disk_with(&table(10_000))).expect("written");
    if let Some(sgdisk) = oracle("sgdisk") {
        let said = run(Command::new(sgdisk).arg("--verify").arg(&image));
        assert!(said.contains("No problems found"), "{said}");
    }
    if let Some(sfdisk) = oracle("sfdisk") {
        run(Command::new(&sfdisk).arg("--verify").arg(&image));
        let dump = run(Command::new(&sfdisk).arg("--dump").arg(&image));
        assert!(dump.contains("label-id: 00000000-0000-0000-0000-00000000D15C"), "{dump}");
        let root = "start=        4096, size=        2048, \
                    type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709";
        assert!(dump.contains(root), "{dump}");
        assert!(dump.contains(r#"name="ROOT-A", attrs="GUID:60""#), "{dump}");
    }
}

#[test]
fn what_sgdisk_writes_is_read() {
    let Some(sgdisk) = oracle("sgdisk") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("disk.img");
    std::fs::write(&image, vec![0; 8 << 20]).expect("written");
    run(Command::new(sgdisk).args(["-n", "3:2048:4095", "-c", "3:Müsli"]).arg(&image));
    let disk = std::fs::read(&image).expect("read");
    let found = read(&disk).expect("a table");
    assert!(found.is_healthy(disk.size() / SECTOR_BYTES));
    let only = &found.table.partitions[0];
    assert_eq!((only.number, only.first_lba, only.name.as_str()), (3, 2048, "Müsli"));
}

fn random_table() -> impl Strategy<Value = Table> {
    let gaps = prop::collection::vec((0..50_u64, 1..100_u64, "[a-zA-Zü🙂 -]{0,18}"), 0..40);
    (gaps, any::<u128>(), 8_000..9_000_u64, any::<u64>()).prop_map(|(gaps, guid, sectors, bits)| {
        let mut table = Table::new(Guid::from_u128(guid), sectors).expect("large enough");
        let mut next = table.first_usable_lba;
        for (number, (gap, length, name)) in (1..).zip(gaps) {
            let (first, last) = (next + gap, next + gap + length - 1);
            let name: String = name.chars().take(18).collect();
            let attributes = bits.rotate_left(number);
            table
                .partitions
                .push(Partition { attributes, ..partition(number, first, last, &name) });
            next = last + 1;
        }
        table
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_table_round_trips(table in random_table()) {
        let found = read(&disk_with(&table)).expect("read");
        prop_assert!(found.is_healthy(table.disk_sectors));
        prop_assert_eq!(found.table, table);
    }

    #[test]
    fn damage_is_noticed_and_never_panics(
        table in random_table(),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        both: bool,
    ) {
        let mut disk = disk_with(&table);
        let end = disk.len();
        for (place, byte) in hits {
            let at = place.index(34 * 512);
            disk[at] = byte;
            if both {
                disk[end - 1 - at] = byte;
            }
        }
        match read(&disk) {
            Ok(found) => prop_assert!(found.table.check().is_ok()),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    /// Headers with right checksums around wrong numbers: what an attacker would write.
    #[test]
    fn forged_headers_never_panic(
        fields in prop::collection::vec((0..23_usize, any::<u32>()), 1..6),
        entry_bytes in prop::collection::vec(any::<u8>(), 128),
    ) {
        let mut disk = disk_with(&table(10_000));
        disk[1024..1024 + 128].copy_from_slice(&entry_bytes);
        let entries_checksum = crc32fast::hash(&disk[1024..34 * 512]);
        disk[512 + 88..512 + 92].copy_from_slice(&entries_checksum.to_le_bytes());
        for (field, value) in fields {
            // Not the signature and not the entries' checksum.
            if (2..22).contains(&field) {
                let at = 512 + 4 * field;
                disk[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
        }
        sign_primary(&mut disk);
        if let Ok(found) = read(&disk) {
            prop_assert!(found.table.check().is_ok());
            prop_assert!(found.table.encode().is_ok());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let _ = read(&bytes);
    }
}
