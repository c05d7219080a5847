//! The single values of a seed: names, addresses, durations, sizes, secrets.
//!
//! Each is a type that can't hold anything invalid; its `FromStr` says what is wrong and how to mend
//! it, so that the same rule speaks the same words wherever the value stands.

mod host;
mod names;
mod network;
mod numbers;
mod quantity;
mod secret;
mod text;

pub use host::{Endpoint, HostName, Url};
pub use names::{Identifier, LinkName, LinkPattern, NodeName, Word};
pub use network::{AddressRange, Cidr, Destination, MacAddress, Network};
pub use numbers::{
    Attempts, BalancerConnections, Connections, Count, Mtu, Percent, Port, Priority, Share, Ttl,
    UnixId, VlanId, Vrid, Weight,
};
pub use quantity::{Bytes, DurationText};
pub use secret::{REDACTED, Secret};
pub use text::{AbsolutePath, Argument, Fingerprint, Line, NodeLabel, NodeTaint};

pub(crate) use network::{address_from, can_be_reached};
