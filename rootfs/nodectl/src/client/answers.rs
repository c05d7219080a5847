//! The lines of an answer as they come, each of bounded length.

use std::io::{self, Cursor, Read};
use std::os::unix::net::UnixStream;

use control::{Answer, MAX_ANSWER_BYTES, ProtocolError};
use rustls::{ClientConnection, StreamOwned};

use super::LATE;
use super::error::ClientError;
use crate::timed::Timed;

/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;

/// A connection on which a request was sent.
#[derive(Debug)]
pub(super) enum Connection {
    Local(UnixStream),
    /// Lines that are there already.
    Ready(Cursor<Vec<u8>>),
    /// With the fingerprint of our certificate, for messages.
    Remote(Box<StreamOwned<ClientConnection, Timed>>, String),
}

/// What a node answers, line by line.
#[derive(Debug)]
pub struct Answers {
    connection: Connection,
    node: String,
    buffer: Vec<u8>,
    /// So many bytes at the front of the buffer were given out.
    taken: usize,
    heard: bool,
    over: bool,
}

impl Answers {
    pub(super) fn new(connection: Connection, node: String) -> Self {
        Self { connection, node, buffer: Vec::new(), taken: 0, heard: false, over: false }
    }

    /// The next line; none after the last one. A refusal is an error.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator of results invites ignoring them"
    )]
    pub fn next(&mut self) -> Result<Option<Answer>, ClientError> {
        if self.over {
            return Ok(None);
        }
        let line = self.line()?;
        let answer = Answer::parse(&line).map_err(|source| self.protocol(source))?;
        self.heard = true;
        self.over = answer.is_last();
        match answer {
            Answer::Refused(refusal) => {
                Err(ClientError::Refused { node: self.node.clone(), refusal })
            }
            Answer::End => Ok(None),
            answer => Ok(Some(answer)),
        }
    }

    fn line(&mut self) -> Result<Vec<u8>, ClientError> {
        loop {
            let fresh = self.buffer.get(self.taken..).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|byte| *byte == b'\n') {
                let line = fresh.get(..end).unwrap_or_default().to_vec();
                self.taken += end + 1;
                return Ok(line);
            }
            if fresh.len() > MAX_ANSWER_BYTES {
                return Err(self.protocol(ProtocolError::AnswerTooLong));
            }
            self.buffer.drain(..self.taken);
            self.taken = 0;
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<(), ClientError> {
        let mut piece = [0; READ_BYTES];
        let read = match &mut self.connection {
            Connection::Local(stream) => stream.read(&mut piece),
            Connection::Ready(lines) => lines.read(&mut piece),
            Connection::Remote(stream, _) => stream.read(&mut piece),
        };
        match read {
            Ok(0) => Err(self.cut_off("it was closed")),
            Ok(count) => {
                self.buffer.extend_from_slice(piece.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(self.sort(error)),
        }
    }

    /// Before the first answer an error tells about certificates; after it, about the connection.
    fn sort(&self, error: io::Error) -> ClientError {
        match (&self.connection, error.kind()) {
            (_, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => self.cut_off(LATE),
            (Connection::Remote(_, fingerprint), _) if !self.heard => {
                ClientError::of_tls(&self.node, fingerprint, error)
            }
            _ => self.cut_off(&error.to_string()),
        }
    }

    fn cut_off(&self, why: &str) -> ClientError {
        ClientError::CutOff { node: self.node.clone(), why: why.to_owned() }
    }

    fn protocol(&self, source: ProtocolError) -> ClientError {
        ClientError::Protocol { node: self.node.clone(), source }
    }
}
