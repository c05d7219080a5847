//! Reading written images: `inspect`, `diff` and `verify`, on a small image made by the library.

mod comparing;
mod damage;
mod fixture;
mod inspecting;
#[path = "../shared"]
mod shared {
    pub(crate) mod command;
    pub(crate) mod definition;
    pub(crate) mod tiny_image;
    mod tiny_stub;
    pub(crate) mod trees;
}
