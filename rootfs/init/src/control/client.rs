//! One client of the control socket: what it sent, what waits for it, and how long it may take.
//!
//! It works on anything that reads and writes without blocking, so that tests can be the network.

use std::io::{self, Read, Write};
use std::time::Duration;

use ::control::{Answer, Inbox, ProtocolError, Request};
use logs::Journal;
use rustix::event::PollFlags;

use super::log_reader::{Filled, LogReader};

/// Time for the whole request. Clients of ours send it at once.
pub(super) const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// Time without a single byte taken while something waits.
pub(super) const STALL_LIMIT: Duration = Duration::from_secs(10);
/// What is read at once.
const READ_BYTES: usize = 512;
/// A follower gets more lines only when less than this waits for it.
const FOLLOW_ROOM: usize = 32 * 1024;
/// An emptied buffer larger than this is given back.
const KEEP_BYTES: usize = 64 * 1024;

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

/// Whether a client is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Here,
    Gone,
}

impl Presence {
    pub(super) fn is_gone(self) -> bool {
        self == Self::Gone
    }
}

#[derive(Debug)]
enum State {
    /// Its request isn't whole.
    Reading,
    /// It gets log lines, as they come.
    Following(LogReader),
    /// It is closed when all is written.
    Finishing,
}

/// A client.
#[derive(Debug)]
pub(super) struct Client<S> {
    stream: S,
    inbox: Inbox,
    state: State,
    waiting: Vec<u8>,
    /// So many bytes at the front of `waiting` are written.
    written: usize,
    /// Whether there are more log lines than it had room for.
    behind: bool,
    deadline: Option<Duration>,
}

impl<S: Read + Write> Client<S> {
    pub(super) fn new(stream: S, now: Duration) -> Self {
        Self {
            stream,
            inbox: Inbox::new(),
            state: State::Reading,
            waiting: Vec::new(),
            written: 0,
            behind: false,
            deadline: Some(now.saturating_add(REQUEST_LIMIT)),
        }
    }

    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// Which readiness is of interest. That the other side hung up is told in any case.
    pub(super) fn interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        // What comes after the request is never read: it can't make us do anything.
        if matches!(self.state, State::Reading) {
            flags |= PollFlags::IN;
        }
        // Whoever took everything and is behind all the same gets the next portion at once.
        if self.waiting() > 0 || self.behind {
            flags |= PollFlags::OUT;
        }
        flags
    }

    /// Bytes that wait to be taken.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len().saturating_sub(self.written)
    }

    /// When it will be too slow.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    pub(super) fn is_late(&self, now: Duration) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Reads once.
    pub(super) fn read(&mut self) -> Heard {
        if !matches!(self.state, State::Reading) {
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
        self.waiting.extend_from_slice(&answer.to_line());
        self.state = State::Finishing;
        self.deadline = Some(now.saturating_add(STALL_LIMIT));
    }

    /// The answer is log lines.
    pub(super) fn begin_following(&mut self, reader: LogReader, now: Duration) {
        self.state = State::Following(reader);
        self.deadline = Some(now.saturating_add(STALL_LIMIT));
    }

    /// Takes new lines, if there is room for them.
    pub(super) fn follow(&mut self, journal: &Journal, now: Duration, unix_ms: u64) {
        let waiting = self.waiting();
        let State::Following(reader) = &mut self.state else { return };
        if waiting >= FOLLOW_ROOM {
            return;
        }
        let filled = reader.fill(journal, now, unix_ms, &mut self.waiting, FOLLOW_ROOM);
        self.behind = filled == Filled::Full;
        if filled == Filled::Ended {
            self.state = State::Finishing;
        }
        // The time to take the first byte counts from when there was one.
        if waiting == 0 && self.waiting() > 0 {
            self.deadline = Some(now.saturating_add(STALL_LIMIT));
        }
    }

    /// Writes once, as much as is taken. A client is gone when it has all, or hung up.
    pub(super) fn write(&mut self, now: Duration) -> Presence {
        let rest = self.waiting.get(self.written..).unwrap_or_default();
        if !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(0) => return Presence::Gone,
                Ok(count) => {
                    self.written = self.written.saturating_add(count);
                    self.deadline = Some(now.saturating_add(STALL_LIMIT));
                }
                Err(error) if is_transient(&error) => {}
                Err(_) => return Presence::Gone,
            }
        }
        if self.waiting() > 0 {
            return Presence::Here;
        }
        self.written = 0;
        if self.waiting.capacity() > KEEP_BYTES {
            self.waiting = Vec::new();
        }
        self.waiting.clear();
        match self.state {
            State::Finishing => Presence::Gone,
            State::Reading => Presence::Here,
            State::Following(_) => {
                // A quiet log makes nobody slow.
                self.deadline = None;
                Presence::Here
            }
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
