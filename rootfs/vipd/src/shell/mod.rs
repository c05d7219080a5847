//! Around the pure parts: the loop, and everything that it opens.

mod clock;
mod control;
mod daemon;
mod holder;
mod isolation;
mod landscape;
mod log;
mod notify;
mod permits;
mod poller;
mod probe;
mod wire;

pub use control::{Question, ask};
pub use daemon::{DaemonError, run};
