//! Images onto disks: what a machine says about its disks, what is written where, and the formats
//! that an image file can have.

mod flash;
mod formats;
mod identify;
mod machine;
#[path = "../shared"]
mod shared {
    pub(crate) mod definition;
    pub(crate) mod flashable;
    pub(crate) mod noise;
    mod tiny_image;
    mod tiny_stub;
    #[path = "../../../rootfs/disk/tests/support/mod.rs"]
    pub(crate) mod tools;
    mod trees;
}
