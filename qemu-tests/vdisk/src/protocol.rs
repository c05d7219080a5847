//! The words of NBD, as far as QEMU's client uses them: fixed newstyle handshake, simple replies.
//!
//! Numbers are sent with the most significant byte first. The export has no name; whatever name a
//! client asks for is this disk.

use std::io::{self, Read, Write};

const GREETING: u64 = 0x4e42_444d_4147_4943;
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;

const HANDSHAKE_FIXED_NEWSTYLE: u16 = 1;
const HANDSHAKE_NO_ZEROES: u16 = 2;

const OPTION_EXPORT_NAME: u32 = 1;
const OPTION_ABORT: u32 = 2;
const OPTION_INFO: u32 = 6;
const OPTION_GO: u32 = 7;

const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const REPLY_UNSUPPORTED: u32 = 0x8000_0001;

const INFO_EXPORT: u16 = 0;
const INFO_BLOCK_SIZE: u16 = 3;

/// Has flags; takes flushes, durable writes, trims and writes of zeroes.
const TRANSMISSION_FLAGS: u16 = 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6;

/// An option's data; names have at most 4096 bytes.
const LONGEST_OPTION: u32 = 8192;
/// Data of one request; QEMU splits what is larger than the block size that we announce.
pub const LONGEST_REQUEST: u32 = 32 << 20;

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Read,
    Write,
    Disconnect,
    Flush,
    Trim,
    WriteZeroes,
}

/// One request; the data of a write follows it on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub command: Command,
    /// The write shall be durable before it is answered.
    pub durable: bool,
    pub handle: u64,
    pub offset: u64,
    pub length: u32,
}

/// How a request ended, in the numbers of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    InputOutput,
    Invalid,
    NoSpace,
}

impl Answer {
    fn number(self) -> u32 {
        match self {
            Self::Done => 0,
            Self::InputOutput => 5,
            Self::Invalid => 22,
            Self::NoSpace => 28,
        }
    }
}

/// Talks until the client wants the disk of `bytes`; false if it goes away before.
pub fn shake_hands(stream: &mut (impl Read + Write), bytes: u64) -> io::Result<bool> {
    stream.write_all(&GREETING.to_be_bytes())?;
    stream.write_all(&OPTION_MAGIC.to_be_bytes())?;
    stream.write_all(&(HANDSHAKE_FIXED_NEWSTYLE | HANDSHAKE_NO_ZEROES).to_be_bytes())?;
    let client_flags = u32::from_be_bytes(read(stream)?);
    let no_zeroes = client_flags & u32::from(HANDSHAKE_NO_ZEROES) != 0;
    loop {
        if u64::from_be_bytes(read(stream)?) != OPTION_MAGIC {
            return Err(nonsense("an option without its magic number"));
        }
        let option = u32::from_be_bytes(read(stream)?);
        let length = u32::from_be_bytes(read(stream)?);
        if length > LONGEST_OPTION {
            return Err(nonsense("an option of too many bytes"));
        }
        io::copy(&mut Read::by_ref(stream).take(length.into()), &mut io::sink())?;
        match option {
            OPTION_EXPORT_NAME => {
                stream.write_all(&bytes.to_be_bytes())?;
                stream.write_all(&TRANSMISSION_FLAGS.to_be_bytes())?;
                if !no_zeroes {
                    stream.write_all(&[0; 124])?;
                }
                return Ok(true);
            }
            OPTION_INFO | OPTION_GO => {
                describe(stream, option, bytes)?;
                if option == OPTION_GO {
                    return Ok(true);
                }
            }
            OPTION_ABORT => {
                reply(stream, option, REPLY_ACK, &[])?;
                return Ok(false);
            }
            _ => reply(stream, option, REPLY_UNSUPPORTED, &[])?,
        }
    }
}

fn describe(stream: &mut impl Write, option: u32, bytes: u64) -> io::Result<()> {
    let mut export = INFO_EXPORT.to_be_bytes().to_vec();
    export.extend(bytes.to_be_bytes());
    export.extend(TRANSMISSION_FLAGS.to_be_bytes());
    reply(stream, option, REPLY_INFO, &export)?;
    let mut sizes = INFO_BLOCK_SIZE.to_be_bytes().to_vec();
    // Smallest, best, largest.
    for size in [512, 4096, LONGEST_REQUEST] {
        sizes.extend(size.to_be_bytes());
    }
    reply(stream, option, REPLY_INFO, &sizes)?;
    reply(stream, option, REPLY_ACK, &[])
}

fn reply(stream: &mut impl Write, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
    let length = u32::try_from(data.len()).map_err(io::Error::other)?;
    let mut bytes = OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
    bytes.extend(option.to_be_bytes());
    bytes.extend(kind.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(data);
    stream.write_all(&bytes)
}

/// Reads the next request.
pub fn read_request(stream: &mut impl Read) -> io::Result<Request> {
    if u32::from_be_bytes(read(stream)?) != REQUEST_MAGIC {
        return Err(nonsense("a request without its magic number"));
    }
    let flags = u16::from_be_bytes(read(stream)?);
    let command = match u16::from_be_bytes(read(stream)?) {
        0 => Command::Read,
        1 => Command::Write,
        2 => Command::Disconnect,
        3 => Command::Flush,
        4 => Command::Trim,
        6 => Command::WriteZeroes,
        _ => return Err(nonsense("an unknown command")),
    };
    let handle = u64::from_be_bytes(read(stream)?);
    let offset = u64::from_be_bytes(read(stream)?);
    let length = u32::from_be_bytes(read(stream)?);
    if matches!(command, Command::Read | Command::Write) && length > LONGEST_REQUEST {
        return Err(nonsense("a request for too many bytes"));
    }
    Ok(Request { command, durable: flags & 1 != 0, handle, offset, length })
}

/// Answers a request; `data` is what a good read gives.
pub fn answer(
    stream: &mut impl Write,
    request: &Request,
    answer: Answer,
    data: &[u8],
) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(16 + data.len());
    bytes.extend(REPLY_MAGIC.to_be_bytes());
    bytes.extend(answer.number().to_be_bytes());
    bytes.extend(request.handle.to_be_bytes());
    bytes.extend(data);
    stream.write_all(&bytes)
}

fn read<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn nonsense(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
