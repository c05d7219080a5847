//! Names: the eleven bytes that every entry has, and the long names that Windows 95 put before
//! them.
//!
//! A long name is stored backwards, thirteen UTF-16 units at a time, in entries that old systems
//! take for volume labels. A checksum over the short name ties the parts to their entry; parts that
//! don't match are leftovers of a system that knew no long names, and are ignored.

use std::collections::BTreeSet;

use thiserror::Error;

use super::{ATTRIBUTE_LONG_NAME, SLOT_BYTES};
use crate::little_endian::{put, u16_at};

const UNITS_PER_SLOT: usize = 13;
const MAX_NAME_UNITS: usize = 255;

/// Where the thirteen units of a part lie.
const UNIT_POSITIONS: [usize; UNITS_PER_SLOT] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

const LAST_PART: u8 = 0x40;
const MAX_PARTS: u8 = 20;

/// The short name as stored: eight and three characters, padded with spaces.
pub(super) type ShortName = [u8; 11];

/// Why a name or label can't be on a FAT volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadName {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than 255 UTF-16 units")]
    TooLong,
    #[error("FAT knows no {0:?} in names")]
    Character(char),
    #[error("FAT drops dots and spaces at the end")]
    Ending,
    #[error("a label has at most 11 characters, of A-Z, 0-9, space, - and _")]
    Label,
}

/// Refuses what Windows would refuse or silently change.
pub(super) fn check_long_name(name: &str) -> Result<(), BadName> {
    if name.is_empty() {
        return Err(BadName::Empty);
    }
    if name.encode_utf16().count() > MAX_NAME_UNITS {
        return Err(BadName::TooLong);
    }
    if let Some(bad) = name.chars().find(|&c| c.is_control() || "\"*/:<>?\\|".contains(c)) {
        return Err(BadName::Character(bad));
    }
    if name.starts_with(' ') || name.ends_with([' ', '.']) {
        return Err(BadName::Ending);
    }
    Ok(())
}

/// A volume label as stored.
pub(super) fn encode_label(label: &str) -> Result<ShortName, BadName> {
    let fits = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || " -_".contains(c);
    if label.is_empty() || label.len() > 11 || label.starts_with(' ') || !label.chars().all(fits) {
        return Err(BadName::Label);
    }
    let mut stored = [b' '; 11];
    stored[..label.len()].copy_from_slice(label.as_bytes());
    Ok(stored)
}

/// The form under which two names are the same.
pub(super) fn folded(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).collect()
}

fn is_short_character(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'()-@^_`{}~".contains(&byte)
}

/// The name itself, if it needs no long one.
pub(super) fn exact_short_name(name: &str) -> Option<ShortName> {
    let (base, extension) = match name.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (name, ""),
    };
    let fits = |part: &str, most: usize| part.len() <= most && part.bytes().all(is_short_character);
    if base.is_empty() || !fits(base, 8) || !fits(extension, 3) {
        return None;
    }
    Some(joined(base.as_bytes(), extension.as_bytes()))
}

fn joined(base: &[u8], extension: &[u8]) -> ShortName {
    let mut short = [b' '; 11];
    short[..base.len()].copy_from_slice(base);
    short[8..8 + extension.len()].copy_from_slice(extension);
    short
}

/// A short name for a long one, different from all in `taken`. A numeric tail is added only if
/// something got lost or the name is taken, as Windows does it.
pub(super) fn short_alias(name: &str, taken: &BTreeSet<ShortName>) -> Option<ShortName> {
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let (base, extension) = if base.is_empty() { (extension, "") } else { (base, extension) };
    let (base, base_lossy) = shortened(base, 8);
    let (extension, extension_lossy) = shortened(extension, 3);
    let plain = joined(&base, &extension);
    if !base_lossy && !extension_lossy && !taken.contains(&plain) {
        return Some(plain);
    }
    let with_tail = |number: u32| {
        let tail = format!("~{number}");
        let mut numbered = base[..base.len().min(8 - tail.len())].to_vec();
        numbered.extend_from_slice(tail.as_bytes());
        joined(&numbered, &extension)
    };
    (1..1_000_000).map(with_tail).find(|short| !taken.contains(short))
}

/// Upper case, without dots and spaces, strange characters replaced; and whether anything but
/// the case changed.
fn shortened(part: &str, most: usize) -> (Vec<u8>, bool) {
    let mut lossy = false;
    let mut bytes = Vec::new();
    for character in part.chars() {
        let upper = character.to_ascii_uppercase();
        match u8::try_from(upper) {
            Ok(b'.' | b' ') => lossy = true,
            Ok(byte) if is_short_character(byte) => bytes.push(byte),
            _ => {
                lossy = true;
                bytes.push(b'_');
            }
        }
    }
    lossy |= bytes.len() > most || bytes.is_empty() && most == 8;
    bytes.truncate(most);
    if bytes.is_empty() && most == 8 {
        bytes.push(b'_');
    }
    (bytes, lossy)
}

/// Ties long-name parts to the short name.
fn checksum(short: &ShortName) -> u8 {
    short.iter().fold(0_u8, |sum, &byte| sum.rotate_right(1).wrapping_add(byte))
}

/// How many parts a long name takes.
pub(super) fn long_name_slots(name: &str) -> usize {
    name.encode_utf16().count().div_ceil(UNITS_PER_SLOT)
}

/// The parts in the order in which they are stored, the last of the name first.
pub(super) fn long_name_parts(name: &str, short: &ShortName) -> Vec<[u8; SLOT_BYTES]> {
    let units: Vec<u16> = name.encode_utf16().collect();
    let mut parts: Vec<[u8; SLOT_BYTES]> = Vec::new();
    for (number, chunk) in (1_u8..).zip(units.chunks(UNITS_PER_SLOT)) {
        let mut part = [0; SLOT_BYTES];
        part[0] = number;
        part[11] = ATTRIBUTE_LONG_NAME;
        part[13] = checksum(short);
        for (position, &at) in UNIT_POSITIONS.iter().enumerate() {
            // After the name comes one zero, then all ones.
            let padding = if position == chunk.len() { 0 } else { 0xffff };
            let unit = chunk.get(position).copied().unwrap_or(padding);
            put(&mut part, at, &unit.to_le_bytes());
        }
        parts.push(part);
    }
    if let Some(last) = parts.last_mut() {
        last[0] |= LAST_PART;
    }
    parts.reverse();
    parts
}

/// Collects the parts of a long name while a directory is read.
#[derive(Debug, Default)]
pub(super) struct LongName {
    /// In the order of the name; complete when `missing` is zero.
    units: Vec<u16>,
    missing: u8,
    checksum: u8,
}

impl LongName {
    /// Takes one part; one that doesn't continue what came before starts anew or is dropped.
    pub(super) fn push(&mut self, slot: &[u8]) {
        let order = slot[0] & !LAST_PART;
        if slot[0] & LAST_PART != 0 && (1..=MAX_PARTS).contains(&order) {
            *self = Self { units: Vec::new(), missing: order, checksum: slot[13] };
        }
        if self.missing == 0 || self.missing != order || self.checksum != slot[13] {
            *self = Self::default();
            return;
        }
        self.missing -= 1;
        let part = UNIT_POSITIONS.map(|at| u16_at(slot, at));
        self.units.splice(0..0, part);
    }

    /// The long name of the entry with that short name, if there is one; forgets it.
    pub(super) fn take(&mut self, short: &ShortName) -> Option<String> {
        let Self { mut units, missing, checksum: expected } = std::mem::take(self);
        if units.is_empty() || missing != 0 || expected != checksum(short) {
            return None;
        }
        let length = units.iter().position(|&unit| unit == 0).unwrap_or(units.len());
        units.truncate(length);
        let name = String::from_utf16(&units).ok()?;
        check_long_name(&name).is_ok().then_some(name)
    }
}

/// A short name as people read it. `case_flags` is where Windows NT notes that a name without a
/// long form is meant in lower case.
pub(super) fn readable(short: &ShortName, case_flags: u8) -> String {
    let text = |bytes: &[u8], lower: bool| -> String {
        let end = bytes.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1);
        let character = |byte: &u8| match (byte.is_ascii(), lower) {
            (false, _) => char::REPLACEMENT_CHARACTER,
            (true, true) => char::from(byte.to_ascii_lowercase()),
            (true, false) => char::from(*byte),
        };
        bytes[..end].iter().map(character).collect()
    };
    let base = text(&short[..8], case_flags & 0x08 != 0);
    let extension = text(&short[8..], case_flags & 0x10 != 0);
    if extension.is_empty() { base } else { format!("{base}.{extension}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_what_windows_would_choose() {
        let mut taken = BTreeSet::new();
        let mut alias = |name: &str| {
            let short = short_alias(name, &taken).expect("an alias");
            taken.insert(short);
            readable(&short, 0)
        };
        assert_eq!(alias("linux.efi"), "LINUX.EFI");
        assert_eq!(alias("Linux.EFI"), "LINUX~1.EFI");
        assert_eq!(alias("appliance-a+3.efi"), "APPLIA~1.EFI");
        assert_eq!(alias("appliance-b+3.efi"), "APPLIA~2.EFI");
        assert_eq!(alias("a.b.c"), "AB~1.C");
        assert_eq!(alias(".profile"), "PROFILE");
        assert_eq!(alias("ä"), "_~1");
        assert_eq!(
            exact_short_name("BOOTX64.EFI").map(|s| readable(&s, 0)).as_deref(),
            Some("BOOTX64.EFI")
        );
        for long in ["linux.efi", "A.B.C", "TOOLONGNAME", "A.", ".A", "A B", "Ä"] {
            assert_eq!(exact_short_name(long), None, "{long}");
        }
    }

    #[test]
    fn long_names_come_back_from_their_parts() {
        for name in ["a", "thirteen chars", "exactly-13-ch", "ünïcödé 🙂.toml", &"x".repeat(255)]
        {
            let short = *b"SHORT~1 TOM";
            let mut collected = LongName::default();
            let parts = long_name_parts(name, &short);
            assert_eq!(parts.len(), long_name_slots(name));
            for part in &parts {
                collected.push(part);
            }
            assert_eq!(collected.take(&short).as_deref(), Some(name));
            assert_eq!(collected.take(&short), None, "a name is taken once");
        }
    }

    #[test]
    fn parts_of_another_entry_are_ignored() {
        let parts = long_name_parts("a name of two parts", b"ANAME~1    ");
        let mut collected = LongName::default();
        for part in &parts {
            collected.push(part);
        }
        assert_eq!(collected.take(b"OTHER      "), None);
        collected.push(&parts[1]);
        assert_eq!(collected.take(b"ANAME~1    "), None, "the last part never came");
    }
}
