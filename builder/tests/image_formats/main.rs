//! The image's formats, each judged by foreign tools where there are any, and by its own reader.
//!
//! A tool is found on `PATH` or named by an environment variable (`E2FSCK`, `VERITYSETUP`, `UKIFY`,
//! …; `EFI_STUB` names systemd's stub). Without it a test says that it was skipped.

mod cpio;
mod ext4;
#[path = "../shared"]
mod shared {
    pub(crate) mod tiny_stub;
    #[path = "../../../rootfs/disk/tests/support/mod.rs"]
    pub(crate) mod tools;
    pub(crate) mod trees;
}
mod support;
mod uki;
mod verity;
