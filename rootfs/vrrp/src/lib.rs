//! VRRP: which of a few machines answers for a virtual address, as packets and as an election.
//!
//! This crate is the protocol and nothing around it. It is given bytes, events and the time; it
//! gives back bytes and a short list of things to do. `vipd` is the daemon that has the sockets.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | virtual router | one VRID in one address family on one interface; the unit that is elected |
//! | Active | the router that answers for the virtual addresses; older texts say master |
//! | Backup | a router that listens, and would take over |
//! | advert | the packet by which an Active says that it is one |
//! | interval | the time between two adverts |
//! | skew | a part of an interval; the lower the priority, the longer. It orders the backups |
//! | down interval | three intervals and the skew: the silence after which an Active is gone |
//! | owner | a router that has the virtual addresses as its real ones; priority 255 |
//! | resign | to send an advert with priority 0: "I am no longer Active" |
//! | preempt | a better Backup replaces a lesser Active that is alive |
//! | permit | leave to be Active, given from outside, for a limited time |
//! | announce | tell the neighbours by gratuitous ARP or unsolicited neighbour advertisement |
//!
//! # The election
//!
//! ```text
//!                          started, interface up
//!        +------------+ ------------------------> +--------+
//!        | Initialize |                           | Backup | <---+ hears a better or equal
//!        +------------+ <------------------------ +--------+ ----+ Active: waits anew
//!           |      ^      stopped, interface down   |    ^
//!     owner |      |                        silence |    | better Active heard,
//!   started |      | stopped,          and a permit |    | permit lost or run out
//!           v      | interface down                 v    |
//!        +------------------------------------------------+
//!        |                     Active                     | ---+ advert every interval,
//!        +------------------------------------------------+ <--+ at once on a losing advert
//! ```
//!
//! [`election`] has the same drawing with each event, and a test that holds it against the code.
//!
//! # Invariants
//!
//! - A router has the addresses exactly while it is Active: `AddAddresses` and `Release` alternate.
//! - Addresses are released before the others are told. The other order would let a Backup with a
//!   short skew add them while they are still here.
//! - With `permit_required`, Active without a valid permit lasts no longer than the next event, and
//!   the timer is set to the end of the permit. So if permits never overlap, Actives never do.
//! - Without permits two routers are Active only while they can't hear each other, and for at most
//!   one interval afterwards.
//! - An advert never makes a router Active; only silence does, or a permit after silence.
//! - Zero is no priority, no interval and no number of addresses: the types and [`packet::parse`]
//!   keep it out.
//! - Bytes from the network never panic and allocate nothing.
//!
//! # What it never does
//!
//! It reads no clock, opens nothing, starts nothing and logs nothing. It sets no multicast groups
//! and no addresses, and it does not decide whether the machine is healthy: that arrives as an
//! event. Version 2's password is sent in clear text and authenticates nobody; keepalived's HMAC
//! trailer, in `packet/trailer.rs`, does.

pub mod announce;
pub mod election;
pub mod interval;
pub mod packet;
pub mod permit;
mod priority;
mod sum;
pub mod wellknown;

pub use election::{Action, Config, Election, Event, Heard, State};
pub use interval::{Interval, Version};
pub use priority::Priority;
