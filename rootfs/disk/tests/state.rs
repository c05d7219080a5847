//! What is done with STATE: the table of decisions, and superblocks that mke2fs wrote.

mod support;

use std::path::Path;
use std::process::Command;

use disk::ext4::{self, Found, Superblock};
use disk::gpt::types::{BASIC_DATA, LINUX_GENERIC};
use disk::gpt::{Guid, Partition, Table};
use disk::state::{Refusal, StateError, Treatment, find, plan_filesystem};
use proptest::prelude::*;
use support::{oracle, run};

fn superblock(label: &str, last_mount: u32) -> Found {
    Found::Good(Superblock {
        blocks: 1000,
        block_bytes: 4096,
        uuid: [7; 16],
        label: label.as_bytes().to_vec(),
        last_mount,
        group: 0,
    })
}

#[test]
fn each_line_of_the_table_of_decisions() {
    let check = |backup| Treatment::Check { backup };
    let used = superblock("STATE", 1);
    let fresh = superblock("STATE", 0);
    let strange = superblock("OTHER", 1);
    let lines = [
        (true, &used, None, check(None)),
        (true, &used, Some(32768), check(None)),
        (true, &fresh, None, Treatment::Make),
        (true, &strange, None, Treatment::Make),
        (true, &Found::Zeros, None, Treatment::Make),
        (true, &Found::Zeros, Some(32768), Treatment::Make),
        (true, &Found::Other, Some(32768), Treatment::Make),
        (false, &used, None, check(None)),
        (false, &fresh, None, check(None)),
        (false, &strange, None, check(None)),
        (false, &Found::Zeros, Some(32768), check(Some(32768))),
        (false, &Found::Other, Some(98304), check(Some(98304))),
        (false, &Found::Zeros, None, Treatment::Refuse(Refusal::Lost)),
        (false, &Found::Other, None, Treatment::Refuse(Refusal::Foreign)),
    ];
    for (unmade, first, backup, wanted) in lines {
        let planned = plan_filesystem(unmade, first, || backup);
        assert_eq!(planned, wanted, "unmade {unmade}, first {first:?}, copy {backup:?}");
    }
}

#[test]
fn state_is_found_by_name_and_type_and_only_once() {
    let partition = |number: u32, name: &str, type_guid| Partition {
        number,
        type_guid,
        guid: Guid::from_u128(u128::from(number)),
        first_lba: 2048 * u64::from(number),
        last_lba: 2048 * u64::from(number) + 100,
        attributes: 0,
        name: name.to_owned(),
    };
    let mut table = Table::new(Guid::from_u128(1), 20_000).expect("large enough");
    assert_eq!(find(&table), Err(StateError::NoPartition));
    table.partitions = vec![partition(1, "STATE", BASIC_DATA)];
    assert_eq!(find(&table), Err(StateError::NoPartition), "another type is somebody else's");
    table.partitions.push(partition(2, "STATE", LINUX_GENERIC));
    assert_eq!(find(&table).map(|one| one.number), Ok(2));
    table.partitions.push(partition(3, "STATE", LINUX_GENERIC));
    assert_eq!(find(&table), Err(StateError::TwoPartitions { one: 2, other: 3 }));
}

/// A filesystem as large as two groups and a bit, so that it has a copy of its superblock.
fn filesystem(mke2fs: &Path, folder: &Path) -> Vec<u8> {
    let image = folder.join("state.img");
    std::fs::File::create(&image).expect("created").set_len(300 << 20).expect("sized");
    let mut command = Command::new(mke2fs);
    command.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-O", "metadata_csum,64bit"]);
    run(command.args(["-L", "STATE"]).arg(&image));
    std::fs::read(&image).expect("read")
}

#[test]
fn what_mke2fs_writes_is_read_and_damage_is_seen() {
    let Some(mke2fs) = oracle("mke2fs") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut image = filesystem(&mke2fs, folder.path());
    let Ok(Found::Good(first)) = ext4::first(&image) else { panic!("a superblock") };
    assert_eq!((first.blocks, first.block_bytes, first.group), (300 << 8, 4096, 0));
    assert_eq!((first.label.as_slice(), first.was_mounted()), (&b"STATE"[..], false));
    assert_eq!(ext4::backup(&image), Some(32768));
    image[1024 + 200] ^= 1;
    assert_eq!(ext4::first(&image), Ok(Found::Other));
    image[1024..2048].fill(0);
    assert_eq!(ext4::first(&image), Ok(Found::Zeros));
    let copy = 32768 * 4096;
    image[copy + 200] ^= 1;
    assert_eq!(ext4::backup(&image), None, "the only copy is damaged, too");
}

proptest! {
    /// Nothing but the mark makes a filesystem, and a mounted one of ours is never formatted.
    #[test]
    fn data_is_never_formatted(
        unmade: bool,
        label in "STATE|[a-z]{0,5}",
        last_mount in 0..3_u32,
        good: bool,
        backup in prop::option::of(1..9_u64),
    ) {
        let first = if good { superblock(&label, last_mount) } else { Found::Other };
        let planned = plan_filesystem(unmade, &first, || backup);
        let in_use = good && label == "STATE" && last_mount != 0;
        prop_assert_eq!(planned == Treatment::Make, unmade && !in_use);
    }
}
