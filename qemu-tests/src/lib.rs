//! The proof: images booted in QEMU.
