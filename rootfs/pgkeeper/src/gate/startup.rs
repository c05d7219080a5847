//! The first bytes of a PostgreSQL connection, and what each of them leads to. Pure.
//!
//! A client may ask for encryption, be refused one kind of it, cancel a query of somebody, or log
//! in. Only a log-in within TLS leads anywhere. Cancel requests end here, whoever sends them: a
//! cancelled wait for the standby makes PostgreSQL report success for a commit that only this
//! machine has.
//!
//! ```text
//!  Fresh|NoGss     --SslRequest--> Tls
//!  Fresh           --DirectTls-->  Tls
//!  Fresh           --GssRequest--> NoGss
//!  Tls             --Startup-->    LogIn
//!  Fresh|NoGss     --Startup-->    Refused
//!  NoGss           --GssRequest--> Refused
//!  NoGss           --DirectTls-->  Refused
//!  Tls             --SslRequest|GssRequest|DirectTls--> Refused
//!  Fresh|NoGss|Tls --Cancel-->     Swallowed
//!  Fresh|NoGss|Tls --Malformed-->  Refused
//! ```
//!
//! A packet is taken off exactly; what follows a request for TLS is never looked at as plain text.

use std::collections::BTreeMap;

use thiserror::Error;

/// PostgreSQL's own limit for a start-up packet.
pub const MAX_PACKET_BYTES: usize = 10_000;
/// Length and code.
const HEADER_BYTES: usize = 8;
const CANCEL: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
/// The only major version of the protocol in use since 2003.
const MAJOR: u32 = 3;
/// The first byte of a TLS record that holds a handshake. A length as large can't be.
const TLS_HANDSHAKE: u8 = 0x16;

/// What is wrong with the first bytes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StartupError {
    /// The length can't be.
    #[error("invalid length of startup packet: {length}")]
    Length {
        /// What the packet says.
        length: u32,
    },
    /// A protocol that nobody speaks.
    #[error("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2")]
    Version {
        /// The part before the dot.
        major: u32,
        /// The part behind it.
        minor: u32,
    },
    /// Names and values aren't what the protocol says.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    Layout,
    /// A name without which nobody logs in.
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
    /// The same name twice: what we check must be what PostgreSQL reads.
    #[error("the startup packet gives \"{name}\" twice")]
    Twice {
        /// The name.
        name: String,
    },
}

/// Who wants to log in, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// The packet as it came, for handing on.
    pub packet: Vec<u8>,
    /// The role.
    pub user: String,
    /// The database; the role's name if the packet has none, as PostgreSQL does it.
    pub database: String,
    /// Whether the client wants to be a standby.
    pub replication: bool,
}

/// One packet of a connection's beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A TLS handshake without a request before it (`sslnegotiation=direct`). Takes off no byte.
    DirectTls,
    /// May we use TLS?
    SslRequest,
    /// May we use GSSAPI?
    GssRequest,
    /// Cancel what another session does.
    Cancel,
    /// Log in.
    Startup(Startup),
}

/// The first packet in `bytes` and its length; none if more bytes are needed.
pub fn first_packet(bytes: &[u8]) -> Result<Option<(Packet, usize)>, StartupError> {
    if bytes.first() == Some(&TLS_HANDSHAKE) {
        return Ok(Some((Packet::DirectTls, 0)));
    }
    let Some((length, rest)) = number(bytes) else { return Ok(None) };
    let whole = usize::try_from(length).unwrap_or(usize::MAX);
    if !(HEADER_BYTES..=MAX_PACKET_BYTES).contains(&whole) {
        return Err(StartupError::Length { length });
    }
    let (Some(packet), Some((code, _))) = (bytes.get(..whole), number(rest)) else {
        return Ok(None);
    };
    let body = packet.get(HEADER_BYTES..).unwrap_or_default();
    let kind = match code {
        SSL_REQUEST | GSS_REQUEST if !body.is_empty() => {
            return Err(StartupError::Length { length });
        }
        SSL_REQUEST => Packet::SslRequest,
        GSS_REQUEST => Packet::GssRequest,
        CANCEL => Packet::Cancel,
        version if version >> 16 == MAJOR => Packet::Startup(startup(packet, body)?),
        version => {
            let (major, minor) = (version >> 16, version & 0xffff);
            return Err(StartupError::Version { major, minor });
        }
    };
    Ok(Some((kind, whole)))
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*head), rest))
}

/// Reads names and values: each ended by a zero byte, all of them ended by one more.
fn startup(packet: &[u8], body: &[u8]) -> Result<Startup, StartupError> {
    let mut named = BTreeMap::new();
    let mut rest = body;
    loop {
        let (name, after) = text(rest)?;
        if name.is_empty() {
            if !after.is_empty() {
                return Err(StartupError::Layout);
            }
            break;
        }
        let (value, after) = text(after)?;
        if named.insert(name.clone(), value).is_some() {
            return Err(StartupError::Twice { name });
        }
        rest = after;
    }
    let user = named.remove("user").filter(|user| !user.is_empty());
    let user = user.ok_or(StartupError::NoUser)?;
    let database = named.remove("database").filter(|name| !name.is_empty());
    let replication = named.remove("replication").is_some_and(|value| !is_off(&value));
    let database = database.unwrap_or_else(|| user.clone());
    Ok(Startup { packet: packet.to_vec(), user, database, replication })
}

fn text(bytes: &[u8]) -> Result<(String, &[u8]), StartupError> {
    let end = bytes.iter().position(|byte| *byte == 0).ok_or(StartupError::Layout)?;
    let (text, rest) = bytes.split_at_checked(end).ok_or(StartupError::Layout)?;
    let text = std::str::from_utf8(text).map_err(|_| StartupError::Layout)?;
    Ok((text.to_owned(), rest.get(1..).unwrap_or_default()))
}

/// The whole words that PostgreSQL takes for "no"; anything else may be a wish to replicate.
fn is_off(value: &str) -> bool {
    ["false", "off", "no", "0"].contains(&value.to_ascii_lowercase().as_str())
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Nothing was said.
    Fresh,
    /// GSSAPI was declined.
    NoGss,
    /// Within TLS, with a certificate of the cluster.
    Tls,
}

/// What a packet is, for the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Packet::DirectTls`]
    DirectTls,
    /// [`Packet::SslRequest`]
    SslRequest,
    /// [`Packet::GssRequest`]
    GssRequest,
    /// [`Packet::Cancel`]
    Cancel,
    /// [`Packet::Startup`]
    Startup,
    /// No packet.
    Malformed,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The TLS handshake; after an `S` if it was asked for.
    Tls,
    /// `N`, and the client may say something else.
    NoGss,
    /// The role and database are looked at.
    LogIn,
    /// An error, and the end.
    Refused,
    /// The end, without a word.
    Swallowed,
}

impl Packet {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::DirectTls => Kind::DirectTls,
            Self::SslRequest => Kind::SslRequest,
            Self::GssRequest => Kind::GssRequest,
            Self::Cancel => Kind::Cancel,
            Self::Startup(_) => Kind::Startup,
        }
    }
}

/// The table of the drawing above.
pub const fn next(door: Door, kind: Kind) -> Next {
    match (door, kind) {
        (_, Kind::Cancel) => Next::Swallowed,
        (Door::Fresh | Door::NoGss, Kind::SslRequest) | (Door::Fresh, Kind::DirectTls) => Next::Tls,
        (Door::Fresh, Kind::GssRequest) => Next::NoGss,
        (Door::Tls, Kind::Startup) => Next::LogIn,
        (Door::Fresh | Door::NoGss, Kind::Startup)
        | (Door::NoGss, Kind::GssRequest | Kind::DirectTls)
        | (Door::Tls, Kind::SslRequest | Kind::GssRequest | Kind::DirectTls)
        | (_, Kind::Malformed) => Next::Refused,
    }
}

#[cfg(test)]
mod tests;
