//! Listening sockets: also on an address that isn't there yet, and on IPv6 and IPv4 with one.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

/// Connections that the kernel holds ready for us; K3s makes a hundred at once.
const BACKLOG: i32 = 256;
/// A peer whose machine vanished is noticed after idle time and some probes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(20);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 4;

/// Listens. A kernel without IPv6 takes the IPv4 wildcard for the other one.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match listen_on(address) {
        Err(error)
            if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
                && address.ip().is_unspecified() =>
        {
            listen_on(SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, address.port())))
        }
        other => other,
    }
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let six = address.is_ipv6();
    let family = if six { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    if six {
        // Whatever the sysctl says, IPv4 comes in on the wildcard too.
        sockopt::set_ipv6_v6only(&socket, false)?;
        sockopt::set_ipv6_freebind(&socket, true)?;
    } else {
        // The VIP may be on the other node now and here later.
        sockopt::set_ip_freebind(&socket, true)?;
    }
    // A restarted service must not wait for connections of its former self.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// What every accepted connection gets: no waiting for more bytes, and an end if the peer vanishes.
/// No limit on unacknowledged bytes (`TCP_USER_TIMEOUT`): the kernel counts a client that is alive
/// and reads nothing for a while against it, and turns the probes above off until it is over.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    Ok(())
}
