//! The seed: the one TOML file that gives a node its identity.
//!
//! Every node of a site boots the same image; what makes it *this* node (name, roles, addresses,
//! cluster, secrets) is its seed. This crate is linked by the builder on a desk and by PID 1 on the
//! node, so a seed that was accepted where it was written is accepted where it boots, and a file
//! rendered on the desk is the file that the node will have.
//!
//! A seed goes through three steps, and the rest of the program sees only what comes out:
//!
//! 1. **parse**: TOML becomes typed values ([`section`], [`scalar`]). Unknown keys are refused.
//! 2. **validate**: rules between sections, such as "the link of a VIP exists".
//! 3. **freeze**: defaults that depend on other sections are filled in. The result is a [`Seed`].
//!
//! All mistakes are reported at once ([`Problems`]), each with its line, a caret, why, and the mend.
//!
//! Beside it live the things that turn a seed into a running node: what the image contains
//! ([`manifest`]), templates ([`render`]), and where seeds come from ([`nocloud`]).
//!
//! The crate knows no files, no clock, no environment and no network: text in, values out.

pub mod base64;
mod freeze;
mod problem;
mod reader;
mod reference;
mod seal;
mod validate;

pub mod manifest;
pub mod nocloud;
pub mod render;
pub mod scalar;
pub mod section;

pub use problem::{MAX_PROBLEMS, Problem, Problems, Wrong};
pub use reader::MAX_SEED_BYTES;
pub use seal::{SealError, sealed};
pub use section::{Secrets, Seed};

use reader::Read;

/// Reads a seed. `file` is only the name that problems shall carry.
pub fn parse(file: &str, text: &str) -> Result<Seed, Problems> {
    let mut reader = reader::Reader::new(file, text);
    let read = reader::read_document::<Seed>(&mut reader);
    if let Some(seed) = &read {
        validate::validate(seed, &mut reader);
    }
    let problems = reader.into_problems();
    match read {
        Some(seed) if problems.is_empty() => Ok(freeze::freeze(seed)),
        _ => Err(problems),
    }
}

/// The reference page: every key of a seed, in Markdown.
pub fn reference() -> String {
    Seed::section().map(|root| reference::page(&root)).unwrap_or_default()
}

/// Whether a dotted path such as `k3s.cluster_cidr` names something that a seed can hold.
pub fn knows_key(path: &str) -> bool {
    Seed::section().is_some_and(|root| reference::knows(&root, path))
}
