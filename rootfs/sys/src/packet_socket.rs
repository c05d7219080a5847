//! Whole Ethernet frames, sent and received on one interface.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::socket_filter::{self, Instruction};

/// A non-blocking socket that sees the frames of one Ethernet type, and not those that this machine
/// sends itself.
#[derive(Debug)]
pub struct PacketSocket {
    descriptor: OwnedFd,
    interface: i32,
    ethertype: u16,
}

impl PacketSocket {
    /// Opens the socket with its filter in place before the first frame can arrive.
    pub fn open(interface: u32, ethertype: u16, filter: &[Instruction]) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: the call takes three numbers; protocol 0 receives nothing until it is bound.
        let raw = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor and nobody else owns it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(raw) };
        socket_filter::attach(&descriptor, filter)?;
        let interface = i32::try_from(interface).map_err(|_| io::ErrorKind::InvalidInput)?;
        let socket = Self { descriptor, interface, ethertype };
        socket.ignore_outgoing();
        let address = socket.address();
        // SAFETY: `address` is a whole `sockaddr_ll` that lives across the call, and its size is given.
        let status = unsafe {
            libc::bind(socket.descriptor.as_raw_fd(), (&raw const address).cast(), address_length())
        };
        if status == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
    }

    /// Puts one frame on the wire.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let address = self.address();
        // SAFETY: frame and address are valid for reading for the lengths that are given.
        let sent = unsafe {
            libc::sendto(
                self.descriptor.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_NOSIGNAL,
                (&raw const address).cast(),
                address_length(),
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next frame, cut to the buffer; none when all were read.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        // SAFETY: the buffer is valid for writing for the length that is given.
        let count = unsafe {
            libc::recv(self.descriptor.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0)
        };
        match usize::try_from(count) {
            Ok(count) => Ok(Some(count)),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Our own frames are no news. Kernels before 4.20 can't leave them out; the caller then sees
    /// them and knows them by their source.
    fn ignore_outgoing(&self) {
        let on: libc::c_int = 1;
        // SAFETY: the option's value is one int, whose address and size are given.
        unsafe {
            libc::setsockopt(
                self.descriptor.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_IGNORE_OUTGOING,
                (&raw const on).cast(),
                int_length(),
            );
        }
    }

    fn address(&self) -> libc::sockaddr_ll {
        // SAFETY: a `sockaddr_ll` is plain numbers, for which zero is a value.
        let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
        address.sll_protocol = self.ethertype.to_be();
        address.sll_ifindex = self.interface;
        address
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn address_length() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default()
}

fn int_length() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or_default()
}
