//! A netlink socket, asked one question at a time.
//!
//! A question is sent, and the answer is awaited: an acknowledgement, or the parts of a list up to
//! their end. Every wait ends after [`ANSWER_LIMIT`], and a list that changes under the reader's eyes
//! is read again at most [`LIST_TRIES`] times. What can't be bounded is the kernel's own lock: a request
//! queues behind whatever else configures the network at the moment.
//!
//! Only what the kernel itself sends is read. Any process may send to a netlink socket, so the
//! sender's port is looked at, and answers to forgotten questions are passed over by their number.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto,
    socket_with,
};

use crate::error::NetlinkError;
use crate::number::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN,
};
use crate::wire::{Garbled, Message, Messages, Request, garbled, u32_at};

/// The kernel answers within microseconds; a wait of this length means that something is broken.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// A list that was changed while it was read is read again so many times.
const LIST_TRIES: usize = 5;
/// The kernel cuts lists into parts of at most 32 KiB.
const PART_BYTES: usize = 32 * 1024;
/// Of a list of so many parts something is wrong: it would hold over a million links.
const MAX_PARTS: usize = 10_000;

/// A socket for questions to one part of the kernel.
#[derive(Debug)]
pub(crate) struct Socket {
    descriptor: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// Why an exchange failed, before it is known what it was about.
#[derive(Debug)]
enum Failure {
    Errno(Errno),
    Silence,
    Changed,
    Garbled(Garbled),
}

impl From<Garbled> for Failure {
    fn from(source: Garbled) -> Self {
        Self::Garbled(source)
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::AGAIN => Self::Silence,
            other => Self::Errno(other),
        }
    }
}

impl Failure {
    fn of(self, tried: String) -> NetlinkError {
        match self {
            Self::Errno(errno) => NetlinkError::Refused { tried, errno },
            Self::Silence => NetlinkError::NoAnswer { tried },
            Self::Changed => NetlinkError::Unsteady { tried },
            Self::Garbled(source) => NetlinkError::Garbled { tried, source },
        }
    }
}

/// Opens and binds a socket of the netlink family that hears `groups`.
pub(crate) fn open(
    protocol: Option<Protocol>,
    groups: u32,
    flags: SocketFlags,
) -> Result<OwnedFd, NetlinkError> {
    let flags = flags | SocketFlags::CLOEXEC;
    let descriptor = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)
        .map_err(NetlinkError::Socket)?;
    bind(&descriptor, &SocketAddrNetlink::new(0, groups)).map_err(NetlinkError::Socket)?;
    Ok(descriptor)
}

/// Reads one datagram of the kernel into `buffer`; none if it was somebody else's.
pub(crate) fn receive(
    descriptor: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<Option<usize>, Errno> {
    // With TRUNC the true length is told even if the buffer is too small.
    let (_, length, sender) = match recvfrom(descriptor, &mut *buffer, RecvFlags::TRUNC) {
        Err(Errno::INTR) => return Ok(None),
        other => other?,
    };
    let kernel = sender
        .and_then(|sender| SocketAddrNetlink::try_from(sender).ok())
        .is_some_and(|sender| sender.pid() == 0);
    if length > buffer.len() {
        return Err(Errno::MSGSIZE);
    }
    Ok(kernel.then_some(length))
}

impl Socket {
    pub(crate) fn open(protocol: Option<Protocol>) -> Result<Self, NetlinkError> {
        let descriptor = open(protocol, 0, SocketFlags::empty())?;
        for direction in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&descriptor, direction, Some(ANSWER_LIMIT))
                .map_err(NetlinkError::Socket)?;
        }
        Ok(Self { descriptor, sequence: 0, buffer: vec![0; PART_BYTES] })
    }

    /// Has the kernel do something, and waits until it did.
    pub(crate) fn change(
        &mut self,
        tried: impl FnOnce() -> String,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        fill: impl FnOnce(&mut Request),
    ) -> Result<(), NetlinkError> {
        let mut request = Request::new(kind, NLM_F_REQUEST | NLM_F_ACK | flags, fixed);
        fill(&mut request);
        let mut unasked = |_: Message<'_>| Ok(());
        self.exchange(&request, &mut unasked).map_err(|failure| failure.of(tried()))
    }

    /// Reads a list; `read` makes an entry of each part, or none of what isn't wanted.
    pub(crate) fn list<T>(
        &mut self,
        tried: &str,
        kind: u16,
        fixed: &[u8],
        read: impl Fn(Message<'_>) -> Result<Option<T>, Garbled>,
    ) -> Result<Vec<T>, NetlinkError> {
        let request = Request::new(kind, NLM_F_REQUEST | NLM_F_DUMP, fixed);
        let mut last = Failure::Changed;
        for _ in 0..LIST_TRIES {
            let mut found = Vec::new();
            let mut take = |message: Message<'_>| {
                found.extend(read(message)?);
                Ok(())
            };
            match self.exchange(&request, &mut take) {
                Ok(()) => return Ok(found),
                Err(Failure::Changed) => last = Failure::Changed,
                Err(other) => return Err(other.of(tried.to_owned())),
            }
        }
        Err(last.of(tried.to_owned()))
    }

    fn exchange(
        &mut self,
        request: &Request,
        take: &mut dyn FnMut(Message<'_>) -> Result<(), Garbled>,
    ) -> Result<(), Failure> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request.finish(self.sequence);
        sendto(&self.descriptor, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut changed = false;
        for _ in 0..MAX_PARTS {
            let Some(length) = receive(self.descriptor.as_fd(), &mut self.buffer)? else {
                continue;
            };
            for message in Messages::of(self.buffer.get(..length).unwrap_or_default()) {
                let message = message?;
                if message.sequence != self.sequence {
                    continue;
                }
                changed |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        return match verdict(&message)? {
                            Some(errno) => Err(errno.into()),
                            None if changed => Err(Failure::Changed),
                            None => Ok(()),
                        };
                    }
                    NLMSG_OVERRUN => return Err(Failure::Changed),
                    _ => take(message)?,
                }
            }
        }
        Err(garbled("a list without an end").into())
    }
}

/// The kernel's last word: nothing if all went well.
fn verdict(message: &Message<'_>) -> Result<Option<Errno>, Garbled> {
    // The end of a list may carry no code, which is as good as 0.
    if message.kind == NLMSG_DONE && message.body.is_empty() {
        return Ok(None);
    }
    let code = u32_at(message.body, 0)?.cast_signed();
    Ok((code != 0).then(|| Errno::from_raw_os_error(code.saturating_neg())))
}
