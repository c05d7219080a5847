//! Ending TCP connections of an address.
//!
//! When a node gives up an address, its own programs may still hold connections from or to it.
//! Nothing tells them: packets go nowhere, and the programs wait for tens of seconds. Destroying
//! the sockets gives both ends of a local connection their error at once.
//!
//! When a node takes an address over, its own programs may still hold connections to whoever had it
//! before. From here they begin at an address of the node's and end at the other one. What is made
//! once the address is here has it at the near end, whether a neighbour is at the far one or the node
//! itself, for which the kernel chooses the very address that it speaks to; so the two can be told
//! apart, however quickly programs connect again.
//!
//! Listening sockets are left alone: a service that listens on the address needs no restart when it
//! comes back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;
use rustix::net::netlink::SOCK_DIAG;

use crate::error::NetlinkError;
use crate::number::{
    AF_INET, AF_INET6, IPPROTO_TCP, SOCK_DESTROY, SOCK_DIAG_BY_FAMILY, TCP_CLOSE, TCP_LISTEN,
    TCP_TIME_WAIT,
};
use crate::socket::Socket;
use crate::wire::{Garbled, Message, array_at, u8_at};

/// `struct inet_diag_req_v2`.
const REQUEST_BYTES: usize = 56;
/// `struct inet_diag_sockid`: ports, addresses, link, cookie.
const IDENTITY_BYTES: usize = 48;
/// Where the identity is in `struct inet_diag_msg`.
const IDENTITY_IN_ANSWER_AT: usize = 4;
/// While sockets are destroyed, programs may make new ones; after so many rounds that is their
/// intent, and an address that isn't there any more stops them better.
const ROUNDS: usize = 3;
/// The states in which a socket has another end.
const CONNECTED: u32 = !(1 << TCP_LISTEN | 1 << TCP_CLOSE);

/// At which of its ends a connection has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ends {
    near: bool,
    far: bool,
}

/// A socket as the kernel tells it apart from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Connection {
    family: u8,
    identity: [u8; IDENTITY_BYTES],
}

impl Connection {
    fn read(message: Message<'_>) -> Result<Option<Self>, Garbled> {
        if message.kind != SOCK_DIAG_BY_FAMILY {
            return Ok(None);
        }
        let identity = array_at(message.body, IDENTITY_IN_ANSWER_AT)?;
        Ok(Some(Self { family: u8_at(message.body, 0)?, identity }))
    }

    /// Which ends have the address. IPv4 connections of IPv6 sockets have it in a mapped form.
    fn ends(&self, address: IpAddr) -> Result<Ends, Garbled> {
        let (near, far): ([u8; 16], [u8; 16]) =
            (array_at(&self.identity, 4)?, array_at(&self.identity, 20)?);
        let plain = |bytes: [u8; 16]| -> IpAddr {
            if self.family == AF_INET {
                let [a, b, c, d, ..] = bytes;
                Ipv4Addr::new(a, b, c, d).into()
            } else {
                Ipv6Addr::from(bytes).to_canonical()
            }
        };
        Ok(Ends { near: plain(near) == address, far: plain(far) == address })
    }
}

/// The kernel's list of sockets, and the power to end them.
#[derive(Debug)]
pub struct Sockets {
    socket: Socket,
}

impl Sockets {
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self { socket: Socket::open(Some(SOCK_DIAG))? })
    }

    /// Ends every TCP connection that has `address` at one of its ends; returns how many sockets
    /// that took. Programs that hold them get `ECONNABORTED` or `ECONNRESET` at once.
    pub fn destroy(&mut self, address: IpAddr) -> Result<usize, NetlinkError> {
        let address = address.to_canonical();
        let mut ended = 0;
        for _ in 0..ROUNDS {
            let found = self.connections(address, CONNECTED, |ends| ends.near || ends.far)?;
            if found.is_empty() {
                break;
            }
            ended += self.end_all(&found, address)?;
        }
        Ok(ended)
    }

    /// Ends every TCP connection that leads from another address of the node to `address`, which was
    /// another machine's until now; returns how many sockets that took.
    pub fn destroy_outgoing(&mut self, address: IpAddr) -> Result<usize, NetlinkError> {
        let address = address.to_canonical();
        // No program waits for what is in TIME_WAIT.
        let states = CONNECTED & !(1 << TCP_TIME_WAIT);
        // Once is enough: from now on the address is here, and nothing new leads to its former holder.
        let found = self.connections(address, states, |ends| ends.far && !ends.near)?;
        self.end_all(&found, address)
    }

    fn connections(
        &mut self,
        address: IpAddr,
        states: u32,
        is_meant: fn(Ends) -> bool,
    ) -> Result<Vec<Connection>, NetlinkError> {
        // An IPv6 address is never at the end of an IPv4 socket.
        let families: &[u8] = if address.is_ipv4() { &[AF_INET, AF_INET6] } else { &[AF_INET6] };
        let mut found = Vec::new();
        for family in families {
            let tried = format!("list the connections of {address}");
            let fixed = request(*family, states, &[0; IDENTITY_BYTES]);
            let listed = self.socket.list(&tried, SOCK_DIAG_BY_FAMILY, &fixed, |message| {
                let Some(connection) = Connection::read(message)? else { return Ok(None) };
                Ok(is_meant(connection.ends(address)?).then_some(connection))
            });
            found.extend(listed.map_err(|error| match error.errno() {
                // No module answers for TCP.
                Some(Errno::NOENT) => NetlinkError::CannotDestroy { tried },
                _ => error,
            })?);
        }
        Ok(found)
    }

    fn end_all(&mut self, found: &[Connection], address: IpAddr) -> Result<usize, NetlinkError> {
        let mut ended = 0;
        for connection in found {
            ended += usize::from(self.end(connection, address)?);
        }
        Ok(ended)
    }

    /// Ends one connection; false if it ended by itself.
    fn end(&mut self, connection: &Connection, address: IpAddr) -> Result<bool, NetlinkError> {
        let tried = || format!("end a connection of {address}");
        let fixed = request(connection.family, u32::MAX, &connection.identity);
        match self.socket.change(tried, SOCK_DESTROY, 0, &fixed, |_| {}) {
            Ok(()) => Ok(true),
            Err(error) if error.is_gone() => Ok(false),
            Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => {
                Err(NetlinkError::CannotDestroy { tried: tried() })
            }
            Err(error) => Err(error),
        }
    }
}

fn request(family: u8, states: u32, identity: &[u8; IDENTITY_BYTES]) -> [u8; REQUEST_BYTES] {
    let mut bytes = [0; REQUEST_BYTES];
    let [a, b, c, d] = states.to_ne_bytes();
    // The identity follows right behind these eight bytes.
    let head = [family, IPPROTO_TCP, 0, 0, a, b, c, d];
    for (to, from) in bytes.iter_mut().zip(head.iter().chain(identity)) {
        *to = *from;
    }
    bytes
}

/// Reads a message in every way that this file can, for the tests of strange input.
#[cfg(test)]
pub(crate) fn read_any(message: Message<'_>) -> Result<Option<bool>, Garbled> {
    let connection = Connection::read(message)?;
    let ends =
        connection.map(|connection| connection.ends(Ipv4Addr::LOCALHOST.into())).transpose()?;
    Ok(ends.map(|ends| ends.near || ends.far))
}
