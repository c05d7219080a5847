//! Ending TCP connections of an address.
//!
//! When a node gives up an address, its own programs may still hold connections from or to it.
//! Nothing tells them: packets go nowhere, and the programs wait for tens of seconds. Destroying
//! the sockets gives both ends of a local connection their error at once.
//!
//! When a node takes an address over, its own programs may still hold connections to whoever had it
//! before. From here they begin at an address of the node's and end at the other one. What a neighbour
//! makes once the address is here has it at the near end. What the node makes with itself is in the
//! kernel's list twice, once from each end, and so known for what it is: where it begins doesn't say
//! it, since a program may have bound its end, and the kernel may have chosen that end just before the
//! address came, and the way to the other just after.
//!
//! Listening sockets are left alone: a service that listens on the address needs no restart when it
//! comes back.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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

/// The two ends of a connection, seen from one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Ends {
    near: SocketAddr,
    far: SocketAddr,
}

impl Ends {
    /// The same connection, seen from its other end.
    fn turned(self) -> Self {
        Self { near: self.far, far: self.near }
    }

    fn lead_to(&self, address: IpAddr) -> bool {
        self.far.ip() == address && self.near.ip() != address
    }
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

    /// Where it begins and ends. IPv4 connections of IPv6 sockets have their addresses in a mapped form.
    fn ends(&self) -> Result<Ends, Garbled> {
        let end = |port_at, address_at| -> Result<SocketAddr, Garbled> {
            let port = u16::from_be_bytes(array_at(&self.identity, port_at)?);
            let bytes: [u8; 16] = array_at(&self.identity, address_at)?;
            let [a, b, c, d, ..] = bytes;
            let ip: IpAddr = if self.family == AF_INET {
                Ipv4Addr::new(a, b, c, d).into()
            } else {
                Ipv6Addr::from(bytes).to_canonical()
            };
            Ok(SocketAddr::new(ip, port))
        };
        Ok(Ends { near: end(0, 4)?, far: end(2, 20)? })
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
            let found = self.connections(address, CONNECTED)?;
            if found.is_empty() {
                break;
            }
            for (connection, _) in found {
                ended += usize::from(self.end(&connection, address)?);
            }
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
        let mut leading = self.connections(address, states)?;
        leading.retain(|(_, ends)| ends.lead_to(address));
        if leading.is_empty() {
            return Ok(0);
        }
        // Asked for afterwards, so that the other end of each is there by now if it is here.
        let here = self.connections(address, CONNECTED)?;
        let here: HashSet<Ends> = here.into_iter().map(|(_, ends)| ends).collect();
        let mut ended = 0;
        for (connection, ends) in leading {
            if !here.contains(&ends.turned()) {
                ended += usize::from(self.end(&connection, address)?);
            }
        }
        Ok(ended)
    }

    /// Those that have `address` at one of their ends.
    fn connections(
        &mut self,
        address: IpAddr,
        states: u32,
    ) -> Result<Vec<(Connection, Ends)>, NetlinkError> {
        // An IPv6 address is never at the end of an IPv4 socket.
        let families: &[u8] = if address.is_ipv4() { &[AF_INET, AF_INET6] } else { &[AF_INET6] };
        let mut found = Vec::new();
        for family in families {
            let tried = format!("list the connections of {address}");
            let fixed = request(*family, states, &[0; IDENTITY_BYTES]);
            let listed = self.socket.list(&tried, SOCK_DIAG_BY_FAMILY, &fixed, |message| {
                let Some(connection) = Connection::read(message)? else { return Ok(None) };
                let ends = connection.ends()?;
                let is_meant = ends.near.ip() == address || ends.far.ip() == address;
                Ok(is_meant.then_some((connection, ends)))
            });
            found.extend(listed.map_err(|error| match error.errno() {
                // No module answers for TCP.
                Some(Errno::NOENT) => NetlinkError::CannotDestroy { tried },
                _ => error,
            })?);
        }
        Ok(found)
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
pub(crate) fn read_any(message: Message<'_>) -> Result<(), Garbled> {
    if let Some(connection) = Connection::read(message)? {
        connection.ends()?;
    }
    Ok(())
}
