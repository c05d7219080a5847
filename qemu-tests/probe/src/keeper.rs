//! The node's database keeper, asked on its own socket as `nodectl` asks it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use control::{Answer, KEEPER_SOCKET_PATH, MAX_ANSWER_BYTES, PgRequest, ProtocolError, Request};
use thiserror::Error;

use crate::place;

/// The keeper answers between two turns of its loop.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Error)]
pub enum KeeperError {
    #[error("{KEEPER_SOCKET_PATH}: {0}")]
    Socket(#[from] io::Error),
    #[error("what answers on {KEEPER_SOCKET_PATH} is not understood: {0}")]
    Strange(#[from] ProtocolError),
}

/// Asks, and gives the answer as it came.
pub fn ask(request: PgRequest) -> Result<Answer, KeeperError> {
    let socket = place::path("proc/1/root").join(KEEPER_SOCKET_PATH.trim_start_matches('/'));
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(&Request::Pg(request).to_line()?)?;
    let mut line = Vec::new();
    let longest = u64::try_from(MAX_ANSWER_BYTES).unwrap_or(u64::MAX);
    BufReader::new(stream.take(longest)).read_until(b'\n', &mut line)?;
    Ok(Answer::parse(line.trim_ascii_end())?)
}
