//! The hash tree: equal to what `veritysetup` makes, independent of the number of threads, and any
//! changed bit is found.

#![expect(clippy::cast_possible_truncation, reason = "test data is small")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;

use crate::support::oracle;
use builder::image::verity::{HashTreeError, Verity, append, check, tree_bytes};
use disk::gpt::Guid;
use disk::verity::{Superblock, to_hex};
use proptest::prelude::*;
use tempfile::NamedTempFile;

const BLOCK: u64 = 4096;
const SALT: [u8; 32] = [0x5a; 32];

fn uuid() -> Guid {
    Guid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef)
}

/// An image whose blocks all differ, at an offset.
fn image(offset: u64, blocks: u64) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a temporary file");
    let mut bytes = Vec::new();
    for block in 0..blocks {
        bytes.extend(block.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes().repeat(512));
    }
    file.as_file().write_all_at(&bytes, offset).expect("written");
    file
}

fn append_to(file: &NamedTempFile, offset: u64, blocks: u64) -> Verity {
    append(file.as_file(), offset, blocks * BLOCK, &SALT, uuid()).expect("appended")
}

#[test]
fn a_known_root_hash() {
    // From `veritysetup format --salt=5a…5a` over the same 300 blocks.
    let verity = append_to(&image(0, 300), 0, 300);
    let known = "40b88f347a42a70e0c995ca4c2bd3d76117a94220332202ef4d5689e614e3d97";
    assert_eq!(to_hex(&verity.root_hash), known);
    assert_eq!(verity.hash_offset_blocks, 300);
    assert_eq!(verity.total_bytes, (300 + 1 + 1 + 3) * BLOCK);
    assert_eq!(tree_bytes(300 * BLOCK).expect("a size"), 5 * BLOCK);
}

#[test]
fn the_superblock_says_what_was_done() {
    let file = image(8 * BLOCK, 130);
    append_to(&file, 8 * BLOCK, 130);
    let mut block = vec![0; BLOCK as usize];
    file.as_file().read_exact_at(&mut block, (8 + 130) * BLOCK).expect("read");
    let superblock = Superblock::parse(&block).expect("a superblock");
    let wanted = Superblock { uuid: uuid().bytes(), data_blocks: 130, salt: SALT.to_vec() };
    assert_eq!(superblock, wanted);
    assert_eq!(superblock.hash_start_block(), 131);
}

#[test]
fn veritysetup_takes_it_and_makes_the_same() {
    let Some(veritysetup) = oracle("veritysetup") else {
        return;
    };
    for blocks in [1, 2, 128, 129, 5000, 16_385] {
        let file = image(0, blocks);
        let verity = append_to(&file, 0, blocks);
        let root = to_hex(&verity.root_hash);
        let offset = format!("--hash-offset={}", blocks * BLOCK);
        let mut verify = Command::new(&veritysetup);
        let verified =
            verify.arg("verify").arg(file.path()).arg(file.path()).arg(&root).arg(&offset).output();
        let verified = verified.expect("veritysetup starts");
        assert!(verified.status.success(), "{blocks} blocks: {verified:?}");

        let theirs = image(0, blocks);
        let mut format = Command::new(&veritysetup);
        let formatted = format
            .arg("format")
            .args([theirs.path(), theirs.path()])
            .arg(offset)
            .arg(format!("--data-blocks={blocks}"))
            .arg(format!("--salt={}", to_hex(&SALT)))
            .arg(format!("--uuid={}", uuid()))
            .output()
            .expect("veritysetup starts");
        assert!(formatted.status.success(), "{formatted:?}");
        let ours = std::fs::read(file.path()).expect("read");
        assert!(ours == std::fs::read(theirs.path()).expect("read"), "{blocks} blocks");
    }
}

fn flip(file: &File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 1], at).expect("written");
}

#[test]
fn a_changed_block_is_named() {
    let (offset, blocks) = (3 * BLOCK, 300);
    let file = image(offset, blocks);
    let verity = append_to(&file, offset, blocks);
    let file = file.as_file();
    let checked = || check(file, offset, blocks * BLOCK, &verity.root_hash);
    checked().expect("untouched");
    for block in [0, 1, 128, 299] {
        let at = offset + block * BLOCK + 77;
        flip(file, at);
        match checked() {
            Err(HashTreeError::BadDataBlock { block: named }) => assert_eq!(named, block),
            other => panic!("{other:?}"),
        }
        flip(file, at);
    }
    for block in 0..4 {
        let at = offset + (blocks + 1 + block) * BLOCK + 5;
        flip(file, at);
        match checked() {
            Err(HashTreeError::BadHashBlock { block: named }) => assert_eq!(named, block),
            other => panic!("{other:?}"),
        }
        flip(file, at);
    }
    let mut wrong = verity.root_hash;
    wrong[31] ^= 1;
    assert!(matches!(
        check(file, offset, blocks * BLOCK, &wrong),
        Err(HashTreeError::BadHashBlock { block: 0 })
    ));
    let other_size = check(file, offset, (blocks - 1) * BLOCK, &verity.root_hash);
    assert!(other_size.is_err(), "there is no superblock at that place");
    assert!(matches!(append(file, 0, 4097, &SALT, uuid()), Err(HashTreeError::NotBlocks(4097))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_flipped_bit_is_found(blocks in 1..400_u64, place: prop::sample::Index, bit in 0..8_u8) {
        let file = image(0, blocks);
        let verity = append_to(&file, 0, blocks);
        let file = file.as_file();
        prop_assert!(check(file, 0, blocks * BLOCK, &verity.root_hash).is_ok());
        let at = place.index((blocks * BLOCK) as usize) as u64;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("read");
        file.write_all_at(&[byte[0] ^ 1 << bit], at).expect("written");
        match check(file, 0, blocks * BLOCK, &verity.root_hash) {
            Err(HashTreeError::BadDataBlock { block }) => prop_assert_eq!(block, at / BLOCK),
            // A single block is its own tree.
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
