//! Hosts, by name or by address, alone, with a port, or as a URL.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::problem::Wrong;
use crate::reader::{shorten, text_name, text_value};

/// Longest host name (RFC 1035).
const MAX_HOST: usize = 253;
/// Longest URL that is accepted; none of ours comes near.
const MAX_URL: usize = 512;

text_name! {
    /// A host: its name or its address, without a port.
    HostName, "host name or address", host_name
}

fn host_name(text: &str) -> Result<(), Wrong> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let label = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    // Something like 192.168.1.300 is meant as an address and must not pass as a name.
    let numeric =
        text.rsplit('.').next().is_some_and(|top| top.bytes().all(|b| b.is_ascii_digit()));
    if text.len() <= MAX_HOST && !numeric && text.split('.').all(label) {
        return Ok(());
    }
    Err(Wrong::new(
        "a host's name or address belongs here",
        format!("\"{}\" is neither", shorten(text)),
        "write it like \"ntp.example.org\", \"192.168.77.1\" or \"fd77::1\", without a port",
    ))
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: HostName,
    port: u16,
}

impl Endpoint {
    /// A host and its port; `None` if either is invalid.
    pub(crate) fn new(host: &str, port: u16) -> Option<Self> {
        Some(Self { host: host.parse().ok()?, port: Some(port).filter(|port| *port > 0)? })
    }

    /// The URL of the endpoint.
    pub(crate) fn url(&self, scheme: &str) -> Option<Url> {
        format!("{scheme}://{self}").parse().ok()
    }

    /// The host's name or address.
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Endpoint {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let refuse = |why: &str| {
            Wrong::new(
                "a host and a port belong here",
                why,
                "write it like \"192.168.77.20:6443\" or \"[fd77::20]:6443\"",
            )
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| refuse("has no port"))?;
        let bare = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        if bare.is_none() && host.contains(':') {
            return Err(refuse("needs brackets around the IPv6 address"));
        }
        if bare.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_err()) {
            return Err(refuse("has brackets around something else than an IPv6 address"));
        }
        let port = port.parse::<u16>().ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| refuse("has no valid port"))?;
        Ok(Self { host: bare.unwrap_or(host).parse()?, port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.as_str().contains(':') {
            write!(out, "[{}]:{}", self.host, self.port)
        } else {
            write!(out, "{}:{}", self.host, self.port)
        }
    }
}

text_value!(Endpoint, "host:port");

text_name! {
    /// An `http://` or `https://` address without user and password.
    Url, "http:// or https:// URL", url
}

fn url(text: &str) -> Result<(), Wrong> {
    let refuse = |why: String| {
        Wrong::new(
            "a URL belongs here",
            why,
            "write it like \"https://192.168.77.10:6443\"; passwords belong into [secrets]",
        )
    };
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Err(refuse("begins with neither http:// nor https://".to_owned()));
    };
    if text.len() > MAX_URL || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'"') {
        return Err(refuse("is too long or has a character that URLs don't have".to_owned()));
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains(['?', '#']) {
        return Err(refuse("has no '/' behind the host".to_owned()));
    }
    if authority.contains('@') {
        return Err(refuse("contains a user or a password".to_owned()));
    }
    let bare = authority.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let valid = authority.parse::<Endpoint>().is_ok()
        || bare.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok())
        || (!authority.contains(':') && authority.parse::<HostName>().is_ok());
    if valid { Ok(()) } else { Err(refuse(format!("\"{}\" is no host", shorten(authority)))) }
}
