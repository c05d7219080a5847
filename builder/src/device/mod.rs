//! Writing an image to a disk: the one command that can destroy somebody's data.
//!
//! ```text
//!  source    raw or raw.zst ─> an open image ─> ImageFacts ┐
//!  machine   sysfs, mounts, swaps ───────────> DeviceFacts ┴─> refusals ─> asked ─> flash
//!                                                               (pure)
//! ```
//!
//! Facts are read first, by code that takes the root folder as a parameter, so that a test shows it
//! a machine made of files. What they mean is decided by pure functions over plain values. Only
//! then a device is opened for writing, and the kernel has a last word: a block device is opened
//! exclusively, which fails while anything else in the kernel holds it.

mod facts;
mod flash;
mod identify;
mod machine;
mod mounts;
mod plan;
mod refusals;
mod source;
mod target;

pub use facts::{DeviceFacts, ImageFacts, Kind, PartFacts, SeedState, Use};
pub use flash::{FlashError, Flashed, flash, write_planned};
pub use identify::{IdentifyError, Identity, identify, replace};
pub use machine::{Machine, MachineError};
pub use plan::{Piece, PieceContent, Plan, PlanError};
pub use refusals::{Refusal, Warning, refusals, warnings};
pub use source::{Source, SourceError};
pub use target::{Target, TargetError};
