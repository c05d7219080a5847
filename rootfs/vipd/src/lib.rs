//! The VIP daemon: virtual addresses held by one machine at a time, by VRRP.
//!
//! `rootfs/vrrp` knows the protocol; this crate gives it sockets, addresses, checks and a clock. One
//! loop does everything, without threads: a timer that fires late looks like a death to the others.
//!
//! ```text
//!   pure, told the time                        the shell, one loop
//!   config     the file, read strictly         shell/daemon    the loop and what it waits for
//!   health     fall, rise, weight              shell/wire      one virtual router's sockets
//!   router     one election and its reasons    shell/landscape links and addresses, as they are
//!   schedule   what is due when                shell/holder    addresses on links, by netlink
//!   permission what the holder allows          shell/probe     running checks, never waiting
//!   claims     who else says "that is me"      shell/permits   the holder's connection
//!   filter     what the kernel drops early     shell/control   status and metrics
//!   frames     adverts as Ethernet frames      shell/isolation rights given up
//!   report     status, JSON, metrics           shell/notify    READY=1, WATCHDOG=1
//! ```
//!
//! Beside them `probe` is another program in the same binary: HTTPS checks run it as a child.
//!
//! What it never does: decide who is primary, resolve names, wait for anything but its one poll,
//! or end with an address left behind.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod claims;
pub mod config;
pub mod filter;
pub mod frames;
pub mod health;
pub mod http;
pub mod permission;
pub mod probe;
pub mod report;
pub mod router;
pub mod schedule;
pub mod shell;

pub use config::Config;
/// The messages between `vipd` and the holder of a permit, for the holder to link.
pub use vrrp::permit;
