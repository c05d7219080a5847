//! Reading images that are already written: what is in one, how two differ, whether one is whole.
//!
//! ```text
//!  OpenImage ─┬─ table, boot files, kernels, seed ─┬─> inspect ─> text, JSON, SBOM
//!             └─ root: manifest, origins, entries ─┼─> diff
//!                                                  └─> verify
//! ```
//! Nothing here changes an image, asks for privileges or prints a secret. An image may be damaged or
//! foreign: each fact that can't be had becomes a sentence, and the rest is still told.

pub mod boot_files;
pub mod date;
pub mod diff;
pub mod inspect;
pub mod root;
pub mod sbom;
pub mod seeds;
pub mod slots;
pub mod verify;
