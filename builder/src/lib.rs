//! What runs on your desk: Debian packages, overlays and a seed become a bootable image.
//!
//! ```text
//!  debian/   signed index -> resolver -> .deb -> files ┐
//!  overlays  what to keep, files, templates, services  ├─> root/   one tree, in memory
//!  node      our own binaries, built static            ┘     │
//!                                                            v
//!  cluster/  PKI, secrets, the sealed seed ──────────> image/  ext4, verity, UKI, ESP, GPT
//! ```
//!
//! Nothing of a package is executed, nothing needs root, and equal inputs give equal bytes.

pub mod build;
pub mod cli;
pub mod cluster;
pub mod debian;
pub mod device;
pub mod explain;
pub mod image;
pub mod k3s;
pub mod node;
pub mod progress;
pub mod project;
pub mod qemu;
pub mod read;
pub mod root;
pub mod tools;
pub mod unfinished;
