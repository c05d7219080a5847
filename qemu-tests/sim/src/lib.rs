//! sim
mod judge; mod pg; mod plan; mod rng; mod run; mod world; mod effects; mod nemesis;
pub use judge::Violation; pub use plan::*; pub use run::*;
