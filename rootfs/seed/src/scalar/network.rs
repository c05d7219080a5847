//! Addresses, networks and ranges of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::problem::Wrong;
use crate::reader::{shorten, text_value};

/// Reads an address without a prefix length.
pub(crate) fn address_from(text: &str) -> Result<IpAddr, Wrong> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let what = "an IPv4 or IPv6 address belongs here";
    if let Some((address, _)) = text.split_once('/')
        && address.parse::<IpAddr>().is_ok()
    {
        return Err(Wrong::new(
            what,
            "has a prefix length too much",
            format!("write it as \"{address}\""),
        ));
    }
    Err(Wrong::new(what, "is no address", "write it like \"192.168.77.1\" or \"fd77::1\""))
}

/// An address together with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// The address without its prefix length.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// The length of the network's prefix in bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether the network of this address contains another address.
    pub fn contains(self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                masked(self.address, self.prefix) == masked(other, self.prefix)
            }
            _ => false,
        }
    }

    /// The first address of the network, all of whose host bits are zero.
    pub fn network(self) -> IpAddr {
        from_bits(self.address, masked(self.address, self.prefix))
    }

    /// The last address of the network: with IPv4 its broadcast address.
    fn last(self) -> IpAddr {
        let width = if self.address.is_ipv4() { 32 } else { 128 };
        let hosts = ones(width - u32::from(self.prefix));
        from_bits(self.address, masked(self.address, self.prefix) | hosts)
    }

    /// Another address with the same prefix length: how this one's network takes it.
    #[must_use]
    pub fn with_address(self, address: IpAddr) -> Self {
        Self { address, prefix: self.prefix }
    }

    /// Whether a host can have the address: not the network's own, none for many, none for oneself.
    pub fn is_host(self) -> bool {
        let of_network = match self.address {
            IpAddr::V4(_) => {
                self.prefix < 31 && (self.address == self.network() || self.address == self.last())
            }
            IpAddr::V6(_) => self.prefix < 127 && self.address == self.network(),
        };
        !of_network && can_be_reached(self.address)
    }
}

/// Whether the address is one that another machine can have.
pub(crate) fn can_be_reached(address: IpAddr) -> bool {
    let everybody = matches!(address, IpAddr::V4(four) if four.is_broadcast());
    !(everybody || address.is_unspecified() || address.is_multicast() || address.is_loopback())
}

/// The lowest `count` bits set.
fn ones(count: u32) -> u128 {
    if count >= 128 { u128::MAX } else { (1 << count) - 1 }
}

/// The address's bits as a number.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address's bits with the host's part cleared.
fn masked(address: IpAddr, prefix: u8) -> u128 {
    let width = if address.is_ipv4() { 32 } else { 128 };
    bits(address) & !ones(width - u32::from(prefix).min(width))
}

/// The address with these bits, of the same family as `family`.
fn from_bits(family: IpAddr, bits: u128) -> IpAddr {
    match family {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX))),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

impl FromStr for Cidr {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let what = "an address with its prefix length belongs here";
        let Some((address, length)) = text.split_once('/') else {
            return Err(match text.parse::<IpAddr>() {
                Ok(address) => Wrong::new(
                    "an address on a link needs its prefix length",
                    "has no prefix length",
                    format!("write it as \"{address}/{}\"", usual_prefix(address)),
                ),
                Err(_) => Wrong::new(what, "is no address", "write it like \"192.168.77.11/24\""),
            });
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(Wrong::new(what, "is no address", "write it like \"192.168.77.11/24\""));
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        match length.parse::<u8>() {
            Ok(prefix) if (1..=most).contains(&prefix) => Ok(Self { address, prefix }),
            _ => Err(Wrong::new(
                format!("a prefix length lies between 1 and {most} here"),
                format!("/{} does not", shorten(length)),
                format!("write it as \"{address}/{}\"", usual_prefix(address)),
            )),
        }
    }
}

/// What most sites use, for the mend.
fn usual_prefix(address: IpAddr) -> u8 {
    if address.is_ipv4() { 24 } else { 64 }
}

impl fmt::Display for Cidr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.prefix)
    }
}

text_value!(Cidr, "address with prefix length");

/// A network: an address with prefix length whose host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(Cidr);

impl Network {
    /// The network's address and prefix length.
    pub fn cidr(self) -> Cidr {
        self.0
    }

    /// Whether the two have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.0.contains(other.0.address) || other.0.contains(self.0.address)
    }
}

impl FromStr for Network {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let cidr: Cidr = text.parse()?;
        if cidr.network() == cidr.address() {
            return Ok(Self(cidr));
        }
        Err(Wrong::new(
            "a network belongs here, not the address of a host in it",
            "has host bits set",
            format!("write it as \"{}/{}\"", cidr.network(), cidr.prefix()),
        ))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

text_value!(Network, "network with prefix length");

/// Where a route leads: a network, or everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Everything that no other route covers.
    Default,
    /// One network.
    Network(Network),
}

impl FromStr for Destination {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        if matches!(text, "default" | "0.0.0.0/0" | "::/0") {
            return Ok(Self::Default);
        }
        text.parse().map(Self::Network)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::Network(network) => network.fmt(out),
        }
    }
}

text_value!(Destination, "network with prefix length, or \"default\"");

/// The hardware address of a network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// The six bytes.
    pub fn bytes(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for MacAddress {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let refuse = |why: &str| {
            Wrong::new(
                "a MAC address has six pairs of hexadecimal digits",
                why,
                "write it like \"52:54:00:77:00:01\"",
            )
        };
        let mut bytes = [0; 6];
        let mut pairs = text.split([':', '-']);
        for byte in &mut bytes {
            let pair = pairs.next().ok_or_else(|| refuse("has fewer than six pairs"))?;
            let digits = pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
            *byte = match u8::from_str_radix(pair, 16) {
                Ok(value) if digits => value,
                _ => return Err(refuse(&format!("\"{}\" is no such pair", shorten(pair)))),
            };
        }
        if pairs.next().is_some() {
            return Err(refuse("has more than six pairs"));
        }
        if bytes[0] & 1 == 1 {
            return Err(refuse("is a group address, which no card has"));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(out, "{separator}{byte:02x}")?;
        }
        Ok(())
    }
}

text_value!(MacAddress, "MAC address");

/// A range of addresses of one family, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// Whether the range contains the address.
    pub fn contains(self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4()
            && (bits(self.first)..=bits(self.last)).contains(&bits(address))
    }
}

impl FromStr for AddressRange {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        if text.contains('/') {
            let network = text.parse::<Network>()?.cidr();
            return Ok(Self { first: network.network(), last: network.last() });
        }
        let refuse = |why: &str| {
            Wrong::new(
                "a range of addresses belongs here",
                why,
                "write it like \"172.16.16.150-172.16.16.190\", the lower address first",
            )
        };
        let (first, last) = text.split_once('-').ok_or_else(|| refuse("is no range"))?;
        let read = |end: &str| end.trim().parse::<IpAddr>().map_err(|_| refuse("is no range"));
        let (first, last) = (read(first)?, read(last)?);
        if first.is_ipv4() != last.is_ipv4() {
            return Err(refuse("mixes IPv4 and IPv6"));
        }
        if first > last {
            return Err(refuse("ends before it begins"));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.first, self.last)
    }
}

text_value!(AddressRange, "address range or network");
