//! Messages of PostgreSQL's protocol, version 3: as much of it as simple statements need. Pure.

use std::fmt;

/// No server sends a row or a message of more.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 << 20;
const PROTOCOL: u32 = 3 << 16;
const TLS_REQUEST: u32 = 80_877_103;

/// Asks whether the server speaks TLS.
pub(super) fn tls_request() -> Vec<u8> {
    [8_u32.to_be_bytes(), TLS_REQUEST.to_be_bytes()].concat()
}

/// Who logs in.
pub(super) fn startup(role: &str, database: &str) -> Vec<u8> {
    let mut body = PROTOCOL.to_be_bytes().to_vec();
    for text in ["user", role, "database", database, "application_name", "ledger"] {
        body.extend(text.bytes().filter(|byte| *byte != 0));
        body.push(0);
    }
    body.push(0);
    [&length(body.len()), &body[..]].concat()
}

/// A statement, by the simple protocol.
pub(super) fn query(statement: &str) -> Vec<u8> {
    let mut body: Vec<u8> = statement.bytes().filter(|byte| *byte != 0).collect();
    body.push(0);
    [b"Q", &length(body.len())[..], &body].concat()
}

/// A message's length counts itself.
fn length(body: usize) -> [u8; 4] {
    u32::try_from(body + 4).unwrap_or(u32::MAX).to_be_bytes()
}

/// An error or a warning of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    severity: String,
    code: String,
    message: String,
}

/// Errors after which even a plain `ERROR` leaves it open whether something was committed: lost
/// connections, "completion unknown", a server that goes down, a system or internal error.
const UNCERTAIN: [&str; 5] = ["08", "40003", "57P", "58", "XX"];

impl Refusal {
    /// Reads the fields of an `ErrorResponse` or a `NoticeResponse`.
    pub(super) fn parse(body: &[u8]) -> Self {
        let mut refusal = Self::default();
        for field in body.split(|byte| *byte == 0) {
            let Some((kind, text)) = field.split_first() else { break };
            let text = String::from_utf8_lossy(text).into_owned();
            match kind {
                // The severity as it is in every language; before version 9.6 only as `S`.
                b'V' => refusal.severity = text,
                b'S' if refusal.severity.is_empty() => refusal.severity = text,
                b'C' => refusal.code = text,
                b'M' => refusal.message = text,
                _ => {}
            }
        }
        refusal
    }

    /// Whether the statement certainly had no effect.
    pub(super) fn is_certain(&self) -> bool {
        self.severity == "ERROR" && !UNCERTAIN.iter().any(|code| self.code.starts_with(code))
    }

    /// Whether it is worth a note: the server says more than how it sets things up.
    pub(super) fn is_warning(&self) -> bool {
        self.severity == "WARNING"
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}: {}", self.severity, self.code, self.message)
    }
}

/// The columns of a `DataRow`, as texts; none if it is malformed.
pub(super) fn columns(body: &[u8]) -> Option<Vec<Option<String>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut columns = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        let length = i32::from_be_bytes(*length);
        let Ok(length) = usize::try_from(length) else {
            // −1 stands for NULL.
            columns.push(None);
            continue;
        };
        let (text, after) = rest.split_at_checked(length)?;
        columns.push(Some(String::from_utf8_lossy(text).into_owned()));
        rest = after;
    }
    rest.is_empty().then_some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(severity: &str, code: &str) -> Refusal {
        let body = format!("S{severity}\0V{severity}\0C{code}\0Mwhy\0\0");
        Refusal::parse(body.as_bytes())
    }

    #[test]
    fn only_an_error_to_the_statement_is_certain() {
        assert!(refusal("ERROR", "25006").is_certain(), "read only");
        assert!(refusal("ERROR", "42P01").is_certain(), "no such table");
        assert!(!refusal("FATAL", "57P01").is_certain(), "the server goes down");
        assert!(!refusal("FATAL", "25006").is_certain());
        assert!(!refusal("ERROR", "40003").is_certain(), "completion unknown");
        assert!(!refusal("PANIC", "XX000").is_certain());
        assert_eq!(refusal("ERROR", "25006").to_string(), "ERROR 25006: why");
    }

    #[test]
    fn rows_are_read_and_broken_ones_refused() {
        let row = b"\0\x02\0\0\0\x0217\xff\xff\xff\xff";
        assert_eq!(columns(row), Some(vec![Some("17".to_owned()), None]));
        assert_eq!(columns(&row[..7]), None);
        assert_eq!(columns(b""), None);
    }

    #[test]
    fn a_statement_is_framed() {
        assert_eq!(query("x"), b"Q\0\0\0\x06x\0");
        assert_eq!(startup("a", "b")[..8], [0, 0, 0, 51, 0, 3, 0, 0]);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_readers(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _columns = columns(&bytes);
            let _refusal = Refusal::parse(&bytes);
        }
    }
}
