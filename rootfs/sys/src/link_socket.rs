//! Sockets that use one link and no other.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Binds a socket to a link by its name: what is sent leaves there, and only what comes in there is
/// heard. It needs no capability as long as the socket isn't bound to another link. A link that goes
/// and comes again is another one.
pub fn bind_to_link(socket: impl AsFd, link: &str) -> io::Result<()> {
    let size = libc::socklen_t::try_from(link.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel copies `size` bytes of the name, which live across the call.
    let status = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            link.as_ptr().cast(),
            size,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_socket_on_the_loopback_reaches_it_and_an_absent_link_is_an_error() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("bound");
        bind_to_link(&sender, "lo").expect("bound to lo");
        let to = receiver.local_addr().expect("an address");
        sender.send_to(b"hello", to).expect("sent");
        let mut bytes = [0; 8];
        assert_eq!(receiver.recv(&mut bytes).expect("received"), 5);
        let other = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let error = bind_to_link(&other, "no-such-link").expect_err("absent");
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }
}
