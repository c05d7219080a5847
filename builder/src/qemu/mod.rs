//! QEMU: found or fetched, its acceleration probed, its command line put together.
//!
//! ```text
//!  PATH has QEMU 10 or newer? ─yes─> use it
//!        └─no─> Debian's own, unpacked into the cache, started through its own loader
//!  /dev/kvm opens? ─no─> TCG
//!        └─yes─> boot a kernel under KVM; does it speak? ─yes─> KVM, ─no─> TCG
//! ```

pub mod accelerate;
pub mod command;
pub mod forward;
pub mod program;
