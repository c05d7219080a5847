//! What happens to links and addresses, as it happens.
//!
//! The descriptor becomes readable when there is news; [`Monitor::event`] never waits. The kernel
//! drops news that nobody fetches in time, and says only that it did: then the caller hears
//! [`Event::Lost`] and must list everything again, since any event may be among the lost ones.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};

use crate::address::Address;
use crate::error::NetlinkError;
use crate::link::{Link, LinkId};
use crate::number::{
    RTM_DELADDR, RTM_DELLINK, RTM_NEWADDR, RTM_NEWLINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR,
    RTMGRP_LINK,
};
use crate::socket;
use crate::wire::{Garbled, Message, Messages};

/// Room for the news of some hundred links at once, such as a node's pods starting together.
const NEWS_BYTES: usize = 1024 * 1024;
/// One message is far smaller, but a virtual function's card may list its functions in it.
const DATAGRAM_BYTES: usize = 64 * 1024;

/// A piece of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A link came or changed; this is how it is now.
    Link(Link),
    LinkGone(LinkId),
    /// An address came or changed, on the link of this index.
    Address(u32, Address),
    AddressGone(u32, Address),
    /// Some news were lost: list everything again.
    Lost,
}

impl Event {
    fn read(message: Message<'_>) -> Result<Option<Self>, Garbled> {
        Ok(match message.kind {
            RTM_NEWLINK => Link::read(message)?.map(Self::Link),
            RTM_DELLINK => Link::read(message)?.map(|link| Self::LinkGone(link.id)),
            RTM_NEWADDR => Address::read(message)?.map(|(link, it)| Self::Address(link, it)),
            RTM_DELADDR => Address::read(message)?.map(|(link, it)| Self::AddressGone(link, it)),
            _ => None,
        })
    }
}

/// Hears the news of this network namespace from now on.
#[derive(Debug)]
pub struct Monitor {
    descriptor: OwnedFd,
    buffer: Vec<u8>,
    /// The rest of the last datagram.
    waiting: VecDeque<Event>,
}

impl Monitor {
    pub fn open() -> Result<Self, NetlinkError> {
        let groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
        let descriptor = socket::open(None, groups, SocketFlags::NONBLOCK)?;
        if set_socket_recv_buffer_size_force(&descriptor, NEWS_BYTES).is_err() {
            // Without the privilege the kernel gives what it gives everyone; news get lost sooner.
            set_socket_recv_buffer_size(&descriptor, NEWS_BYTES).map_err(NetlinkError::Socket)?;
        }
        Ok(Self { descriptor, buffer: vec![0; DATAGRAM_BYTES], waiting: VecDeque::new() })
    }

    /// The next piece of news, or none for now.
    pub fn event(&mut self) -> Result<Option<Event>, NetlinkError> {
        while self.waiting.is_empty() {
            match socket::receive(self.descriptor.as_fd(), &mut self.buffer) {
                Ok(None) => {}
                Ok(Some(length)) => self.sort(length),
                Err(Errno::AGAIN) => return Ok(None),
                // Too long for the buffer: its content is lost all the same.
                Err(Errno::NOBUFS | Errno::MSGSIZE) => return Ok(Some(Event::Lost)),
                Err(errno) => {
                    return Err(NetlinkError::Refused { tried: "hear of links".to_owned(), errno });
                }
            }
        }
        Ok(self.waiting.pop_front())
    }

    fn sort(&mut self, length: usize) {
        for message in Messages::of(self.buffer.get(..length).unwrap_or_default()) {
            match message.and_then(Event::read) {
                Ok(event) => self.waiting.extend(event),
                // Whatever it said, it can be listed.
                Err(_) => self.waiting.push_back(Event::Lost),
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
