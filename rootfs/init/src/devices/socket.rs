//! The socket on which the kernel tells of devices.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recvfrom, socket_with};

/// The multicast group of the kernel itself; group 2 is that of a udev.
const KERNEL_GROUP: u32 = 1;
/// The kernel's own limit of one message is 2 KiB of texts and a header.
const MESSAGE_BYTES: usize = 8192;
/// Room for the thousands of messages of a boot, of which each takes up to 4 KiB with its frame.
const BUFFER_BYTES: usize = 4 << 20;

/// One answer of the socket.
#[derive(Debug)]
pub(crate) enum Received<'b> {
    Message(&'b [u8]),
    /// The socket was full, and messages were lost.
    Lost,
    /// Nothing is waiting.
    Nothing,
}

#[derive(Debug)]
pub(crate) struct UeventSocket {
    descriptor: OwnedFd,
    buffer: Vec<u8>,
}

impl UeventSocket {
    pub(crate) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let family = AddressFamily::NETLINK;
        let kind = SocketType::DGRAM;
        let descriptor = socket_with(family, kind, flags, Some(netlink::KOBJECT_UEVENT))?;
        // A smaller buffer loses messages sooner, and lost ones are noticed.
        let _smaller =
            rustix::net::sockopt::set_socket_recv_buffer_size_force(&descriptor, BUFFER_BYTES);
        bind(&descriptor, &SocketAddrNetlink::new(0, KERNEL_GROUP))?;
        Ok(Self { descriptor, buffer: vec![0; MESSAGE_BYTES] })
    }

    /// The next message. One that another process sent is read and dropped.
    pub(crate) fn receive(&mut self) -> Received<'_> {
        loop {
            match recvfrom(&self.descriptor, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((length, _, from)) => {
                    let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
                    if from.is_none_or(|from| from.pid() != 0) {
                        continue;
                    }
                    return Received::Message(self.buffer.get(..length).unwrap_or_default());
                }
                Err(Errno::NOBUFS) => return Received::Lost,
                Err(Errno::INTR) => {}
                Err(_) => return Received::Nothing,
            }
        }
    }
}

impl AsFd for UeventSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
