//! An NTP client that decides and does nothing: no socket, no clock, no random number.
//!
//! ```text
//! Client::step(moment, event) -> actions              Client::next_deadline() -> when to step next
//!
//!  answers ──> packet ──> register ──> select ──> Discipline: Step | Slew, Tune
//!              ours?      best of 8    majority
//!              sane?      slope        of intervals
//! ```
//!
//! # The three clocks
//!
//! - **wall**: what programs see. We step it at the start; after that it is slewed, unless it proves to
//!   be far off for long.
//! - **raw**: counts the oscillator's nanoseconds, and nobody ever corrects it. All samples are
//!   taken against it, so no correction of ours disturbs what we know (see [`register`]).
//! - **boot**: for our own waiting; it goes on while the machine sleeps.
//!
//! # A server
//!
//! ```text
//!  Nameless ──Resolved──> Idle ──time to ask──> Asked ──good answer──> Idle (asked ever less often)
//!      ▲                   ▲                      │ │
//!      │                   └──────timeout─────────┘ └──kiss of death──> Denied
//!      └─────────────────too many timeouts in a row
//! ```
//!
//! Leap seconds are not announced to the kernel: should there be one more, the clock is a second off
//! and slewed for half an hour.
//!
//! # What can never happen
//!
//! 1. The clock is stepped after the start, unless most servers have agreed for [`STEP_OUT`] that it is
//!    further off than the threshold, as after a start at which only a wrong one answered; or it is
//!    set to a time before the image's. The last time that was saved is where it begins, if it shows
//!    an earlier one; no more than that, since it is of a run that may have heard of no server. One
//!    of a clock that ran wild is taken back by servers.
//! 2. An answer counts that repeats no cookie of ours, or comes for a second time.
//! 3. A minority of servers moves the clock, or a majority of nothing: at the start, most servers
//!    must have answered, or [`SETTLE`] must be over. Later, fewer than half of those who were ever
//!    heard correct only what is less than the threshold; one who lies in smaller steps is followed.
//! 4. A server is asked more often than every [`SHORTEST_INTERVAL`], or at all after it said no.

mod client;
mod packet;
mod register;
mod select;
mod server;
mod stamp;

use std::net::SocketAddr;
use std::time::Duration;

pub use client::{BATTERY_EVERY, Client, SAVE_EVERY, SETTLE, STEP_OUT, SYNCHRONISED_FOR, Settings};
pub use packet::{ANSWER_BYTES_MAX, Answer, Kiss, PACKET_BYTES, Rejected, answer, question};
pub use server::{LONGEST_INTERVAL, REPLY_TIMEOUT, SHORTEST_INTERVAL, UNREACHED_AFTER};
pub use stamp::{NANOS_PER_SECOND, Nanos, Stamp};

/// A server by its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerId(pub usize);

/// All clocks, read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub boot: Duration,
    pub raw: Nanos,
    /// Since 1970.
    pub wall: Nanos,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing but time.
    Tick,
    /// A name has these addresses; none if it wasn't found.
    Resolved(ServerId, Vec<SocketAddr>),
    /// The question went out with this unguessable cookie, at this time of the raw clock.
    Sent { server: ServerId, cookie: u64, raw: Nanos },
    /// The question couldn't be sent.
    SendFailed(ServerId),
    /// This came from the server's address at this time of the raw clock.
    Received { server: ServerId, bytes: Vec<u8>, raw: Nanos },
}

/// What to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Find the addresses of a server's name, and report them.
    Resolve(ServerId),
    /// Send a question from a fresh socket that only hears this address, and report it.
    Ask(ServerId, SocketAddr),
    /// Nothing more is expected at the server's socket.
    Close(ServerId),
    /// Move the wall clock at once.
    Step(Nanos),
    /// Let the wall clock gain or lose this much; a former wish is forgotten.
    Slew(Nanos),
    /// Let the wall clock run faster by so many parts per billion than the oscillator.
    Tune(i64),
    /// Tell the kernel how good the time is.
    Declare { error: Nanos },
    /// Keep the wall clock's time on disk, as a floor for the next start.
    Save,
    /// Set the battery-backed clock.
    SetBattery,
    /// The service is ready: the time is good, or there is none to be had.
    Ready,
    /// How it is, for people.
    Status(String),
}
