//! A site's nodes, secrets and certificates: one cluster file becomes seeds that boot.
//!
//! ```text
//!  pair.toml ──> plan ──> node1.toml, node2.toml      one committed seed per node, no secret in it
//!                  │
//!                  └────> secrets/<cluster>/          private: 0700, files 0600
//!                           ca.pem  ca.key            the site's own CA; its key never leaves here
//!                           operator.pem  .key        for `nodectl` on a desk
//!                           tokens.toml               tokens and passwords that nodes share
//!                           nodes/<name>/*.pem *.key  what only this node has
//!                           clients/<name>.pem .key   for programs that log in to the database
//!                           external/…                put there by hand: see `secrets`
//! ```
//!
//! The same secrets folder is made when a seed without `[secrets]` is built for the first time; the
//! next node of the cluster finds it and shares the CA and the tokens.

mod create;
mod derive;
mod identity;
mod pki;
mod place;
mod plan;
mod private;
mod rules;
pub mod secrets;
mod site;
mod tables;
mod tokens;

pub use create::{ClusterError, Created, create};
pub use pki::PkiError;
pub use plan::{Plan, PlannedSeed, plan};
pub use private::PrivateError;
