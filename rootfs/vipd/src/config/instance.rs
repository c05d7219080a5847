//! `[[instances]]`: a VRID and its addresses on one interface.

use std::net::IpAddr;
use std::time::Duration;

use toml::de::DeValue;
use vrrp::packet::{Authentication, Freshness, Ipv4Checksum, Key, Keyring, PASSWORD_BYTES};
use vrrp::wellknown::TTL;
use vrrp::{Interval, Priority, Version};

use super::checks::{self, CheckConfig};
use super::reader::{Reader, Section, Wrong, wrong};
use super::values::{self, Cidr};

/// How far clocks may be apart where signatures are bound to the time.
const CLOCK_WINDOW: Duration = Duration::from_secs(5);
/// keepalived's bounds for the same.
const CLOCK_WINDOW_SECONDS: std::ops::RangeInclusive<u64> = 1..=300;
/// An advert counts its addresses in one byte.
const ADDRESSES_MAX: usize = 255;
/// How often an Active repeats its announcement.
const ANNOUNCE: Duration = Duration::from_secs(30);

/// What allows a router to be Active, beside the election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    None,
    /// The holder on the permit's socket.
    Holder,
}

/// How version 3 adverts are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    pub keyring: Keyring,
    pub freshness: Freshness,
    /// Unsigned adverts are refused.
    pub required: bool,
}

/// One instance as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceConfig {
    pub name: String,
    pub interface: String,
    pub vrid: u8,
    pub addresses: Vec<Cidr>,
    pub version: Version,
    pub priority: Priority,
    pub interval: Interval,
    pub preempt: bool,
    pub preempt_delay: Duration,
    /// Addresses to send from; the interface's own if none of the family is named.
    pub source: Vec<IpAddr>,
    /// Unicast; multicast if empty.
    pub peers: Vec<IpAddr>,
    pub least_ttl: u8,
    pub authentication: Authentication,
    pub signing: Option<Signing>,
    pub checksum: Ipv4Checksum,
    pub permit: Permit,
    pub virtual_mac: bool,
    /// None: announce at takeover only.
    pub announce: Option<Duration>,
    /// Insist on a link-local address first, as RFC 9568 does.
    pub link_local_first: bool,
    pub checks: Vec<CheckConfig>,
}

impl InstanceConfig {
    pub fn has_family(&self, ipv4: bool) -> bool {
        self.family(ipv4).next().is_some()
    }

    pub fn family(&self, ipv4: bool) -> impl Iterator<Item = &Cidr> {
        self.addresses.iter().filter(move |cidr| cidr.address.is_ipv4() == ipv4)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AuthenticationWord {
    None,
    Password,
    Hmac,
    HmacPermissive,
}

const AUTHENTICATIONS: &[(&str, AuthenticationWord)] = &[
    ("none", AuthenticationWord::None),
    ("password", AuthenticationWord::Password),
    ("hmac", AuthenticationWord::Hmac),
    ("hmac-permissive", AuthenticationWord::HmacPermissive),
];
const CHECKSUMS: &[(&str, Ipv4Checksum)] =
    &[("rfc9568", Ipv4Checksum::PacketOnly), ("pseudo", Ipv4Checksum::PseudoHeader)];
const PERMITS: &[(&str, Permit)] = &[("none", Permit::None), ("pgkeeper", Permit::Holder)];

/// Reads one instance; none if something that it can't do without is wrong.
pub(super) fn read(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<InstanceConfig> {
    let name = section.required(reader, "name", "\"api\"", values::word);
    let interface = section.required(reader, "interface", "\"eth0\"", values::interface);
    let vrid = section.required(reader, "vrid", "51", byte(1));
    let addresses = section.list(reader, "addresses", values::cidr);
    let version = section.optional(reader, "version", version).unwrap_or(Version::V3);
    let priority = section.optional(reader, "priority", byte(1)).and_then(Priority::new);
    let interval = section.optional(reader, "interval", values::duration);
    let interval = interval_of(interval, version, section, reader);
    let preempt = section.optional(reader, "preempt", values::truth).unwrap_or(false);
    let preempt_delay = section.optional(reader, "preempt_delay", values::duration);
    let source = section.list(reader, "source", values::address);
    let peers = section.list(reader, "peers", values::address);
    let least_ttl = section.optional(reader, "least_ttl", byte(0)).unwrap_or(TTL);
    let (authentication, signing) = read_authentication(version, section, reader);
    let checksum = section.optional(reader, "checksum", values::choice(CHECKSUMS));
    let permit = section.optional(reader, "permit", values::choice(PERMITS));
    let virtual_mac = section.optional(reader, "virtual_mac", values::truth).unwrap_or(false);
    let announce = section.optional(reader, "announce", values::duration).unwrap_or(ANNOUNCE);
    let link_local_first = section.optional(reader, "link_local_first", values::truth);
    let checks = checks::read(section, reader);
    let instance = InstanceConfig {
        name: name?,
        interface: interface?,
        vrid: vrid?,
        addresses,
        version,
        priority: priority.unwrap_or(Priority::DEFAULT),
        interval,
        preempt,
        preempt_delay: preempt_delay.unwrap_or_default(),
        source,
        peers,
        least_ttl,
        authentication,
        signing,
        checksum: checksum.unwrap_or(Ipv4Checksum::PacketOnly),
        permit: permit.unwrap_or(Permit::None),
        virtual_mac,
        announce: Some(announce).filter(|every| !every.is_zero()),
        link_local_first: link_local_first.unwrap_or(false),
        checks,
    };
    judge(&instance, section, reader);
    Some(instance)
}

fn byte(least: i64) -> impl Fn(&DeValue<'_>) -> Result<u8, Wrong> {
    let number = values::number(least..=255);
    move |value| number(value).map(|number| u8::try_from(number).unwrap_or(u8::MAX))
}

fn version(value: &DeValue<'_>) -> Result<Version, Wrong> {
    match values::number(2..=3)(value)? {
        2 => Ok(Version::V2),
        _ => Ok(Version::V3),
    }
}

fn interval_of(
    wanted: Option<Duration>,
    version: Version,
    section: &Section<'_>,
    reader: &mut Reader<'_>,
) -> Interval {
    let milliseconds = wanted.unwrap_or(Duration::from_secs(1)).as_millis();
    let unit = if version == Version::V2 { 1000 } else { 10 };
    let units =
        u16::try_from(milliseconds / unit).ok().filter(|_| milliseconds.is_multiple_of(unit));
    let interval = units.and_then(|units| match version {
        Version::V2 => Interval::from_seconds(units).ok(),
        Version::V3 => Interval::from_centiseconds(units).ok(),
    });
    interval.unwrap_or_else(|| {
        let mend = match version {
            Version::V2 => "version 2 has whole seconds from \"1s\" to \"255s\"",
            Version::V3 => "version 3 has hundredths of a second, from \"1cs\" to \"4095cs\"",
        };
        let wrong = Wrong { wrong: "no such interval".to_owned(), mend: mend.to_owned() };
        reader.report(&section.span_of("interval"), &section.path_of("interval"), wrong);
        // It only stands in until the file is refused.
        Interval::DEFAULT
    })
}

fn read_authentication(
    version: Version,
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
) -> (Authentication, Option<Signing>) {
    let word = section
        .optional(reader, "authentication", values::choice(AUTHENTICATIONS))
        .unwrap_or(AuthenticationWord::None);
    let password = section.optional(reader, "password", values::text);
    let keys = read_keys(section, reader);
    let active = section.optional(reader, "active_key", byte(1)).unwrap_or(1);
    let by_time = section.optional(reader, "key_by_time", values::truth).unwrap_or(false);
    let window = section.optional(reader, "clock_window", values::duration);
    let mut report = |key: &str, wrong: &str, mend: &str| {
        let wrong = Wrong { wrong: wrong.to_owned(), mend: mend.to_owned() };
        reader.report(&section.span_of(key), &section.path_of(key), wrong);
    };
    let signs = matches!(word, AuthenticationWord::Hmac | AuthenticationWord::HmacPermissive);
    if signs && version == Version::V2 {
        report("authentication", "version 2 has no HMAC", "write `version = 3`");
    }
    if password.is_some() != (word == AuthenticationWord::Password) {
        let mend = "write both `authentication = \"password\"` and `password`, or neither";
        report("password", "password and authentication don't agree", mend);
    }
    if signs == keys.is_empty() {
        let mend = "write both `authentication = \"hmac\"` and `[[instances.keys]]`, or neither";
        report("keys", "keys and authentication don't agree", mend);
    }
    let authentication = match (word, password) {
        (AuthenticationWord::Password, Some(password)) => {
            if version == Version::V3 {
                let mend = "write `version = 2`, or `authentication = \"hmac\"`";
                report("authentication", "version 3 has no passwords", mend);
            }
            if password.is_empty() || password.len() > PASSWORD_BYTES {
                report("password", "the field has 8 bytes", "shorten the password on all routers");
            }
            Authentication::password(password.as_bytes())
        }
        _ => Authentication::None,
    };
    let seconds = window.unwrap_or(CLOCK_WINDOW).as_secs();
    if !CLOCK_WINDOW_SECONDS.contains(&seconds) {
        report("clock_window", "the window is 1 to 300 seconds", "write `clock_window = \"5s\"`");
    }
    let seconds = u16::try_from(seconds).unwrap_or(u16::MAX);
    let freshness = if by_time { Freshness::Window { seconds } } else { Freshness::Monotonic };
    let required = word == AuthenticationWord::Hmac;
    let signing = match Keyring::new(keys, active) {
        Ok(keyring) if signs => Some(Signing { keyring, freshness, required }),
        Err(error) if signs => {
            report("active_key", &error.to_string(), "compare `active_key` with the keys' ids");
            None
        }
        _ => None,
    };
    (authentication, signing)
}

fn read_keys(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Vec<Key> {
    let mut keys = Vec::new();
    for mut table in section.sections(reader, "keys") {
        let id = table.optional(reader, "id", byte(1)).unwrap_or(1);
        let secret = table.required(reader, "secret", "\"hex:…\"", |value| {
            let bytes = values::secret(value)?;
            Key::new(id, &bytes).or_else(|error| {
                wrong(error.to_string(), "make one with `openssl rand -hex 32`, after \"hex:\"")
            })
        });
        keys.extend(secret);
        table.finish(reader);
    }
    keys
}

/// What the keys demand of each other.
fn judge(instance: &InstanceConfig, section: &Section<'_>, reader: &mut Reader<'_>) {
    let mut report = |key: &str, wrong: String, mend: &str| {
        let wrong = Wrong { wrong, mend: mend.to_owned() };
        reader.report(&section.span_of(key), &section.path_of(key), wrong);
    };
    let count = instance.addresses.len();
    if count == 0 || count > ADDRESSES_MAX {
        let wrong = format!("{count} addresses where 1 to {ADDRESSES_MAX} belong");
        report("addresses", wrong, "write for example `addresses = [\"192.0.2.10/24\"]`");
    }
    for (index, cidr) in instance.addresses.iter().enumerate() {
        if instance.addresses.iter().skip(index + 1).any(|other| other.address == cidr.address) {
            report("addresses", format!("{} stands twice", cidr.address), "remove one");
        }
    }
    if instance.version == Version::V2 && instance.has_family(false) {
        report("addresses", "version 2 has no IPv6".to_owned(), "write `version = 3`");
    }
    if !instance.preempt && !instance.preempt_delay.is_zero() {
        let wrong = "a delay of preemption without preemption".to_owned();
        report("preempt_delay", wrong, "write `preempt = true`, or remove the delay");
    }
    let ours = instance.family(false).next();
    if let Some(first) = ours.filter(|_| instance.link_local_first) {
        let local = matches!(first.address, IpAddr::V6(first) if first.is_unicast_link_local());
        if !local {
            let wrong = format!("{} comes first and is not link-local", first.address);
            report("addresses", wrong, "put a link-local address first");
        }
    }
    for (ipv4, family) in [(true, "IPv4"), (false, "IPv6")] {
        let has = |list: &[IpAddr]| list.iter().any(|address| address.is_ipv4() == ipv4);
        let used = instance.has_family(ipv4);
        if !instance.peers.is_empty() && used != has(&instance.peers) {
            let wrong = format!("the {family} addresses and the {family} peers don't agree");
            report("peers", wrong, "name peers of exactly the families of the addresses");
        }
        if !used && has(&instance.source) {
            let wrong = format!("an {family} source for no {family} address");
            report("source", wrong, "remove it");
        }
    }
    if !instance.peers.is_empty() && instance.virtual_mac {
        let wrong = "a virtual MAC with unicast peers".to_owned();
        report("virtual_mac", wrong, "unicast crosses routers, a MAC does not: remove one of both");
    }
    let weighted = instance.checks.iter().any(|check| check.weight != 0);
    if !instance.preempt && weighted && !instance.priority.is_owner() {
        let wrong =
            "a check with a weight, and no preemption: nobody takes over from a lesser priority";
        report("preempt", wrong.to_owned(), "write `preempt = true`, or give the checks no weight");
    }
    if instance.priority.is_owner() && instance.checks.iter().any(|check| check.weight != 0) {
        let wrong = "the owner's priority does not change".to_owned();
        report("priority", wrong, "choose 254 or less, or give the checks no weight");
    }
}
