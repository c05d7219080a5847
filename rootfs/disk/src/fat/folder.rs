//! Folders: sorting files into them, and their entries as bytes.

#![expect(clippy::cast_possible_truncation, reason = "file sizes were checked to be below 4 GiB")]

use std::collections::{BTreeMap, BTreeSet};

use super::format::{FormatError, NewFile};
use super::name::{
    ShortName, check_long_name, exact_short_name, folded, long_name_parts, long_name_slots,
    short_alias,
};
use super::{
    ATTRIBUTE_ARCHIVE, ATTRIBUTE_DIRECTORY, ATTRIBUTE_VOLUME_LABEL, SLOT_BYTES, Timestamp,
};
use crate::little_endian::put;

/// What a folder holds under one name.
enum Item {
    Folder(usize),
    File(usize),
}

struct Child {
    name: String,
    item: Item,
}

/// One directory; number 0 is the root.
pub(super) struct Folder {
    pub(super) path: String,
    parent: usize,
    /// By folded name, which makes the order and finds clashes.
    children: BTreeMap<String, Child>,
}

/// The first clusters of everything; zero for what has none.
pub(super) struct Starts {
    pub(super) folders: Vec<u32>,
    pub(super) files: Vec<u32>,
}

/// Number 0 is the root; every other comes after its parent.
pub(super) fn sort_into_folders(files: &[NewFile<'_>]) -> Result<Vec<Folder>, FormatError> {
    let root = Folder { path: String::new(), parent: 0, children: BTreeMap::new() };
    let mut folders = vec![root];
    for (index, file) in files.iter().enumerate() {
        if file.content.size() > u64::from(u32::MAX) {
            let size = file.content.size();
            return Err(FormatError::FileTooLarge { path: file.path.to_owned(), size });
        }
        let mut current = 0;
        let mut parts = file.path.split('/').peekable();
        while let Some(part) = parts.next() {
            let why_name = |why| FormatError::Name { path: file.path.to_owned(), why };
            check_long_name(part).map_err(why_name)?;
            let clash = || FormatError::Clash { path: file.path.to_owned() };
            let is_last = parts.peek().is_none();
            match folders[current].children.get(&folded(part)).map(|child| &child.item) {
                Some(Item::Folder(_)) if is_last => return Err(clash()),
                Some(Item::File(_)) => return Err(clash()),
                Some(Item::Folder(next)) => current = *next,
                None => {
                    let next = folders.len();
                    let item = if is_last { Item::File(index) } else { Item::Folder(next) };
                    let child = Child { name: part.to_owned(), item };
                    folders[current].children.insert(folded(part), child);
                    if !is_last {
                        let path = format!("{}/{part}", folders[current].path);
                        folders.push(Folder { path, parent: current, children: BTreeMap::new() });
                        current = next;
                    }
                }
            }
        }
    }
    Ok(folders)
}

impl Folder {
    /// The label for the root, `.` and `..` for the others.
    fn fixed_slots(number: usize) -> usize {
        if number == 0 { 1 } else { 2 }
    }

    /// How many entries it takes, long names included.
    pub(super) fn slots(&self, number: usize) -> usize {
        let of_child = |child: &Child| match exact_short_name(&child.name) {
            Some(_) => 1,
            None => 1 + long_name_slots(&child.name),
        };
        Self::fixed_slots(number) + self.children.values().map(of_child).sum::<usize>()
    }

    /// Exact names first, so that no alias takes the name that another entry really has.
    fn short_names(&self) -> BTreeMap<&str, ShortName> {
        let names = || self.children.values().map(|child| child.name.as_str());
        let mut chosen: BTreeMap<&str, ShortName> =
            names().filter_map(|name| Some((name, exact_short_name(name)?))).collect();
        let mut taken: BTreeSet<ShortName> = chosen.values().copied().collect();
        for name in names() {
            if !chosen.contains_key(name) {
                // At most 65,536 entries compete for a million numbers.
                let alias = short_alias(name, &taken).expect("a free number is left");
                taken.insert(alias);
                chosen.insert(name, alias);
            }
        }
        chosen
    }
}

/// All entries of a folder, without padding.
pub(super) fn encode_folder(
    number: usize,
    folder: &Folder,
    starts: &Starts,
    files: &[NewFile<'_>],
    time: Timestamp,
    label: &ShortName,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    if number == 0 {
        bytes.extend(encode_entry(label, ATTRIBUTE_VOLUME_LABEL, 0, 0, time));
    } else {
        let own = starts.folders[number];
        // A parent that is the root is written as cluster 0, also on FAT32.
        let parent = if folder.parent == 0 { 0 } else { starts.folders[folder.parent] };
        bytes.extend(encode_entry(b".          ", ATTRIBUTE_DIRECTORY, own, 0, time));
        bytes.extend(encode_entry(b"..         ", ATTRIBUTE_DIRECTORY, parent, 0, time));
    }
    let short_names = folder.short_names();
    for child in folder.children.values() {
        let short = short_names[child.name.as_str()];
        if exact_short_name(&child.name).is_none() {
            bytes.extend(long_name_parts(&child.name, &short).concat());
        }
        let (attributes, start, size) = match child.item {
            Item::Folder(index) => (ATTRIBUTE_DIRECTORY, starts.folders[index], 0),
            Item::File(index) => {
                let size = files[index].content.size() as u32;
                (ATTRIBUTE_ARCHIVE, starts.files[index], size)
            }
        };
        bytes.extend(encode_entry(&short, attributes, start, size, time));
    }
    bytes
}

fn encode_entry(
    short: &ShortName,
    attributes: u8,
    start: u32,
    size: u32,
    time: Timestamp,
) -> [u8; SLOT_BYTES] {
    let mut entry = [0; SLOT_BYTES];
    let (date, clock) = (time.date.to_le_bytes(), time.time.to_le_bytes());
    let start = start.to_le_bytes();
    put(&mut entry, 0, short);
    entry[11] = attributes;
    put(&mut entry, 14, &clock);
    put(&mut entry, 16, &date);
    put(&mut entry, 18, &date);
    put(&mut entry, 20, &start[2..]);
    put(&mut entry, 22, &clock);
    put(&mut entry, 24, &date);
    put(&mut entry, 26, &start[..2]);
    put(&mut entry, 28, &size.to_le_bytes());
    entry
}
