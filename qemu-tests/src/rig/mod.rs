//! The rig: clusters of virtual machines in which things go wrong on purpose, and what is seen then.
//!
//! ```text
//!   cluster file ─> seeds ─┐
//!   lab image, built once ─┼─> nodes: a copy-on-write disk each ──┐
//!   probe, in memory ──────┘   tester: clients, nothing else ─────┴─ one switch
//!                                   │ console, QMP, probe                │ wire
//!                                   └──────────> drill <─────────────────┘
//!                                                  └─> findings ─> verdict ─> report
//! ```
//! A drill is a function over a [`drill::Drill`]: it injects faults into a running [`cluster`], says
//! what it expects and by when, heals, and checks. [`run`] runs drills one after the other and
//! decides what their findings come to.
//!
//! All times of a run count from its beginning, on the desk's steady clock: consoles, wire, events
//! of QEMU, and clients' operations.

pub mod cli;
pub mod cluster;
pub mod drill;
pub mod entry;
pub mod evidence;
pub mod expect;
pub mod fault;
pub mod hang;
pub mod index;
pub mod kit;
pub mod lag;
pub mod log;
pub mod machine;
pub mod orders;
pub mod outlets;
pub mod pair;
pub mod probe;
pub mod qemu_told;
pub mod reaper;
pub mod run;
pub mod shell;
pub mod state;
pub mod stranger;
pub mod warm;
