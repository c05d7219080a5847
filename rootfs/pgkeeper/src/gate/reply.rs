//! What PostgreSQL says between the log-in and its first `ReadyForQuery`. Pure.
//!
//! Two things in it are the gate's business. The key with which this session's queries could be
//! cancelled is overwritten, so nobody outside ever has one. And an authentication request other
//! than "it is well" means that `pg_hba.conf` doesn't trust the gate, which no client can mend.
//!
//! ```text
//!   bytes --watch--> the same bytes, key blanked          until ReadyForQuery, then never again
//! ```
//!
//! Messages may arrive cut anywhere, so this is a scanner that keeps a place, not a buffer.

/// What the key is overwritten with; the process number before it stays, for logs.
const BLANK: u8 = 0;
const PROCESS_NUMBER_BYTES: u32 = 4;
/// Longest message before the first `ReadyForQuery`: errors and settings are far shorter.
const MAX_MESSAGE_BYTES: u32 = 1 << 20;

/// What PostgreSQL said that ends the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// It wants a password or the like.
    #[error(
        "PostgreSQL asks the gate for authentication method {0}: write pg_hba.conf and \
         pg_ident.conf as gate::hba makes them"
    )]
    Authentication(u32),
    /// It isn't PostgreSQL.
    #[error("what is behind the gate says {kind:#04x} with {length} bytes; it is no PostgreSQL 17")]
    Strange {
        /// The message's kind.
        kind: u8,
        /// Its length.
        length: u32,
    },
}

/// The place within PostgreSQL's first messages.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    header: [u8; 5],
    header_bytes: usize,
    /// How much of the body was seen and is to come.
    seen: u32,
    left: u32,
    /// The authentication method, as far as it was read.
    method: u32,
    ready: bool,
}

impl Reply {
    /// Whether the session is ready, so that nothing needs to be watched any more.
    pub const fn is_ready(&self) -> bool {
        self.ready
    }

    /// Looks at bytes on their way to the client, and blanks the key in them.
    pub fn watch(&mut self, bytes: &mut [u8]) -> Result<(), ReplyError> {
        for byte in bytes {
            if self.ready {
                return Ok(());
            }
            match self.header.get_mut(self.header_bytes) {
                Some(place) => {
                    *place = *byte;
                    self.header_bytes += 1;
                    if self.header_bytes == self.header.len() {
                        self.begin()?;
                    }
                }
                None => self.body(byte),
            }
            if self.header_bytes == self.header.len() && self.left == 0 {
                self.end()?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), ReplyError> {
        let [kind, a, b, c, d] = self.header;
        let length = u32::from_be_bytes([a, b, c, d]);
        if !(4..=MAX_MESSAGE_BYTES).contains(&length) || !b"RKSZENAv".contains(&kind) {
            return Err(ReplyError::Strange { kind, length });
        }
        self.left = length - 4;
        Ok(())
    }

    fn body(&mut self, byte: &mut u8) {
        match self.header {
            [b'K', ..] if self.seen >= PROCESS_NUMBER_BYTES => *byte = BLANK,
            [b'R', ..] if self.seen < 4 => self.method = (self.method << 8) | u32::from(*byte),
            _ => {}
        }
        self.seen = self.seen.saturating_add(1);
        self.left = self.left.saturating_sub(1);
    }

    fn end(&mut self) -> Result<(), ReplyError> {
        let [kind, ..] = self.header;
        if kind == b'R' && self.method != 0 {
            return Err(ReplyError::Authentication(self.method));
        }
        *self = Self { ready: kind == b'Z', ..Self::default() };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("short");
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    fn greeting(key: &[u8]) -> Vec<u8> {
        let process = [&77_u32.to_be_bytes()[..], key].concat();
        [
            message(b'R', &[0; 4]),
            message(b'S', b"server_version\x0017\0"),
            message(b'K', &process),
            message(b'Z', b"I"),
        ]
        .concat()
    }

    #[test]
    fn another_authentication_is_an_error() {
        let mut asked = message(b'R', &[0, 0, 0, 10, b'S', 0, 0]);
        let refused = Reply::default().watch(&mut asked);
        assert_eq!(refused, Err(ReplyError::Authentication(10)));
    }

    #[test]
    fn what_is_no_postgresql_is_noticed() {
        let mut strange = *b"SSH-2.0-";
        assert!(matches!(
            Reply::default().watch(&mut strange),
            Err(ReplyError::Strange { kind: b'S', .. })
        ));
        let mut strange = *b"HTTP/1.1 400";
        assert!(Reply::default().watch(&mut strange).is_err());
    }

    proptest! {
        #[test]
        fn the_key_is_blank_however_the_bytes_are_cut(
            secret in prop::collection::vec(1_u8.., 4..=32),
            cuts in prop::collection::vec(1_usize..9, 1..80),
            after in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut bytes = [greeting(&secret), after.clone()].concat();
            let expected = [greeting(&vec![0; secret.len()]), after].concat();
            let mut reply = Reply::default();
            let (mut rest, mut cuts) = (&mut bytes[..], cuts.into_iter().cycle());
            while !rest.is_empty() {
                let at = cuts.next().unwrap_or(1).min(rest.len());
                let (head, tail) = rest.split_at_mut(at);
                reply.watch(head).unwrap();
                rest = tail;
            }
            prop_assert!(reply.is_ready());
            prop_assert_eq!(bytes, expected);
        }

        #[test]
        fn no_input_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _any = Reply::default().watch(&mut bytes);
        }
    }
}
