//! The container of a `.deb`: an `ar` archive of three members in a fixed order.
//!
//! `debian-binary` says 2.x, `control.tar.*` describes, `data.tar.*` holds the files. Whatever
//! deviates is refused: these archives are made by one program, dpkg-deb.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use thiserror::Error;

use super::unpack::Compression;

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER_BYTES: usize = 60;
/// There are three, and deb(5) allows more with names that start with an underscore.
const MEMBERS_MAX: usize = 16;

/// Where the two interesting members are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Members {
    pub control: Member,
    pub data: Member,
}

/// A range of the `.deb`, and how it is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub offset: u64,
    pub length: u64,
    pub compression: Compression,
}

/// Why a file is no `.deb`.
#[derive(Debug, Error)]
pub enum DebError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is no ar archive")]
    NotAr,
    #[error("the header of member {0} is broken")]
    BadHeader(usize),
    #[error("the member {0} ends behind the end of the file; it is truncated")]
    Truncated(String),
    #[error("there is garbage after the last member")]
    TrailingGarbage,
    #[error("where {wanted} should be there is {found:?}")]
    Unexpected { wanted: &'static str, found: String },
    #[error("its format is {0:?}, but only 2.x is known")]
    Format(String),
    #[error("the member {0} is packed in a way that isn't known")]
    Compression(String),
}

/// Reads part of a file without moving its position, so that threads can share the file.
#[derive(Debug)]
pub struct Section {
    file: File,
    offset: u64,
    remaining: u64,
}

impl Section {
    pub fn new(file: File, member: Member) -> Self {
        Self { file, offset: member.offset, remaining: member.length }
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        self.offset += count as u64;
        self.remaining -= count as u64;
        Ok(count)
    }
}

/// Finds the members of a `.deb`.
pub fn members(file: &File) -> Result<Members, DebError> {
    let size = file.metadata()?.len();
    let mut magic = [0; MAGIC.len()];
    if size < MAGIC.len() as u64 {
        return Err(DebError::NotAr);
    }
    file.read_exact_at(&mut magic, 0)?;
    if magic != MAGIC {
        return Err(DebError::NotAr);
    }
    let mut offset = MAGIC.len() as u64;
    let (mut control, mut data) = (None, None);
    for number in 0.. {
        if offset == size {
            break;
        }
        if number == MEMBERS_MAX {
            return Err(DebError::TrailingGarbage);
        }
        if size - offset < HEADER_BYTES as u64 {
            return Err(DebError::TrailingGarbage);
        }
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, offset)?;
        let (name, length) = parse_header(&header).ok_or(DebError::BadHeader(number))?;
        offset += HEADER_BYTES as u64;
        if length > size - offset {
            return Err(DebError::Truncated(name));
        }
        if number == 0 {
            check_format(file, &name, offset, length)?;
        } else if name.starts_with('_') {
            // deb(5): such members are to be skipped.
        } else if control.is_none() {
            control = Some(packed(&name, "control.tar", offset, length)?);
        } else if data.is_none() {
            data = Some(packed(&name, "data.tar", offset, length)?);
        } else {
            return Err(DebError::TrailingGarbage);
        }
        // Members begin at even offsets; some writers leave the last one unpadded.
        offset = (offset + length).next_multiple_of(2).min(size);
    }
    match (control, data) {
        (Some(control), Some(data)) => Ok(Members { control, data }),
        (Some(_), None) => Err(DebError::Truncated("data.tar".to_owned())),
        _ => Err(DebError::Truncated("control.tar".to_owned())),
    }
}

fn parse_header(header: &[u8; HEADER_BYTES]) -> Option<(String, u64)> {
    if header[58..] != *b"`\n" {
        return None;
    }
    let name = std::str::from_utf8(&header[..16]).ok()?.trim_end().trim_end_matches('/');
    let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
    let length = std::str::from_utf8(&header[48..58]).ok()?.trim_end();
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    (printable && digits).then_some(())?;
    Some((name.to_owned(), length.parse().ok()?))
}

fn check_format(file: &File, name: &str, offset: u64, length: u64) -> Result<(), DebError> {
    if name != "debian-binary" {
        return Err(DebError::Unexpected { wanted: "debian-binary", found: name.to_owned() });
    }
    let mut text = [0; 8];
    let taken = usize::try_from(length).unwrap_or(text.len()).min(text.len());
    file.read_exact_at(&mut text[..taken], offset)?;
    if !text.starts_with(b"2.") {
        return Err(DebError::Format(String::from_utf8_lossy(&text[..taken]).into_owned()));
    }
    Ok(())
}

fn packed(name: &str, wanted: &'static str, offset: u64, length: u64) -> Result<Member, DebError> {
    let Some(extension) = name.strip_prefix(wanted) else {
        return Err(DebError::Unexpected { wanted, found: name.to_owned() });
    };
    let compression = match extension {
        "" => Compression::None,
        ".gz" => Compression::Gzip,
        ".xz" => Compression::Xz,
        ".zst" => Compression::Zstd,
        _ => return Err(DebError::Compression(name.to_owned())),
    };
    Ok(Member { offset, length, compression })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn members_of(bytes: &[u8]) -> Result<Members, DebError> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        members(&file)
    }

    fn header(name: &str, length: usize) -> String {
        format!("{name:<16}0           0     0     100644  {length:<10}`\n")
    }

    fn sample() -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(header("debian-binary/", 4).bytes().chain(*b"2.0\n"));
        bytes.extend(header("control.tar.gz", 3).bytes().chain(*b"abc\n"));
        bytes.extend(header("_signature", 2).bytes().chain(*b"xy"));
        bytes.extend(header("data.tar", 5).bytes().chain(*b"12345"));
        bytes
    }

    #[test]
    fn members_are_found_with_and_without_padding_at_the_end() {
        let found = members_of(&sample()).expect("found");
        assert_eq!(found.control.length, 3);
        assert_eq!(found.data.compression, Compression::None);
        let padded = [sample().as_slice(), b"\n"].concat();
        assert_eq!(members_of(&padded).expect("found"), found);
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = members_of(&[MAGIC, &bytes].concat());
        }

        #[test]
        fn members_never_reach_beyond_the_file(position in 8_usize..250, byte: u8) {
            let mut bytes = sample();
            let position = position % bytes.len();
            bytes[position] = byte;
            if let Ok(found) = members_of(&bytes) {
                for member in [found.control, found.data] {
                    prop_assert!(member.offset + member.length <= bytes.len() as u64);
                }
            }
        }
    }
}
