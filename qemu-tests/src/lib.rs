//! The proof: images booted in QEMU.
//!
//! A [`guest::Guest`] is a running virtual machine with its console; it ends with the test, however
//! that ends. [`image`] builds what is booted, with the same code as the `builder` command.

pub mod bench;
pub mod console;
pub mod desk;
pub mod fuzz;
pub mod guest;
pub mod image;
pub mod postgres;
pub mod state;
