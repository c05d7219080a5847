//! The tar inside of a `.deb`, read once as a stream while it is copied to the cache.
//!
//! The copy keeps the tar's layout, so a file is a range of it and nothing is written twice. The
//! `tar` crate decodes headers; the loop around it is ours, because a stream from a stranger needs
//! bounds everywhere: on names, on sizes, on the number of entries, and on what may follow.
//!
//! Old packages still ship `/bin`, `/sbin`, `/lib` and `/lib64`, which have long been links into
//! `/usr`. Whatever lies below them is moved there, so that every file has one name; the links
//! themselves (of `base-files`) stay. The text of symlinks needs no change: the kernel follows
//! them from where the file really lies.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use tar::{EntryType, Header};
use thiserror::Error;

use crate::root::tree::{TreeError, TreePath};

const BLOCK_BYTES: usize = 512;
const CHUNK_BYTES: usize = 128 * 1024;
/// The longest names that Linux takes, with the zero that ends them.
const LONG_NAME_BYTES_MAX: u64 = 4096;
const LINK_BYTES_MAX: usize = 4095;
/// The package with most files, a kernel's headers, has some 30 000.
pub const ENTRIES_MAX: usize = 500_000;

/// One entry; its content is a range of the copied tar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub path: String,
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub kind: EntryKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    Directory,
    File { offset: u64, length: u64 },
    Symlink(String),
}

/// Why a tar is refused.
#[derive(Debug, Error)]
pub enum TarError {
    #[error("can't be unpacked: {0}")]
    Read(io::Error),
    #[error("can't be written: {0}")]
    Write(io::Error),
    #[error("the tar ends in the middle; it is truncated")]
    Truncated,
    #[error("the tar unpacks to more than {0} bytes, which is out of proportion")]
    TooLarge(u64),
    #[error("the tar has more than {ENTRIES_MAX} entries")]
    TooMany,
    #[error("something follows the end of the tar")]
    TrailingGarbage,
    #[error("the header at byte {0} is broken")]
    BadHeader(u64),
    #[error("{path:?}: {reason}")]
    Entry { path: String, reason: String },
}

/// Reads a tar to its end and copies it to `out`. Gives the entries and the length of the copy.
pub fn read_tar(
    reader: &mut dyn Read,
    out: &mut dyn Write,
    bytes_max: u64,
) -> Result<(Vec<Entry>, u64), TarError> {
    let mut tar = Tar { reader, out, position: 0, bytes_max };
    let mut entries = Entries::default();
    let (mut long_name, mut long_link) = (None, None);
    loop {
        let at = tar.position;
        let block = tar.block()?.ok_or(TarError::Truncated)?;
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        let header = Header::from_byte_slice(&block);
        if !checksum_fits(header, &block) {
            return Err(TarError::BadHeader(at));
        }
        let size = header.entry_size().map_err(|_| TarError::BadHeader(at))?;
        match header.entry_type() {
            EntryType::GNULongName if long_name.is_none() => long_name = Some(tar.name(size, at)?),
            EntryType::GNULongLink if long_link.is_none() => long_link = Some(tar.name(size, at)?),
            kind => {
                let name = long_name.take().unwrap_or_else(|| header.path_bytes().into_owned());
                let link = || header.link_name_bytes().unwrap_or_default().into_owned();
                let link = long_link.take().unwrap_or_else(link);
                let offset = tar.position;
                entries.add(header, kind, &name, &link, offset, size)?;
                tar.skip_content(size)?;
            }
        }
    }
    if long_name.is_some() || long_link.is_some() {
        return Err(TarError::Truncated);
    }
    tar.expect_zeroes()?;
    let length = tar.position;
    Ok((entries.finish()?, length))
}

struct Tar<'a> {
    reader: &'a mut dyn Read,
    out: &'a mut dyn Write,
    position: u64,
    bytes_max: u64,
}

impl Tar<'_> {
    /// The next block; none at the very end.
    fn block(&mut self) -> Result<Option<[u8; BLOCK_BYTES]>, TarError> {
        let mut block = [0; BLOCK_BYTES];
        match self.read(&mut block)? {
            0 => Ok(None),
            BLOCK_BYTES => Ok(Some(block)),
            _ => Err(TarError::Truncated),
        }
    }

    /// Fills the buffer as far as the stream goes, and copies what came.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::Read(error)),
            }
        }
        self.position += filled as u64;
        if self.position > self.bytes_max {
            return Err(TarError::TooLarge(self.bytes_max));
        }
        self.out.write_all(&buffer[..filled]).map_err(TarError::Write)?;
        Ok(filled)
    }

    /// The content of a long-name entry, without the zeroes at its end.
    fn name(&mut self, size: u64, at: u64) -> Result<Vec<u8>, TarError> {
        if size > LONG_NAME_BYTES_MAX {
            return Err(TarError::BadHeader(at));
        }
        let padded = size.next_multiple_of(BLOCK_BYTES as u64);
        let mut bytes = vec![0; usize::try_from(padded).map_err(|_| TarError::BadHeader(at))?];
        if self.read(&mut bytes)? < bytes.len() {
            return Err(TarError::Truncated);
        }
        bytes.truncate(usize::try_from(size).map_err(|_| TarError::BadHeader(at))?);
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(bytes)
    }

    fn skip_content(&mut self, size: u64) -> Result<(), TarError> {
        if size > self.bytes_max {
            return Err(TarError::TooLarge(self.bytes_max));
        }
        let mut rest = size.next_multiple_of(BLOCK_BYTES as u64);
        let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(rest).unwrap_or(CHUNK_BYTES))];
        while rest > 0 {
            let step = usize::try_from(rest).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            if self.read(&mut chunk[..step])? < step {
                return Err(TarError::Truncated);
            }
            rest -= step as u64;
        }
        Ok(())
    }

    /// A tar ends with two blocks of zeroes, and writers fill up to a multiple of ten kilobytes.
    fn expect_zeroes(&mut self) -> Result<(), TarError> {
        while let Some(block) = self.block()? {
            if block.iter().any(|byte| *byte != 0) {
                return Err(TarError::TrailingGarbage);
            }
        }
        Ok(())
    }
}

fn checksum_fits(header: &Header, block: &[u8; BLOCK_BYTES]) -> bool {
    const FIELD: std::ops::Range<usize> = 148..156;
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let own: u32 = block[FIELD].iter().map(|byte| u32::from(*byte)).sum();
    let spaces = u32::from(b' ') * 8;
    header.cksum().is_ok_and(|wanted| wanted == sum - own + spaces)
}

/// The entries so far, and where each path is among them.
#[derive(Default)]
struct Entries {
    list: Vec<Entry>,
    positions: HashMap<String, usize>,
}

impl Entries {
    fn add(
        &mut self,
        header: &Header,
        kind: EntryType,
        name: &[u8],
        link: &[u8],
        offset: u64,
        size: u64,
    ) -> Result<(), TarError> {
        let shown = String::from_utf8_lossy(name).into_owned();
        let refuse = |reason: &str| TarError::Entry { path: shown.clone(), reason: reason.into() };
        let is_directory = kind == EntryType::Directory;
        let Some(path) = tree_path(name, is_directory).map_err(|reason| refuse(&reason))? else {
            return if is_directory { Ok(()) } else { Err(refuse("it replaces the root")) };
        };
        if size != 0 && !kind.is_file() {
            return Err(refuse("it has content, but is no file"));
        }
        let kind = match kind {
            EntryType::Regular => EntryKind::File { offset, length: size },
            EntryType::Directory => EntryKind::Directory,
            EntryType::Symlink => {
                EntryKind::Symlink(link_text(link).map_err(|reason| refuse(&reason))?)
            }
            EntryType::Link => self.hard_link(link).map_err(|reason| refuse(&reason))?,
            other => return Err(refuse(&unwanted(other))),
        };
        let number =
            |value: io::Result<u64>| value.ok().and_then(|value| u32::try_from(value).ok());
        let mode = header.mode().map_err(|_| refuse("its mode can't be read"))?;
        let entry = Entry {
            path: path.as_str().to_owned(),
            mode: u16::try_from(mode & 0o7777).unwrap_or(0),
            uid: number(header.uid()).ok_or_else(|| refuse("its owner can't be read"))?,
            gid: number(header.gid()).ok_or_else(|| refuse("its group can't be read"))?,
            kind,
        };
        self.insert(entry).map_err(refuse)
    }

    fn insert(&mut self, entry: Entry) -> Result<(), &'static str> {
        if let Some(old) = self.positions.get(&entry.path) {
            // After the move into `/usr` a directory can be there twice, and nothing else.
            let both = [&self.list[*old].kind, &entry.kind];
            if both.iter().all(|kind| **kind == EntryKind::Directory) {
                return Ok(());
            }
            return Err("it is there twice");
        }
        if self.list.len() == ENTRIES_MAX {
            return Err("there are too many entries");
        }
        self.positions.insert(entry.path.clone(), self.list.len());
        self.list.push(entry);
        Ok(())
    }

    /// A hard link is the same content once more.
    fn hard_link(&self, link: &[u8]) -> Result<EntryKind, String> {
        let target = tree_path(link, false)?.ok_or("it is a hard link to the root")?;
        let position = self.positions.get(target.as_str());
        match position.and_then(|position| self.list.get(*position)).map(|entry| &entry.kind) {
            Some(kind @ EntryKind::File { .. }) => Ok(kind.clone()),
            Some(_) => Err(format!("it is a hard link to {target}, which is no file")),
            None => Err(format!("it is a hard link to {target}, which isn't in the package")),
        }
    }

    /// Nothing may lie below a file or a symlink: that is how archives reach other places.
    fn finish(self) -> Result<Vec<Entry>, TarError> {
        for entry in &self.list {
            let ends = entry.path.match_indices('/').map(|(end, _)| end).filter(|end| *end > 0);
            for parent in ends.map(|end| &entry.path[..end]) {
                let above = self.positions.get(parent).and_then(|above| self.list.get(*above));
                if above.is_some_and(|above| above.kind != EntryKind::Directory) {
                    let reason = format!("it lies below {parent}, which is no directory");
                    return Err(TarError::Entry { path: entry.path.clone(), reason });
                }
            }
        }
        Ok(self.list)
    }
}

fn unwanted(kind: EntryType) -> String {
    match kind {
        EntryType::Char | EntryType::Block => "it is a device node".to_owned(),
        EntryType::Fifo => "it is a FIFO".to_owned(),
        EntryType::GNUSparse => "it is a sparse file".to_owned(),
        EntryType::XHeader | EntryType::XGlobalHeader => {
            "it is a pax header, which Debian's packages don't have".to_owned()
        }
        other => format!("entries of type {:?} are not known", char::from(other.as_byte())),
    }
}

/// `./usr/bin/x` as a path of the tree; none for the root itself.
fn tree_path(name: &[u8], is_directory: bool) -> Result<Option<TreePath>, String> {
    let name = std::str::from_utf8(name).map_err(|_| "its name is not UTF-8")?;
    let name = name.strip_prefix("./").unwrap_or(name);
    let name = if is_directory { name.strip_suffix('/').unwrap_or(name) } else { name };
    if name.is_empty() || name == "." {
        return Ok(None);
    }
    if name.starts_with('/') {
        return Err("its name is absolute".to_owned());
    }
    let (first, rest) = name.split_once('/').unwrap_or((name, ""));
    let merged = matches!(first, "bin" | "sbin" | "lib" | "lib64");
    let prefix = if merged && (is_directory || !rest.is_empty()) { "/usr/" } else { "/" };
    let path = TreePath::new(&format!("{prefix}{name}"));
    path.map(Some).map_err(|error: TreeError| error.to_string())
}

fn link_text(link: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(link).map_err(|_| "its target is not UTF-8")?;
    if text.is_empty() || text.len() > LINK_BYTES_MAX {
        return Err("its target is empty or too long".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("its target has a control character".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: u64 = 1024 * 1024;

    fn sample() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in [("./usr/a", "first"), ("./lib/b", "second")] {
            let mut header = Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            builder.append_data(&mut header, name, content.as_bytes()).expect("appended");
        }
        builder.into_inner().expect("finished")
    }

    fn read(bytes: &[u8]) -> Result<(Vec<Entry>, Vec<u8>), TarError> {
        let mut copy = Vec::new();
        let (entries, length) = read_tar(&mut &*bytes, &mut copy, LIMIT)?;
        assert_eq!(length, copy.len() as u64);
        Ok((entries, copy))
    }

    #[test]
    fn content_lies_where_the_entry_says() {
        let (entries, copy) = read(&sample()).expect("read");
        assert_eq!(copy, sample());
        assert_eq!(entries[1].path, "/usr/lib/b");
        let EntryKind::File { offset, length } = entries[1].kind else { panic!("no file") };
        let start = usize::try_from(offset).expect("small");
        assert_eq!(&copy[start..start + usize::try_from(length).expect("small")], b"second");
    }

    #[test]
    fn merged_folders_move_and_their_links_stay() {
        let path = |name: &str, is_directory| {
            tree_path(name.as_bytes(), is_directory).expect("good").map(|path| path.to_string())
        };
        assert_eq!(path("./bin/", true).as_deref(), Some("/usr/bin"));
        assert_eq!(path("./bin", false).as_deref(), Some("/bin"));
        assert_eq!(path("lib64/x", false).as_deref(), Some("/usr/lib64/x"));
        assert_eq!(path("./lib32/x", false).as_deref(), Some("/lib32/x"));
        assert_eq!(path("./", true), None);
    }

    proptest! {
        #[test]
        fn any_change_is_judged_without_panic(
            changes in prop::collection::vec((0_usize..3072, any::<u8>()), 1..6),
            length in 0_usize..4096,
        ) {
            let mut bytes = sample();
            for (position, byte) in changes {
                let position = position % bytes.len();
                bytes[position] = byte;
            }
            bytes.truncate(length);
            if let Ok((entries, copy)) = read(&bytes) {
                for entry in entries {
                    if let EntryKind::File { offset, length } = entry.kind {
                        prop_assert!(offset + length <= copy.len() as u64);
                    }
                }
            }
        }
    }
}
