//! A whole archive in miniature, made, signed and served by the test: nothing here leaves the
//! machine, and every way in which an archive, a mirror or a package can lie is tried.

mod fixture;
mod hostile;
mod locking;
mod releases;
mod server;
#[path = "../shared"]
mod shared {
    pub(crate) mod archive_pieces;
    pub(crate) mod noise;
}
mod signing;
mod transfers;
