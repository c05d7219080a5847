//! The connection to PID 1 from which entries come.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use control::{Answer, Logs, MAX_ANSWER_BYTES, MAX_LOG_LINES, ProtocolError, Refusal, Request};
use thiserror::Error;

/// Bytes that are read in one turn; what is left waits in the socket, and PID 1's rings.
const CHUNK_BYTES: usize = 64 * 1024;

/// The first pause before connecting again, and the longest. PID 1 is on this machine and serves
/// from early boot on, so it is rarely away and never for long.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How long the request may take to be accepted by the socket's buffer: it is small, so at once.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Error)]
pub enum FeedError {
    #[error("{}: {source}", path.display())]
    Connect { path: PathBuf, source: io::Error },
    #[error("the agent's control socket: {0}")]
    Read(io::Error),
    #[error("the agent has closed the control socket")]
    Closed,
    #[error("the agent refuses to give logs: {0}")]
    Refused(Refusal),
    #[error("the agent's control socket: {0}")]
    Protocol(#[from] ProtocolError),
    #[error("the agent gave something else than logs")]
    Unexpected,
}

/// What comes from the agent.
#[derive(Debug)]
pub struct Feed {
    stream: UnixStream,
    /// The start of an answer whose end hasn't come.
    partial: Vec<u8>,
}

impl Feed {
    /// Connects, and asks for all lines from this number on and for those to come.
    pub fn connect(path: &Path, from_seq: u64) -> Result<Self, FeedError> {
        Self::ask(path, from_seq, true)
    }

    /// Connects, and asks for the lines from this number on that there are already; then
    /// [`FeedError::Closed`] comes.
    pub fn connect_until_now(path: &Path, from_seq: u64) -> Result<Self, FeedError> {
        Self::ask(path, from_seq, false)
    }

    fn ask(path: &Path, from_seq: u64, follow: bool) -> Result<Self, FeedError> {
        let fail = |source| FeedError::Connect { path: path.to_owned(), source };
        let mut stream = UnixStream::connect(path).map_err(fail)?;
        let from_seq = Some(from_seq);
        let logs = Logs { service: None, lines: MAX_LOG_LINES, follow, from_seq };
        stream.set_write_timeout(Some(SEND_TIMEOUT)).map_err(fail)?;
        stream.write_all(&Request::Logs(logs).to_line()?).map_err(fail)?;
        stream.set_nonblocking(true).map_err(fail)?;
        Ok(Self { stream, partial: Vec::new() })
    }

    /// Reads one turn of what is there, and gives each answer about logs.
    pub fn read(&mut self, mut each: impl FnMut(Answer)) -> Result<(), FeedError> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let count = match self.stream.read(&mut chunk) {
            Ok(0) => return Err(FeedError::Closed),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(FeedError::Read(error)),
        };
        self.partial.extend_from_slice(chunk.get(..count).unwrap_or_default());
        let mut start = 0;
        while let Some(rest) = self.partial.get(start..)
            && let Some(end) = rest.iter().position(|byte| *byte == b'\n')
        {
            match Answer::parse(rest.get(..end).unwrap_or_default())? {
                answer @ (Answer::Log(_) | Answer::Missed { .. }) => each(answer),
                Answer::End => return Err(FeedError::Closed),
                Answer::Refused(refusal) => return Err(FeedError::Refused(refusal)),
                _ => return Err(FeedError::Unexpected),
            }
            start = start.saturating_add(end).saturating_add(1);
        }
        self.partial.drain(..start);
        if self.partial.len() > MAX_ANSWER_BYTES {
            return Err(FeedError::Protocol(ProtocolError::AnswerTooLong));
        }
        Ok(())
    }
}

impl AsFd for Feed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// When to connect again.
#[derive(Clone, Debug, Default)]
pub struct Reconnect {
    pause: Option<Duration>,
}

impl Reconnect {
    /// The pause after one more failure.
    pub fn failed(&mut self) -> Duration {
        let (first, longest) = RECONNECT;
        let pause = self.pause.map_or(first, |pause| pause.saturating_mul(2).min(longest));
        self.pause = Some(pause);
        pause
    }

    /// Lines came: the next failure is a first one.
    pub fn worked(&mut self) {
        self.pause = None;
    }
}
