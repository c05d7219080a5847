//! The real `builder`, started as a person or a script starts it.

#[path = "../device_writing/fixture.rs"]
mod fixture;

mod block_device;
mod flash;
mod interrupt;
mod render;
mod seeds;
mod support;
mod usage;
