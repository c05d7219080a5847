//! A client that remembers what it was promised, and checkers that hold a cluster to it.
//!
//! ```text
//!   tester VM                                   harness
//!   client ──> history (lines of JSON) ──> check ──> findings ──> verdict
//!                                   wire, facts ──┘
//! ```
//!
//! The rules are Jepsen's. A *process* does one operation at a time. What was answered is `ok`;
//! what certainly didn't happen is `fail`; everything else, a timeout above all, is `info`: it may
//! have happened, or may still happen. After an `info` the process is not used any more, and its
//! worker goes on as another.
//!
//! [`check`] is pure: it reads no clock and does no IO. What it judges is what a client was told,
//! what the wire said, and facts that others looked up; never what a node writes in its log.

pub mod check;
pub mod client;
pub mod history;
pub mod verdict;

pub use history::{History, Kind, Micros, Operation, Outcome, Row};
pub use verdict::{Finding, Verdict};
