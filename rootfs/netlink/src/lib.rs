//! Links, addresses, routes and sockets of the kernel, asked and changed over netlink.
//!
//! [`Netlink`] asks and changes, one question at a time, and waits for the answer, though never for
//! long. [`Monitor`] hears what changes. [`Sockets`] ends the connections of an address that the
//! node gives up or takes over. Each works in the network namespace in which it was opened.
//!
//! What it never does: decide what should be there, or remember what was. PID 1 owns the node's
//! links and addresses and the VIP daemon owns the virtual ones; both decide elsewhere, and come
//! here to have it done. Every error names what was tried, on what, and what helps.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod address;
#[cfg(test)]
mod arbitrary;
mod create;
mod destroy;
mod error;
mod link;
mod mac;
mod monitor;
mod number;
mod route;
mod socket;
mod wire;

pub use address::{Address, Check, Lifetime};
pub use create::{BondMode, MacvlanMode, NewKind, NewLink, TransmitHash};
pub use destroy::Sockets;
pub use error::NetlinkError;
pub use link::{Detail, Link, LinkId, OperState};
pub use mac::Mac;
pub use monitor::{Event, Monitor};
pub use route::{PROTOCOL_KERNEL, PROTOCOL_STATIC, Route};
pub use socket::ANSWER_LIMIT;
pub use wire::Garbled;

/// Who owns an address or a route of a node: the number that its owner tags it with
/// ([`Address::protocol`], [`Route::protocol`]), so that each can tell its own from the others'.
/// The kernel gives these numbers no meaning; they keep away from those that routing daemons use.
pub mod owner {
    /// PID 1: the node's own addresses and routes, from the seed.
    pub const NODE: u8 = 101;
    /// The VIP daemon: virtual addresses, which nobody else may touch.
    pub const VIP: u8 = 102;
}

/// The kernel's links, addresses and routes in one network namespace.
#[derive(Debug)]
pub struct Netlink {
    socket: socket::Socket,
}

impl Netlink {
    /// A way to ask, for the network namespace of the calling thread.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self { socket: socket::Socket::open(None)? })
    }
}
