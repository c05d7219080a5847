//! What the services of a node say: lines in bounded rings, and how log files are kept small.
//!
//! PID 1 reads what its services write and keeps the last lines of each in memory, where they are
//! safe from a full, broken or absent disk. `logd` copies them to files on the state partition.
//! Both ask this crate what to keep:
//!
//! ```text
//!  pipe ──chunks──> Splitter ──lines──> Allowance ──kept──> Ring (one per source) ──since──> logd,
//!                      │ too long: cut      │ too many: counted, said                       nodectl
//!
//!  Rotation: may I write? ──> Write | Delete a file | Rename a file | Drop the line
//! ```
//!
//! # Words
//!
//! - **source**: who says something: a service, the kernel, or PID 1 itself. A place in the list of
//!   names that the [`Journal`] was made with.
//! - **record**: one line of a source, with its number and the time since boot.
//! - **seq**: the number of a record over all sources. Numbers have no holes: who follows all
//!   sources and sees a hole knows how many lines went out of memory before it read them.
//!
//! # What can never happen
//!
//! 1. A source pushes out another's lines: each has a ring of its own.
//! 2. A source makes the journal grow: all memory is taken when it is made, none is taken later.
//! 3. A source takes all of PID 1's time: beyond [`KEEP_RATE`] its lines are dropped and counted,
//!    beyond [`READ_RATE`] its pipe is left alone for a moment, so that it waits, and nobody else.
//! 4. A line does something to the terminal that shows it: see [`Harmless`].
//!
//! # What it never does
//!
//! It does no IO and reads no clock: times come in as values.

mod allowance;
mod harmless;
mod journal;
mod ring;
mod rotation;
mod splitter;

pub use allowance::{KEEP_BURST, KEEP_RATE, LINE_COST, READ_BURST, READ_RATE};
pub use harmless::Harmless;
pub use journal::{Journal, Losses, Shown, Since};
pub use ring::{Kind, Record};
pub use rotation::{
    Decision, LogFile, LogLimits, RETRY_FIRST, RETRY_LONGEST, Rotation, Step, Trouble,
};
pub use splitter::LINE_BYTES;
