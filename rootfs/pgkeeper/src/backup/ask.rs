//! Asks a program of this node one thing, and waits for the answer with a bound.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use ::control::{Answer, MAX_ANSWER_BYTES, Request};

/// The keeper answers within a turn of its loop.
const LIMIT: Duration = Duration::from_secs(5);

pub(super) fn ask(socket: &Path, request: &Request) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let line = request.to_line().map_err(io::Error::other)?;
    stream.write_all(&line)?;
    let bound = u64::try_from(MAX_ANSWER_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut answer = Vec::new();
    BufReader::new(stream.take(bound)).read_until(b'\n', &mut answer)?;
    Answer::parse(&answer).map_err(io::Error::other)
}
