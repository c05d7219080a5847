//! One IP protocol on one interface: packets of a raw socket, with the facts of their IP header.
//!
//! What is received carries its TTL, its source and its destination, because a protocol of the
//! link judges packets by these. What is sent says its source address, so that no routing table
//! has a say in it.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::socket_filter::{self, Instruction};

/// Space for the one control message that we send, or the two that we ask for, of either family.
const CONTROL_BYTES: usize = 128;
/// The shortest IPv4 header.
const IPV4_HEADER_BYTES: usize = 20;
/// Type of service of network control, precedence 6, as routing protocols use it.
const NETWORK_CONTROL: libc::c_int = 0xc0;
/// The queue of network control in Linux' own scheduler.
const CONTROL_PRIORITY: libc::c_int = 7;

/// Room for what arrives while the reader is not on a processor: at a hundred thousand packets a
/// second, some fifty milliseconds of them.
const RECEIVE_BUFFER_BYTES: libc::c_int = 4 * 1024 * 1024;

/// Control messages, aligned as the kernel wants their headers.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// A non-blocking raw socket.
#[derive(Debug)]
pub struct RawSocket {
    descriptor: OwnedFd,
    interface: u32,
    ipv6: bool,
}

/// A received packet: where its payload lies in the buffer, and what its header said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    pub start: usize,
    pub end: usize,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub ttl: u8,
}

impl RawSocket {
    /// Opens the socket on one interface, sending with TTL and hop limit 255 and without loopback.
    pub fn open(
        ipv6: bool,
        protocol: u8,
        interface: u32,
        filter: &[Instruction],
    ) -> io::Result<Self> {
        let domain = if ipv6 { libc::AF_INET6 } else { libc::AF_INET };
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: the call takes three numbers.
        let raw = unsafe { libc::socket(domain, kind, i32::from(protocol)) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor and nobody else owns it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(raw) };
        let socket = Self { descriptor, interface, ipv6 };
        socket_filter::attach(&socket.descriptor, filter)?;
        let index = i32::try_from(interface).map_err(|_| io::ErrorKind::InvalidInput)?;
        socket.set(libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, &index)?;
        socket.set(libc::SOL_SOCKET, libc::SO_PRIORITY, &CONTROL_PRIORITY)?;
        let room = &RECEIVE_BUFFER_BYTES;
        if socket.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, room).is_err() {
            // Without the privilege the kernel gives what it gives everyone.
            socket.set(libc::SOL_SOCKET, libc::SO_RCVBUF, room)?;
        }
        if ipv6 {
            socket.set_up_ipv6(index)?;
        } else {
            socket.set_up_ipv4(index)?;
        }
        Ok(socket)
    }

    fn set_up_ipv4(&self, index: i32) -> io::Result<()> {
        let ttl: libc::c_int = 255;
        let off: libc::c_int = 0;
        self.set(libc::IPPROTO_IP, libc::IP_TTL, &ttl)?;
        self.set(libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, &ttl)?;
        self.set(libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, &off)?;
        self.set(libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, &off)?;
        self.set(libc::IPPROTO_IP, libc::IP_TOS, &NETWORK_CONTROL)?;
        self.set(libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &membership_v4([0; 4], index))
    }

    fn set_up_ipv6(&self, index: i32) -> io::Result<()> {
        let (hops, on, off): (libc::c_int, libc::c_int, libc::c_int) = (255, 1, 0);
        self.set(libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, &hops)?;
        self.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, &hops)?;
        self.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP, &off)?;
        self.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, &index)?;
        self.set(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &NETWORK_CONTROL)?;
        self.set(libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, &on)?;
        self.set(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &on)
    }

    /// Receives what is sent to a multicast group. Being a member already is no error.
    pub fn join(&self, group: IpAddr) -> io::Result<()> {
        let index = i32::try_from(self.interface).map_err(|_| io::ErrorKind::InvalidInput)?;
        let joined = match group {
            IpAddr::V4(group) => {
                let request = membership_v4(group.octets(), index);
                self.set(libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &request)
            }
            IpAddr::V6(group) => {
                let request = libc::ipv6_mreq {
                    ipv6mr_multiaddr: libc::in6_addr { s6_addr: group.octets() },
                    ipv6mr_interface: self.interface,
                };
                self.set(libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP, &request)
            }
        };
        match joined {
            Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => Ok(()),
            other => other,
        }
    }

    /// Sends one packet from an address of this machine.
    pub fn send(&self, source: IpAddr, destination: IpAddr, payload: &[u8]) -> io::Result<()> {
        let index = i32::try_from(self.interface).map_err(|_| io::ErrorKind::InvalidInput)?;
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: index,
                    ipi_spec_dst: in_addr(source),
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let level = (libc::IPPROTO_IP, libc::IP_PKTINFO);
                self.send_with(&sockaddr_v4(destination), level, &info, payload)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
                    ipi6_ifindex: self.interface,
                };
                let level = (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO);
                self.send_with(&sockaddr_v6(destination, self.interface), level, &info, payload)
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn send_with<A, I>(
        &self,
        address: &A,
        (level, kind): (i32, i32),
        info: &I,
        payload: &[u8],
    ) -> io::Result<()> {
        let mut control = Control([0; CONTROL_BYTES]);
        let mut part =
            libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
        let info_length = libc::c_uint::try_from(size_of::<I>()).unwrap_or_default();
        // SAFETY: `msghdr` is numbers and pointers, for which zero is a value.
        let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        message.msg_name = (&raw const *address).cast_mut().cast();
        message.msg_namelen = libc::socklen_t::try_from(size_of::<A>()).unwrap_or_default();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        // SAFETY: these only compute lengths. The control buffer has room for one message of either
        // family's info, so the header pointer is not null and the copy stays within the buffer.
        let sent = unsafe {
            message.msg_controllen = libc::CMSG_SPACE(info_length) as usize;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            (*header).cmsg_len = libc::CMSG_LEN(info_length) as usize;
            libc::CMSG_DATA(header).cast::<I>().write_unaligned(std::ptr::read(info));
            libc::sendmsg(self.descriptor.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next packet, cut to the buffer; none when all were read. A packet whose header is
    /// damaged is none either, as `InvalidData`.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        if self.ipv6 { self.receive_v6(buffer) } else { self.receive_v4(buffer) }
    }

    fn receive_v4(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        // SAFETY: the buffer is valid for writing for the length that is given.
        let count = unsafe {
            libc::recv(self.descriptor.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0)
        };
        let Ok(count) = usize::try_from(count) else { return would_block() };
        let packet = buffer.get(..count).unwrap_or(buffer);
        ipv4_facts(packet).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn receive_v6(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        let mut control = Control([0; CONTROL_BYTES]);
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: `sockaddr_in6` and `msghdr` are numbers and pointers, for which zero is a value.
        let (mut from, mut message): (libc::sockaddr_in6, libc::msghdr) =
            unsafe { (MaybeUninit::zeroed().assume_init(), MaybeUninit::zeroed().assume_init()) };
        message.msg_name = (&raw mut from).cast();
        message.msg_namelen =
            libc::socklen_t::try_from(size_of::<libc::sockaddr_in6>()).unwrap_or_default();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = CONTROL_BYTES;
        // SAFETY: every pointer in `message` is valid for the length beside it.
        let count = unsafe { libc::recvmsg(self.descriptor.as_raw_fd(), &raw mut message, 0) };
        let Ok(end) = usize::try_from(count) else { return would_block() };
        let (mut destination, mut ttl) = (None, None);
        // SAFETY: the kernel filled `msg_controllen` bytes of whole control messages, which these
        // macros walk; each is read at most as far as its type is long, and the types were asked for.
        unsafe {
            let mut header = libc::CMSG_FIRSTHDR(&raw const message);
            while !header.is_null() {
                if (*header).cmsg_level == libc::IPPROTO_IPV6 {
                    let data = libc::CMSG_DATA(header);
                    if (*header).cmsg_type == libc::IPV6_PKTINFO {
                        let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                        destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
                    } else if (*header).cmsg_type == libc::IPV6_HOPLIMIT {
                        ttl = u8::try_from(data.cast::<libc::c_int>().read_unaligned()).ok();
                    }
                }
                header = libc::CMSG_NXTHDR(&raw const message, header);
            }
        }
        let source = IpAddr::V6(Ipv6Addr::from(from.sin6_addr.s6_addr));
        match (destination, ttl) {
            (Some(destination), Some(ttl)) => {
                let destination = IpAddr::V6(destination);
                Ok(Some(Received { start: 0, end, source, destination, ttl }))
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn set<T>(&self, level: i32, option: i32, value: &T) -> io::Result<()> {
        let size = libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default();
        // SAFETY: the value is valid for reading for its own size, which is what is given.
        let status = unsafe {
            libc::setsockopt(
                self.descriptor.as_raw_fd(),
                level,
                option,
                (&raw const *value).cast(),
                size,
            )
        };
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl AsFd for RawSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn would_block() -> io::Result<Option<Received>> {
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        error => Err(error),
    }
}

/// What an IPv4 header says, and where what follows it lies.
fn ipv4_facts(packet: &[u8]) -> Option<Received> {
    let header: &[u8; IPV4_HEADER_BYTES] = packet.first_chunk()?;
    let start = usize::from(header[0] & 0x0f) * 4;
    if start < IPV4_HEADER_BYTES || start > packet.len() {
        return None;
    }
    let address = |at: usize| {
        let [a, b, c, d] = [header[at], header[at + 1], header[at + 2], header[at + 3]];
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    let ttl = header[8];
    Some(Received { start, end: packet.len(), source: address(12), destination: address(16), ttl })
}

fn in_addr(address: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) }
}

fn membership_v4(group: [u8; 4], index: i32) -> libc::ip_mreqn {
    libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: u32::from_ne_bytes(group) },
        imr_address: libc::in_addr { s_addr: 0 },
        imr_ifindex: index,
    }
}

fn sockaddr_v4(address: Ipv4Addr) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: u16::try_from(libc::AF_INET).unwrap_or_default(),
        sin_port: 0,
        sin_addr: in_addr(address),
        sin_zero: [0; 8],
    }
}

fn sockaddr_v6(address: Ipv6Addr, interface: u32) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_family: u16::try_from(libc::AF_INET6).unwrap_or_default(),
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: address.octets() },
        // Only link-local addresses need to be told their link.
        sin6_scope_id: interface,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_header_are_not_payload() {
        let mut packet = [0_u8; 32];
        packet[0] = 0x46;
        packet[8] = 255;
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 224, 0, 0, 18]);
        let facts = ipv4_facts(&packet).expect("a header");
        assert_eq!((facts.start, facts.end, facts.ttl), (24, 32, 255));
        assert_eq!(facts.destination, IpAddr::from([224, 0, 0, 18]));
        packet[0] = 0x4f;
        assert_eq!(ipv4_facts(&packet), None, "the header is longer than the packet");
        packet[0] = 0x44;
        assert_eq!(ipv4_facts(&packet), None, "the header is shorter than a header");
    }
}
