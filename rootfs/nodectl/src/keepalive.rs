//! Connections whose other side vanished without a word end by themselves.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use rustix::net::sockopt;

/// A machine that vanished is noticed after idle time and some probes.
const IDLE: Duration = Duration::from_secs(30);
const EVERY: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// Has the kernel look whether the other side is there while nothing is said, as between two lines of a
/// log that is followed.
pub(crate) fn keep(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, IDLE)?;
    sockopt::set_tcp_keepintvl(stream, EVERY)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)?;
    Ok(())
}
