//! The unified kernel image: systemd's EFI stub with kernel, initramfs and command line as
//! sections.
//!
//! Firmware starts the stub like any program; the stub finds its own sections in memory and boots
//! the kernel in `.linux` with the rest. Because the command line carries the root hash, one
//! signature over this file covers everything that the node will run.
//!
//! ```text
//!  DOS and PE headers │ section table │ the stub's sections │ .osrel │ .cmdline │ .uname │ …
//!                       └ grows into the gap before the first section's data
//! ```
//!
//! What is done to the headers is what systemd's `ukify` does, so that for equal sections both give
//! equal bytes: sections follow in memory at the section alignment, in the file at the file
//! alignment; the checksum field is zero, as in the stub itself, because firmware ignores it and
//! signers replace it.

#![expect(clippy::cast_possible_truncation, reason = "lengths are those of slices in memory")]

use object::LittleEndian as LE;
use object::pe::{
    IMAGE_DLLCHARACTERISTICS_NX_COMPAT, IMAGE_SCN_CNT_CODE, IMAGE_SCN_CNT_INITIALIZED_DATA,
    IMAGE_SCN_MEM_READ,
};
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader, PeFile64};
use thiserror::Error;

const SECTION_HEADER_BYTES: usize = 40;
const SECTION_NAME_BYTES: usize = 8;

// Positions from the start of the PE signature.
const SECTION_COUNT_AT: usize = 6;
const OPTIONAL_HEADER_AT: usize = 24;

// Positions from the start of the optional header.
const SIZE_OF_INITIALIZED_DATA_AT: usize = 8;
const SIZE_OF_IMAGE_AT: usize = 56;
const CHECKSUM_AT: usize = 64;
const DLL_CHARACTERISTICS_AT: usize = 70;

/// The data directory entry that a signature fills.
const SECURITY_DIRECTORY: usize = 4;

/// The kernel, which old firmware interfaces execute in place.
const LINUX: &str = ".linux";

/// A section that is to be added.
#[derive(Clone, Copy)]
pub struct Section<'a> {
    /// Such as `.cmdline`; at most eight characters.
    pub name: &'a str,
    pub data: &'a [u8],
}

/// Why an image can't be assembled or read.
#[derive(Debug, Error)]
pub enum UkiError {
    #[error("not a 64-bit EFI program: take linuxx64.efi.stub of the package systemd-boot-efi")]
    NotPe(#[source] object::read::Error),
    #[error("the EFI stub is signed, and adding sections would break that: take the unsigned one")]
    Signed,
    #[error("the EFI stub is cut off or its headers are out of order")]
    BadStub,
    #[error("the section name {0:?} is not one to eight printable ASCII characters")]
    BadName(String),
    #[error("there is already a section {0:?}")]
    Twice(String),
    #[error("the headers of the EFI stub have no room for section {0:?}")]
    NoHeaderRoom(String),
    #[error("the image would be larger than 4 GiB: drop files from the initramfs")]
    TooLarge,
}

impl std::fmt::Debug for Section<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Section({:?}, {} bytes)", self.name, self.data.len())
    }
}

/// What is needed of the stub's headers.
struct Stub {
    headers_at: usize,
    table_end: usize,
    section_alignment: u64,
    file_alignment: u64,
    section_count: u16,
    initialized_bytes: u64,
    /// Where the section table must end: at the first section's data or the end of the headers.
    headers_end: usize,
    /// Where the last section ends in memory.
    memory_end: u64,
    dll_characteristics: u16,
}

impl Stub {
    fn parse(stub: &[u8]) -> Result<Self, UkiError> {
        let file = PeFile64::parse(stub).map_err(UkiError::NotPe)?;
        if file
            .data_directory(SECURITY_DIRECTORY)
            .is_some_and(|one| one.virtual_address.get(LE) != 0)
        {
            return Err(UkiError::Signed);
        }
        let optional = file.nt_headers().optional_header();
        let headers = file.section_table();
        let first_data = headers
            .iter()
            .map(|section| section.pointer_to_raw_data.get(LE))
            .filter(|&pointer| pointer != 0)
            .min();
        let size_of_headers = optional.size_of_headers();
        let headers_end = first_data.unwrap_or(size_of_headers).min(size_of_headers) as usize;
        let end = |section: &object::pe::ImageSectionHeader| {
            u64::from(section.virtual_address.get(LE)) + u64::from(section.virtual_size.get(LE))
        };
        let file_header = file.nt_headers().file_header();
        let headers_at = file.dos_header().nt_headers_offset() as usize;
        let optional_bytes = usize::from(file_header.size_of_optional_header.get(LE));
        let table_at = headers_at + OPTIONAL_HEADER_AT + optional_bytes;
        let (section_alignment, file_alignment) =
            (u64::from(optional.section_alignment()), u64::from(optional.file_alignment()));
        let parsed = Self {
            headers_at,
            table_end: table_at + headers.len() * SECTION_HEADER_BYTES,
            section_alignment,
            file_alignment,
            section_count: file_header.number_of_sections.get(LE),
            initialized_bytes: u64::from(optional.size_of_initialized_data()),
            headers_end,
            memory_end: headers.iter().map(end).max().unwrap_or(u64::from(size_of_headers)),
            dll_characteristics: optional.dll_characteristics().0,
        };
        let sane = section_alignment.is_power_of_two()
            && file_alignment.is_power_of_two()
            && headers_end <= stub.len()
            && parsed.table_end <= headers_end;
        if sane { Ok(parsed) } else { Err(UkiError::BadStub) }
    }
}

/// `stub` with `sections` added in their order.
pub fn assemble(stub: &[u8], sections: &[Section<'_>]) -> Result<Vec<u8>, UkiError> {
    let parsed = Stub::parse(stub)?;
    for (index, section) in sections.iter().enumerate() {
        check_name(section.name)?;
        let is_again = |other: &Section<'_>| other.name == section.name;
        if sections[..index].iter().any(is_again) || read_section(stub, section.name)?.is_some() {
            return Err(UkiError::Twice(section.name.to_owned()));
        }
    }
    let added: usize = sections.iter().map(|section| section.data.len()).sum();
    let mut image = Vec::with_capacity(stub.len() + added + sections.len() * 4096);
    image.extend_from_slice(stub);
    let mut header_at = parsed.table_end;
    let mut memory_end = parsed.memory_end;
    let mut initialized_bytes = parsed.initialized_bytes;
    for section in sections {
        if header_at + SECTION_HEADER_BYTES > parsed.headers_end {
            return Err(UkiError::NoHeaderRoom(section.name.to_owned()));
        }
        pad(&mut image, parsed.file_alignment);
        let file_start = image.len() as u64;
        let address = memory_end.next_multiple_of(parsed.section_alignment);
        image.extend_from_slice(section.data);
        pad(&mut image, parsed.file_alignment);
        let raw_bytes = image.len() as u64 - file_start;
        let header = encode_header(section, address, file_start, raw_bytes)?;
        put(&mut image, header_at, &header);
        header_at += SECTION_HEADER_BYTES;
        memory_end = address + section.data.len() as u64;
        initialized_bytes += section.data.len() as u64;
    }
    let size_of_image = memory_end.next_multiple_of(parsed.section_alignment);
    let section_count = parsed.section_count + sections.len() as u16;
    let optional_at = parsed.headers_at + OPTIONAL_HEADER_AT;
    put(&mut image, parsed.headers_at + SECTION_COUNT_AT, &section_count.to_le_bytes());
    put(&mut image, optional_at + SIZE_OF_INITIALIZED_DATA_AT, &to_u32(initialized_bytes)?);
    put(&mut image, optional_at + SIZE_OF_IMAGE_AT, &to_u32(size_of_image)?);
    put(&mut image, optional_at + CHECKSUM_AT, &[0; 4]);
    if sections.iter().any(|section| section.name == LINUX && lacks_nx(section.data)) {
        let without = parsed.dll_characteristics & !IMAGE_DLLCHARACTERISTICS_NX_COMPAT.0;
        put(&mut image, optional_at + DLL_CHARACTERISTICS_AT, &without.to_le_bytes());
    }
    Ok(image)
}

fn check_name(name: &str) -> Result<(), UkiError> {
    let is_good = (1..=SECTION_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic());
    if is_good { Ok(()) } else { Err(UkiError::BadName(name.to_owned())) }
}

/// Firmware that enforces "no execute" must not do so for a kernel that can't stand it, and both
/// programs have to say the same.
fn lacks_nx(kernel: &[u8]) -> bool {
    PeFile64::parse(kernel).is_ok_and(|file| {
        let flags = file.nt_headers().optional_header().dll_characteristics().0;
        flags & IMAGE_DLLCHARACTERISTICS_NX_COMPAT.0 == 0
    })
}

fn encode_header(
    section: &Section<'_>,
    address: u64,
    file_start: u64,
    raw_bytes: u64,
) -> Result<[u8; SECTION_HEADER_BYTES], UkiError> {
    let content =
        if section.name == LINUX { IMAGE_SCN_CNT_CODE } else { IMAGE_SCN_CNT_INITIALIZED_DATA };
    let flags = content.0 | IMAGE_SCN_MEM_READ.0;
    let mut header = [0; SECTION_HEADER_BYTES];
    put(&mut header, 0, section.name.as_bytes());
    put(&mut header, 8, &to_u32(section.data.len() as u64)?);
    put(&mut header, 12, &to_u32(address)?);
    put(&mut header, 16, &to_u32(raw_bytes)?);
    put(&mut header, 20, &to_u32(file_start)?);
    put(&mut header, 36, &flags.to_le_bytes());
    Ok(header)
}

fn to_u32(number: u64) -> Result<[u8; 4], UkiError> {
    u32::try_from(number).map(u32::to_le_bytes).map_err(|_| UkiError::TooLarge)
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

fn pad(image: &mut Vec<u8>, alignment: u64) {
    let length = (image.len() as u64).next_multiple_of(alignment);
    image.resize(length as usize, 0);
}

/// The data of a section, without its padding; none if there is no such section.
pub fn read_section<'a>(image: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, UkiError> {
    let file = PeFile64::parse(image).map_err(UkiError::NotPe)?;
    let table = file.section_table();
    let Some(header) = table.iter().find(|header| header.raw_name() == name.as_bytes()) else {
        return Ok(None);
    };
    let length = header.virtual_size.get(LE).min(header.size_of_raw_data.get(LE)) as usize;
    let start = header.pointer_to_raw_data.get(LE) as usize;
    let data = image.get(start..).and_then(|rest| rest.get(..length));
    data.map(Some).ok_or(UkiError::BadStub)
}

/// The names of all sections in their order.
pub fn section_names(image: &[u8]) -> Result<Vec<String>, UkiError> {
    let file = PeFile64::parse(image).map_err(UkiError::NotPe)?;
    let name = |header: &object::pe::ImageSectionHeader| {
        String::from_utf8_lossy(header.raw_name()).into_owned()
    };
    Ok(file.section_table().iter().map(name).collect())
}
