//! PURE
mod boot; mod command; mod event; mod facts; mod failover; mod judge; mod link; mod postgres; mod record; mod serve; mod settings; mod state; mod status; mod store; pub mod table; mod vote; mod wire; mod witness; mod words;
pub use boot::*; pub use command::*; pub use event::*; pub use failover::Failover; pub use link::CHANNELS_MAX; pub use record::*; pub use settings::*; pub use state::*; pub use status::Status; pub use wire::*; pub use witness::*; pub use words::*;
