//! The name of a service on the wire: short and plain, whoever sent it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest name; overlays can't have longer ones (a label of RFC 1123).
const MAX_NAME_BYTES: usize = 63;

/// A service's name: small letters, digits and `-`, at most 63 of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

/// Something that no service can be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no service can have this name: a name is 1 to {MAX_NAME_BYTES} small letters, digits and '-'; \
     `nodectl status` lists the services"
)]
pub struct BadName;

impl ServiceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ServiceName {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(plain);
        if fits && !text.starts_with('-') { Ok(Self(text)) } else { Err(BadName) }
    }
}

impl std::str::FromStr for ServiceName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        text.to_owned().try_into()
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["haproxy", "k3s", "a-b", &"x".repeat(63)] {
            assert!(good.parse::<ServiceName>().is_ok(), "{good}");
        }
        for bad in ["", "-f", "A", "a/b", "a.b", "a b", "ü", "a\n", &"x".repeat(64)] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad:?}");
        }
    }
}
