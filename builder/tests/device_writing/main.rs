//! Images onto disks: what a machine says about its disks, what is written where, and the formats
//! that an image file can have.

mod fixture;
mod flash;
mod formats;
mod identify;
mod machine;
