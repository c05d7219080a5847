//! What the gate says to those it doesn't let in: PostgreSQL's own `ErrorResponse`, with a code
//! that drivers know. Pure.
//!
//! "The gate is closed" is `cannot_connect_now`, what a starting PostgreSQL says, so pools and
//! drivers with a list of hosts try again or elsewhere. What no retry mends has another code.

use super::startup::StartupError;

/// Longest text within an error; names in it come from strangers.
const MAX_TEXT_BYTES: usize = 300;

/// Why somebody isn't let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Plain text.
    #[error("this database is reached by TLS with a client certificate only")]
    NoTls,
    /// TLS from the first byte, without naming the protocol.
    #[error("direct TLS connections need the ALPN protocol \"postgresql\"")]
    NoAlpn,
    /// A packet where none of its kind may be.
    #[error("unexpected request for encryption")]
    Unexpected,
    /// A packet that is none.
    #[error("{0}")]
    Malformed(#[from] StartupError),
    /// The certificate has no name or several.
    #[error("the client certificate has no single common name")]
    NoName,
    /// The certificate's name may not use the role.
    #[error("the certificate of \"{client}\" may not log in as role \"{role}\"")]
    Role {
        /// The certificate's common name.
        client: String,
        /// What it asked for.
        role: String,
    },
    /// Another database than the one that there is.
    #[error("role \"{role}\" may not use database \"{database}\"")]
    Database {
        /// The role.
        role: String,
        /// What it asked for.
        database: String,
    },
    /// A standby at the clients' door.
    #[error("replication connections are not accepted here")]
    Replication,
    /// This node doesn't serve.
    #[error("the database system is not accepting connections on this node")]
    Closed,
    /// All places are taken.
    #[error("sorry, too many clients already")]
    Full,
    /// PostgreSQL behind the gate isn't there.
    #[error("the database system is starting up")]
    NoBackend,
}

impl Refusal {
    /// The SQLSTATE.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoTls | Self::NoName | Self::Role { .. } | Self::Replication => "28000",
            Self::Database { .. } => "42501",
            Self::NoAlpn | Self::Unexpected | Self::Malformed(_) => match self {
                Self::Malformed(StartupError::NoUser) => "28000",
                Self::Malformed(StartupError::Version { .. }) => "0A000",
                _ => "08P01",
            },
            Self::Closed | Self::NoBackend => "57P03",
            Self::Full => "53300",
        }
    }

    /// What the reader may do about it.
    const fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoTls => "Set sslmode=verify-full, sslcert, sslkey and sslrootcert.",
            Self::Role { .. } => "Add the name to database.users.clients in the seed.",
            Self::Database { .. } => "The database's name is database.name in the seed.",
            Self::Closed => "The other node may serve, or soon will: try again.",
            Self::NoBackend => "Try again.",
            _ => return None,
        })
    }

    /// The message as it goes to the client.
    pub fn message(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let mut field = |kind: u8, text: &str| {
            let end = text.floor_char_boundary(MAX_TEXT_BYTES.min(text.len()));
            body.push(kind);
            body.extend(text.bytes().take(end).filter(|byte| *byte != 0));
            body.push(0);
        };
        field(b'S', "FATAL");
        field(b'V', "FATAL");
        field(b'C', self.code());
        field(b'M', &self.to_string());
        if let Some(hint) = self.hint() {
            field(b'H', hint);
        }
        body.push(0);
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).saturating_add(4);
        [&b"E"[..], &length.to_be_bytes(), &body].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_says_what_drivers_retry() {
        let message = Refusal::Closed.message();
        assert_eq!(message[0], b'E');
        let length = u32::from_be_bytes(message[1..5].try_into().unwrap());
        assert_eq!(usize::try_from(length).unwrap() + 1, message.len());
        let fields: Vec<&[u8]> = message[5..].split(|byte| *byte == 0).collect();
        assert_eq!(fields[2], b"C57P03");
        assert!(fields[3].starts_with(b"Mthe database system is not accepting"));
        assert!(message.ends_with(&[0, 0]));
    }

    #[test]
    fn names_of_strangers_can_not_break_the_message() {
        let (client, role) = ("x\0Cforged".to_owned(), "\u{e9}".repeat(5000));
        let message = Refusal::Role { client, role }.message();
        assert!(message.len() < 600);
        let fields = message[5..].split(|byte| *byte == 0).count();
        assert_eq!(fields, 7, "five fields, the end, and nothing behind it");
    }
}
