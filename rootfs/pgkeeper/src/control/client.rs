//! One client of the control socket: what it sent, what waits for it, and how long it may take.
//!
//! It works on anything that reads and writes without blocking, so that tests can be the client.

use std::io::{self, Read, Write};
use std::time::Duration;

use ::control::{Answer, Inbox, ProtocolError, Request};
use rustix::event::PollFlags;

/// Time for the whole request. Clients of ours send it at once.
pub(super) const REQUEST_LIMIT: Duration = Duration::from_secs(2);
/// Time for taking the whole answer, which a socket's buffer nearly always takes at once.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// What is read at once.
const READ_BYTES: usize = 512;

/// What came from a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing that is whole.
    Nothing,
    /// Its request; said once.
    Request(Request),
    /// Something that can't be understood.
    Broken(ProtocolError),
    /// It left.
    Gone,
}

/// A client.
#[derive(Debug)]
pub(super) struct Client<S> {
    stream: S,
    inbox: Inbox,
    /// None while its request isn't whole.
    answer: Option<Vec<u8>>,
    /// So many bytes of the answer are written.
    written: usize,
    deadline: Duration,
}

impl<S: Read + Write> Client<S> {
    pub(super) fn new(stream: S, now: Duration) -> Self {
        let deadline = now.saturating_add(REQUEST_LIMIT);
        Self { stream, inbox: Inbox::new(), answer: None, written: 0, deadline }
    }

    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// Which readiness is of interest. That the other side hung up is told in any case.
    pub(super) fn interest(&self) -> PollFlags {
        // What comes after the request is never read: it can't make us do anything.
        if self.answer.is_none() { PollFlags::IN } else { PollFlags::OUT }
    }

    /// When it is too slow.
    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Reads once.
    pub(super) fn read(&mut self) -> Heard {
        if self.answer.is_some() {
            return Heard::Nothing;
        }
        let mut piece = [0; READ_BYTES];
        match self.stream.read(&mut piece) {
            Ok(0) => Heard::Gone,
            Ok(count) => match self.inbox.push(piece.get(..count).unwrap_or_default()) {
                Ok(None) => Heard::Nothing,
                Ok(Some(request)) => Heard::Request(request),
                Err(error) => Heard::Broken(error),
            },
            Err(error) if is_transient(&error) => Heard::Nothing,
            Err(_) => Heard::Gone,
        }
    }

    /// This is the answer, and nothing follows.
    pub(super) fn finish(&mut self, answer: &Answer, now: Duration) {
        self.answer = Some(answer.to_line());
        self.deadline = now.saturating_add(ANSWER_LIMIT);
    }

    /// Writes once, as much as is taken; says whether the client stays, for it has not got all.
    pub(super) fn write(&mut self, now: Duration) -> bool {
        let Some(answer) = &self.answer else { return true };
        let rest = answer.get(self.written..).unwrap_or_default();
        match self.stream.write(rest) {
            Ok(count) => self.written = self.written.saturating_add(count),
            Err(error) if is_transient(&error) => {}
            Err(_) => return false,
        }
        self.written < answer.len() && now < self.deadline
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
