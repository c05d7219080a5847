//! The planner against a kernel made of values.

mod planning;
mod speaking;
mod world;
