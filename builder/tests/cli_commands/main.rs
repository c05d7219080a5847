//! The real `builder`, started as a person or a script starts it.

mod block_device;
mod flash;
mod interrupt;
mod render;
mod run;
mod seeds;
#[path = "../shared"]
mod shared {
    pub(crate) mod command;
    pub(crate) mod definition;
    pub(crate) mod flashable;
    pub(crate) mod noise;
    mod tiny_image;
    mod tiny_stub;
    mod trees;
}
mod support;
mod usage;
