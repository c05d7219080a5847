//! The node's own programs, asked on their sockets as `nodectl` asks them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use control::{
    Answer, BACKUP_SOCKET_PATH, KEEPER_SOCKET_PATH, MAX_ANSWER_BYTES, ProtocolError, Request,
    SOCKET_PATH,
};
use thiserror::Error;

use crate::place;

/// All of them answer between two turns of their loops.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Error)]
pub enum DoorError {
    #[error("{path}: {source}")]
    Socket { path: &'static str, source: io::Error },
    #[error("what answers on {path} is not understood: {source}")]
    Strange { path: &'static str, source: ProtocolError },
}

/// Where the program listens that a request is for.
fn door(request: &Request) -> &'static str {
    match request {
        Request::Pg(request) if request.is_for_backups() => BACKUP_SOCKET_PATH,
        Request::Pg(_) => KEEPER_SOCKET_PATH,
        _ => SOCKET_PATH,
    }
}

/// Asks, and gives the answer as it came.
pub fn ask(request: &Request) -> Result<Answer, DoorError> {
    let path = door(request);
    let strange = |source| DoorError::Strange { path, source };
    let line = request.to_line().map_err(strange)?;
    let answer = exchange(path, &line).map_err(|source| DoorError::Socket { path, source })?;
    Answer::parse(answer.trim_ascii_end()).map_err(strange)
}

fn exchange(path: &str, line: &[u8]) -> io::Result<Vec<u8>> {
    let socket = place::path("proc/1/root").join(path.trim_start_matches('/'));
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(line)?;
    let mut answer = Vec::new();
    let longest = u64::try_from(MAX_ANSWER_BYTES).unwrap_or(u64::MAX);
    BufReader::new(stream.take(longest)).read_until(b'\n', &mut answer)?;
    Ok(answer)
}
