//! clockd: keeps the node's clock.
//!
//! The decisions are in [`ntp`], which does no IO; [`config`] reads the file; [`Shell`] carries out,
//! against a [`Machine`] that tests replace, so that no test touches a real clock.

pub mod config;
mod machine;
pub mod ntp;
mod resolver;
mod saved;
mod shell;

pub use machine::{Host, Machine};
pub use saved::{Floor, FloorError};
pub use shell::{Shell, ShellError};
