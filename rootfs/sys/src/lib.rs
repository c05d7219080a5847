//! System calls that the node needs and that no maintained crate wraps safely.
//!
//! This is the only crate with `unsafe`. Everything else of a node uses these functions, or
//! rustix where rustix has a safe one.

pub mod block;
pub mod capabilities;
pub mod clock;
pub mod device_mapper;
pub mod durable;
pub mod entropy;
pub mod ext4;
pub mod link_socket;
pub mod notify;
pub mod packet_socket;
pub mod process;
pub mod raw_socket;
pub mod scheduler;
pub mod seccomp;
pub mod signals;
pub mod socket_filter;
pub mod watchdog;
