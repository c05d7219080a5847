//! Bytes become a request: the reading half of a non-blocking server.
//!
//! ```text
//!             push: no end of line yet
//!                 ┌──────┐
//!                 │      v
//!   new() ──> [ Reading ] ── push: a whole, good line, nothing after it ──> [ Asked ]
//!                 │                                                             │
//!                 └── push: too long, not understood, bytes after it ──> [ Broken ] <── push ──┘
//! ```
//!
//! One connection has one inbox. Its buffer is allocated once and never grows, whatever arrives;
//! PID 1 is the reader, and a client must not be able to take its memory.

use crate::MAX_REQUEST_BYTES;
use crate::error::ProtocolError;
use crate::request::Request;

/// Collects the one request of a connection.
#[derive(Debug)]
pub struct Inbox {
    buffer: Vec<u8>,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Reading,
    Asked,
    Broken(ProtocolError),
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Inbox {
    /// An empty inbox; this allocates all that it will ever need.
    pub fn new() -> Self {
        Self { buffer: Vec::with_capacity(MAX_REQUEST_BYTES), state: State::Reading }
    }

    /// Takes bytes as they came. `Some` is said once, when the request is whole; an error is final,
    /// and every later push repeats it.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Request>, ProtocolError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        match &self.state {
            State::Reading => {}
            State::Asked => return self.broken(ProtocolError::MoreThanOne),
            State::Broken(error) => return Err(error.clone()),
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (line, rest) = match end {
            Some(at) => (bytes.get(..at), bytes.get(at + 1..)),
            None => (Some(bytes), None),
        };
        let line = line.unwrap_or_default();
        if line.len() > MAX_REQUEST_BYTES - self.buffer.len() {
            return self.broken(ProtocolError::RequestTooLong);
        }
        self.buffer.extend_from_slice(line);
        if end.is_none() {
            return Ok(None);
        }
        match Request::parse(&self.buffer) {
            Ok(_) if rest.is_some_and(|rest| !rest.is_empty()) => {
                self.broken(ProtocolError::MoreThanOne)
            }
            Ok(request) => {
                self.state = State::Asked;
                self.buffer.clear();
                Ok(Some(request))
            }
            Err(error) => self.broken(error),
        }
    }

    /// How many bytes it holds on to.
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    fn broken(&mut self, error: ProtocolError) -> Result<Option<Request>, ProtocolError> {
        self.buffer.clear();
        self.state = State::Broken(error.clone());
        Err(error)
    }
}
