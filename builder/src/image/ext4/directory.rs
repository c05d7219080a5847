//! Directory blocks: names in a row, each block closed by a checksum.

#![expect(
    clippy::cast_possible_truncation,
    reason = "what is cast was checked or planned to fit its field"
)]

use super::BLOCK;
use super::checksum::crc32c;

/// The checksum hides in what looks like an unused entry to those who don't know it.
const TAIL_BYTES: usize = 12;
const TAIL_MARK: u8 = 0xde;
const ENTRY_HEADER_BYTES: usize = 8;

/// What the entry points to, as the directory notes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryType {
    File = 1,
    Directory = 2,
    Symlink = 7,
}

/// One name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) inode: u32,
    pub(super) kind: EntryType,
}

/// Padded to four bytes.
fn entry_bytes(name: &str) -> usize {
    (ENTRY_HEADER_BYTES + name.len()).next_multiple_of(4)
}

/// How many blocks `.`, `..` and the names take.
pub(super) fn blocks<'a>(names: impl Iterator<Item = &'a str>) -> u64 {
    let mut blocks = 1;
    let mut used = entry_bytes(".") + entry_bytes("..");
    for name in names {
        let bytes = entry_bytes(name);
        if used + bytes > BLOCK - TAIL_BYTES {
            blocks += 1;
            used = 0;
        }
        used += bytes;
    }
    blocks
}

/// All blocks of a directory. `inode_seed` is the directory inode's own checksum seed.
pub(super) fn encode(own: u32, parent: u32, entries: &[Entry<'_>], inode_seed: u32) -> Vec<u8> {
    let kind = EntryType::Directory;
    let dot = Entry { name: ".", inode: own, kind };
    let dot_dot = Entry { name: "..", inode: parent, kind };
    let mut bytes = Vec::new();
    let mut block: Vec<u8> = Vec::with_capacity(BLOCK);
    let mut last_entry = 0;
    for entry in [dot, dot_dot].iter().chain(entries) {
        let length = entry_bytes(entry.name);
        if block.len() + length > BLOCK - TAIL_BYTES {
            bytes.extend(close(&mut block, last_entry, inode_seed));
        }
        last_entry = block.len();
        block.extend(entry.inode.to_le_bytes());
        block.extend((length as u16).to_le_bytes());
        block.extend([entry.name.len() as u8, entry.kind as u8]);
        block.extend(entry.name.as_bytes());
        block.resize(last_entry + length, 0);
    }
    bytes.extend(close(&mut block, last_entry, inode_seed));
    bytes
}

/// Stretches the last entry to the end, appends the checksum, and leaves an empty block behind.
fn close(block: &mut Vec<u8>, last_entry: usize, inode_seed: u32) -> Vec<u8> {
    let stretched = (BLOCK - TAIL_BYTES - last_entry) as u16;
    block[last_entry + 4..last_entry + 6].copy_from_slice(&stretched.to_le_bytes());
    block.resize(BLOCK - TAIL_BYTES, 0);
    let checksum = crc32c(inode_seed, block);
    block.extend([0, 0, 0, 0, TAIL_BYTES as u8, 0, 0, TAIL_MARK]);
    block.extend(checksum.to_le_bytes());
    std::mem::replace(block, Vec::with_capacity(BLOCK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_count_foretells_the_encoding() {
        for count in [0, 1, 14, 15, 16, 300, 5000] {
            let names: Vec<String> =
                (0..count).map(|n| format!("{n:0>width$}", width = 1 + n % 255)).collect();
            let entries: Vec<Entry<'_>> =
                names.iter().map(|name| Entry { name, inode: 12, kind: EntryType::File }).collect();
            let encoded = encode(2, 2, &entries, 0);
            assert_eq!(encoded.len() as u64, blocks(names.iter().map(String::as_str)) * 4096);
        }
    }
}
