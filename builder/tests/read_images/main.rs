//! Reading written images: `inspect`, `diff` and `verify`, on a small image made by the library.

mod comparing;
mod damage;
mod fixture;
mod inspecting;
