//! The failover protocol under simulated faults.
//!
//! The crate that runs on a node runs here as well, twice, in a world that is made of one heap of
//! events: a network that loses, delays, doubles and cuts, machines that crash at any fsync, stand
//! still or forget, clocks that drift, a PostgreSQL that leaks where the real one does, operators,
//! clients on both sides of every cut, and a witness. A history is a function of its seed.
//!
//! - [`run`](mod@run): one history. Faults first; then everything is mended, and the pair must be
//!   in sync again.
//! - [`plan`]: what will happen, drawn from the seed beforehand, so that it can be shrunk.
//! - [`mutants`]: each rule of the protocol switched off; the histories must notice.
//! - [`explore`]: every history of a few rounds instead of many random ones.
//! - [`cli`]: the `sim` command.
//!
//! # What is judged
//!
//! | | always | where |
//! |---|---|---|
//! | I1 | an acknowledged commit is in the WAL of every later leader | when a gate opens |
//! | I2 | one node acknowledges; nobody acknowledges while it seeks authority | at every acknowledgement |
//! | I3 | an epoch has one configuration | at every durable record |
//! | I4 | a permit means: leads, serves, gate open; blocked means closed | after every step |
//! | I5 | who acts on a claim was a member of its base, and has no rival | at every durable record |
//! | I6 | epochs don't go back; effects and words follow the fsync | at every action and heartbeat |
//! | I7 | what was read isn't gone, unless kine's revision was moved in between | when a gate opens |
//! | I8 | only an outsider's data is replaced, by the leader's; half-done data stays | at every command |
//! | I9 | a node that met nobody since it booted serves only what it led alone | when a gate opens |
//! | I10 | who knows of a newer leader doesn't serve; old data shows for a bounded time | after every step |
//! | I11 | mended, the pair is in sync within a bound | at the end |
//! | I12 | synchrony returns only after the hold-down | at every publication |
//! | I13 | no fence hits the leader that its owner has agreed to | at every cut |
//!
//! # What is excused, and counted
//!
//! - `availability`, deceived: a node acted although its peer worked and reached its gateway too, or
//!   led already, and no advert told the two of each other; or its peer stood still with its clock.
//!   Then I1, I2, I5 and I7 may not hold; such histories are counted as diverged.
//! - A forced promotion excuses what it loses (I1), not that clients aren't told (I7), except
//!   where the other side goes on serving behind the operator's back.
//! - What only a lost disk had isn't asked for any more.
//! - A pair that lost memory may need its operator; one order must then be enough.
//!
//! # What is not modelled
//!
//! Disks that lie about fsync, silent corruption of WAL, bytes on the wire (the formats have tests
//! of their own), the shell's own mistakes, and VRRP's elections: who has a permit adverts the
//! address.

pub mod cli;
mod clock;
mod database;
mod effects;
mod event;
pub mod explore;
mod judge;
mod machine;
pub mod mutants;
mod nemesis;
mod pg;
pub mod plan;
pub mod report;
mod rng;
pub mod run;
pub mod shrink;
pub mod tiny;
mod world;

pub use judge::Violation;
