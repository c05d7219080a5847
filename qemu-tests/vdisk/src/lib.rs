//! A disk for QEMU guests whose power can be cut honestly.
//!
//! Killing QEMU is no power cut: what the guest wrote and never flushed is in the desk's page cache
//! and comes back. This disk speaks NBD to QEMU and keeps unflushed writes apart, so that a cut
//! can lose all of them, some of them, or parts of them, as a real disk does.
//!
//! ```text
//!   guest ── NBD ──> volatile: writes in their order ──flush──> durable: a sparse file
//!                         │ power cut: lost, or torn               │
//!                         v                                        v
//!                       gone                     what is nowhere: a saved disk, if it goes on
//!                                                from one; else the built image, never written
//! ```
//!
//! [`store`] is the disk itself, [`protocol`] the words of NBD, [`server`] its socket and thread.

mod layer;
pub mod protocol;
pub mod server;
pub mod store;
