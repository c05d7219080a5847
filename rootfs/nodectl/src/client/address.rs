//! Where a node is: `10.0.10.11`, `node1:7432`, `fd77::11`, `[fd77::11]:7432`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The node API's port, unless the seed has another.
pub const DEFAULT_PORT: u16 = 7432;
/// Longest name of a host (RFC 1123).
const MAX_HOST_BYTES: usize = 253;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    /// An address without brackets, or a name.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write an address like 10.0.10.11, [fd77::11]:7432 or node1:7432")]
pub struct BadAddress;

impl FromStr for NodeAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if text.parse::<Ipv6Addr>().is_ok() {
            return Ok(Self { host: text.to_owned(), port: DEFAULT_PORT });
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or(BadAddress)?;
                host.parse::<Ipv6Addr>().map_err(|_| BadAddress)?;
                match port {
                    "" => (host, None),
                    _ => (host, Some(port.strip_prefix(':').ok_or(BadAddress)?)),
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(BadAddress)?,
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
        let name = !host.is_empty() && host.len() <= MAX_HOST_BYTES && host.bytes().all(plain);
        if name || host.parse::<IpAddr>().is_ok() {
            Ok(Self { host: host.to_owned(), port })
        } else {
            Err(BadAddress)
        }
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(out, "[{}]:{}", self.host, self.port)
        } else {
            write!(out, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_read_in_every_usual_form() {
        for (text, shown) in [
            ("10.0.10.11", "10.0.10.11:7432"),
            ("10.0.10.11:99", "10.0.10.11:99"),
            ("fd77::11", "[fd77::11]:7432"),
            ("[fd77::11]", "[fd77::11]:7432"),
            ("[fd77::11]:99", "[fd77::11]:99"),
            ("node1", "node1:7432"),
            ("node1.shop-17:99", "node1.shop-17:99"),
        ] {
            let address: NodeAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
        }
        for bad in ["", ":99", "a b", "a:0", "a:99999", "[fd77::11", "[node1]:9", "[::1]9", "a:b:c"]
        {
            assert_eq!(bad.parse::<NodeAddress>(), Err(BadAddress), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_shown_alike(text in "[a-z0-9:.\\[\\]%-]{0,30}") {
            if let Ok(address) = text.parse::<NodeAddress>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }
}
