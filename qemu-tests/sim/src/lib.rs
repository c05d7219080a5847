//! sim
pub mod cli; mod effects; pub mod explore; mod judge; pub mod mutants; mod nemesis; mod pg; pub mod plan; pub mod report; mod rng; pub mod run; pub mod shrink; pub mod tiny; mod world;
pub use judge::Violation;
