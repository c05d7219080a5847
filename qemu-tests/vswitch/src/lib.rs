//! An Ethernet switch in user space for QEMU guests, which breaks the network on purpose.
//!
//! QEMU's `-netdev stream` sends a guest's frames over a unix socket. This switch has one such socket
//! for each port; it needs no root, no bridge, and no address of the desk. What it does to frames is
//! decided by [`rule::Rule`]s about directed pairs of ports, by dice with a seed.
//!
//! [`switch`] is the switch as pure code, [`server`] gives it sockets and a thread, [`wire`] keeps
//! what was claimed on the wire, and [`pcapng`] writes it down.

pub mod forwarding;
pub mod frame;
pub mod framing;
pub mod pcapng;
mod port;
pub mod random;
pub mod rule;
pub mod server;
pub mod switch;
pub mod wire;
