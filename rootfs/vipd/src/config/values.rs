//! The values of a configuration: numbers in bounds, durations with units, addresses, words.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::reader::{Wrong, wrong};

/// A virtual address with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    pub address: IpAddr,
    pub prefix: u8,
}

/// The kernel's limit for the name of an interface, without its final zero.
const INTERFACE_BYTES_MAX: usize = 15;

pub(super) fn text(value: &DeValue<'_>) -> Result<String, Wrong> {
    value.as_str().map_or_else(
        || wrong(format!("{} where a text belongs", value.type_str()), "put it in quotes"),
        |text| Ok(text.to_owned()),
    )
}

/// A name in logs and metrics: letters, digits, dash, dot and underscore.
pub(super) fn word(value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = text(value)?;
    let good = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if text.is_empty() || text.len() > 64 || !text.chars().all(good) {
        return wrong(
            format!("{text:?} is no name"),
            "use up to 64 letters, digits, dashes, dots and underscores",
        );
    }
    Ok(text)
}

pub(super) fn interface(value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = text(value)?;
    let bad = |c: char| c.is_whitespace() || c == '/' || c.is_control();
    if text.is_empty() || text.len() > INTERFACE_BYTES_MAX || text.chars().any(bad) {
        let mend = format!("use the kernel's name, of 1 to {INTERFACE_BYTES_MAX} bytes");
        return wrong(format!("{text:?} is no interface"), mend);
    }
    Ok(text)
}

pub(super) fn truth(value: &DeValue<'_>) -> Result<bool, Wrong> {
    value.as_bool().map_or_else(
        || wrong(format!("{} where true or false belongs", value.type_str()), "use no quotes"),
        Ok,
    )
}

pub(super) fn number(bounds: RangeInclusive<i64>) -> impl Fn(&DeValue<'_>) -> Result<i64, Wrong> {
    move |value| {
        let (low, high) = (bounds.start(), bounds.end());
        let mend = format!("write a number from {low} to {high}");
        let Some(integer) = value.as_integer() else {
            return wrong(format!("{} where a number belongs", value.type_str()), mend);
        };
        match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if bounds.contains(&number) => Ok(number),
            _ => wrong(format!("{} is out of bounds", integer.as_str()), mend),
        }
    }
}

/// A duration as text with a unit: `1s`, `250ms`, `10cs` (hundredths), `2m`.
pub(super) fn duration(value: &DeValue<'_>) -> Result<Duration, Wrong> {
    let text = text(value)?;
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let milliseconds = match unit {
        "ms" => Some(1),
        "cs" => Some(10),
        "s" => Some(1000),
        "m" => Some(60_000),
        _ => None,
    };
    let number: Option<u64> = digits.parse().ok();
    match number.zip(milliseconds).and_then(|(number, unit)| number.checked_mul(unit)) {
        Some(total) => Ok(Duration::from_millis(total)),
        None => wrong(
            format!("{text:?} is no duration"),
            "write a whole number and its unit: \"1s\", \"250ms\", \"10cs\", \"2m\"",
        ),
    }
}

pub(super) fn address(value: &DeValue<'_>) -> Result<IpAddr, Wrong> {
    let text = text(value)?;
    match text.parse() {
        Ok(address) => Ok(address),
        Err(_) => wrong(format!("{text:?} is no IP address"), "write one such as \"192.0.2.1\""),
    }
}

/// An address with a prefix length; without one it stands alone, as with keepalived.
pub(super) fn cidr(value: &DeValue<'_>) -> Result<Cidr, Wrong> {
    let text = text(value)?;
    let (address, prefix) = text.split_once('/').map_or((&*text, None), |(a, p)| (a, Some(p)));
    let mend = "write one such as \"192.0.2.10/24\"";
    let Ok(address) = address.parse::<IpAddr>() else {
        return wrong(format!("{text:?} is no IP address"), mend);
    };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix.map(str::parse::<u8>) {
        None => longest,
        Some(Ok(prefix)) if (1..=longest).contains(&prefix) => prefix,
        Some(_) => return wrong(format!("{text:?} has no prefix of 1 to {longest}"), mend),
    };
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return wrong(
            format!("{address} can't be a virtual address"),
            "choose a free host address",
        );
    }
    Ok(Cidr { address, prefix })
}

pub(super) fn path(value: &DeValue<'_>) -> Result<PathBuf, Wrong> {
    let path = PathBuf::from(text(value)?);
    if path.is_absolute() {
        return Ok(path);
    }
    wrong(format!("{} is not absolute", path.display()), "start it with a slash")
}

/// One of a few words.
pub(super) fn choice<T: Copy>(
    words: &'static [(&'static str, T)],
) -> impl Fn(&DeValue<'_>) -> Result<T, Wrong> {
    move |value| {
        let text = text(value)?;
        let known = || words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>();
        words.iter().find(|(word, _)| *word == text).map_or_else(
            || wrong(format!("{text:?} is unknown"), format!("write {}", known().join(" or "))),
            |(_, choice)| Ok(*choice),
        )
    }
}

/// The bytes of a secret: `hex:` and digits, or the text itself.
pub(super) fn secret(value: &DeValue<'_>) -> Result<Vec<u8>, Wrong> {
    let text = text(value)?;
    let Some(digits) = text.strip_prefix("hex:") else { return Ok(text.into_bytes()) };
    let digits = digits.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
            _ => None,
        })
        .collect();
    // The secret itself is not repeated in a message that ends in a log.
    bytes.map_or_else(
        || wrong("what follows \"hex:\" is not hexadecimal", "write two digits for each byte"),
        Ok,
    )
}

/// `http://host:port/path`, or `https://…`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
    pub path: String,
}

impl Url {
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let clean = |text: &str| text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        if authority.contains('@') || !clean(authority) || !clean(path) {
            return None;
        }
        let default = if tls { 443 } else { 80 };
        let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
            let (host, after) = bracketed.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, after.strip_prefix(':').or_else(|| after.is_empty().then_some("")))
        } else if let Some((host, port)) = authority.split_once(':') {
            (host, Some(port))
        } else {
            (authority, Some(""))
        };
        let port = match port? {
            "" => default,
            port => port.parse().ok().filter(|port| *port != 0)?,
        };
        (!host.is_empty()).then(|| Self { tls, host: host.to_owned(), port, path: path.to_owned() })
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(out, "{scheme}://{open}{}{close}:{}{}", self.host, self.port, self.path)
    }
}

pub(super) fn url(value: &DeValue<'_>) -> Result<Url, Wrong> {
    let text = text(value)?;
    Url::parse(&text).map_or_else(
        || {
            wrong(
                format!("{text:?} is no URL"),
                "write \"http://127.0.0.1:8080/health\"; IPv6 addresses go in brackets",
            )
        },
        Ok,
    )
}
