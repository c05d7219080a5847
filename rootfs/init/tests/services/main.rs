//! The loop of PID 1 with real processes, in real cgroups, without being PID 1.
//!
//! Each scenario runs in a process of its own, which adopts orphans as PID 1 does and reaps
//! whatever dies: two of them in one process would take each other's dead.

mod refusals;
mod roles;
mod runs;
mod signs;
mod site;
