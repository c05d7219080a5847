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
pub mod notify;
pub mod process;
pub mod signals;
pub mod watchdog;
