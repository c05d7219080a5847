//! The rig's hand inside guests.
//!
//! One static binary in two roles, both started as the first program of an initramfs that the rig
//! puts together; no image has it. It speaks with the rig over a port of virtio-serial, so never
//! over the network that is under test.
//!
//! ```text
//!  beside a node:  kernel ─rdinit=/probe─> PID 1: start a child, exec /init ─> the node, untouched
//!                                                     └─> the child: does what a drill asks
//!  as the tester:  kernel ─rdinit=/probe─> PID 1: clients of the service under test, nothing else
//! ```
//! Beside a node it stays in the first root, which the node leaves behind, and sees the node's files
//! through `/proc/1/root`.
//!
//! [`words`] is what both ends say; the rest runs in the guest.

pub mod address;
pub mod database;
pub mod door;
pub mod hand;
pub mod http;
pub mod place;
pub mod port;
pub mod process;
pub mod state;
pub mod switch;
pub mod words;
