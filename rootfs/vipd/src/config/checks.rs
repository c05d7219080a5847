//! `[[instances.checks]]`: what decides whether this machine is fit to hold the addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::reader::{Reader, Section, Wrong};
use super::values::{self, Url};

/// What a check looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A program that ends with exit code 0.
    Command(Vec<String>),
    /// A port that accepts.
    Tcp(SocketAddr),
    /// A URL that answers with a status below 500.
    Http {
        url: Url,
        /// Any certificate is taken.
        insecure: bool,
        /// The authorities that an https server's certificate has to come from; the system's if
        /// absent.
        authorities: Option<PathBuf>,
    },
    /// A file that exists.
    File(PathBuf),
    /// An interface with carrier.
    Carrier(String),
}

/// One check of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckConfig {
    pub name: String,
    pub subject: Subject,
    pub interval: Duration,
    pub timeout: Duration,
    /// Failures in a row until it counts as failed.
    pub fall: u32,
    /// Successes in a row until it counts as good again.
    pub rise: u32,
    /// Added to the priority while failed; 0 gives the addresses up.
    pub weight: i16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Command,
    Tcp,
    Http,
    File,
    Carrier,
}

const KINDS: &[(&str, Kind)] = &[
    ("command", Kind::Command),
    ("tcp", Kind::Tcp),
    ("http", Kind::Http),
    ("file", Kind::File),
    ("carrier", Kind::Carrier),
];
/// Which keys belong to which kind, beside those that all have.
const OWN_KEYS: [(&str, Kind); 8] = [
    ("ca", Kind::Http),
    ("command", Kind::Command),
    ("address", Kind::Tcp),
    ("port", Kind::Tcp),
    ("url", Kind::Http),
    ("insecure", Kind::Http),
    ("path", Kind::File),
    ("interface", Kind::Carrier),
];
const EVERY: Duration = Duration::from_secs(1);
const FALL: i64 = 3;
const RISE: i64 = 2;
/// A check that runs more often than this costs more than it tells.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// More than any node has to watch.
const CHECKS_MAX: usize = 32;

/// Reads all checks of an instance.
pub(super) fn read(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Vec<CheckConfig> {
    let mut checks: Vec<CheckConfig> = Vec::new();
    for mut table in section.sections(reader, "checks") {
        if let Some(check) = read_one(&mut table, reader) {
            if checks.iter().any(|earlier| earlier.name == check.name) {
                let wrong = Wrong {
                    wrong: format!("two checks are called \"{}\"", check.name),
                    mend: "give each its own name".to_owned(),
                };
                reader.report(&table.span_of("name"), &table.path_of("name"), wrong);
            }
            checks.push(check);
        }
        table.finish(reader);
    }
    if checks.len() > CHECKS_MAX {
        let wrong = Wrong {
            wrong: format!("{} checks", checks.len()),
            mend: format!("at most {CHECKS_MAX}: gather some in one command"),
        };
        reader.report(&section.span_of("checks"), &section.path_of("checks"), wrong);
    }
    checks
}

fn read_one(table: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<CheckConfig> {
    let name = table.required(reader, "name", "\"haproxy\"", values::word);
    let kind = table.required(reader, "kind", "\"tcp\"", values::choice(KINDS));
    let subject = read_subject(kind, table, reader);
    let interval = table.optional(reader, "interval", values::duration).unwrap_or(EVERY);
    let timeout = table.optional(reader, "timeout", values::duration).unwrap_or(EVERY);
    for (key, time) in [("interval", interval), ("timeout", timeout)] {
        if time < INTERVAL_MIN {
            let wrong = Wrong {
                wrong: format!("{time:?} is too short"),
                mend: format!("write at least `{key} = \"{}ms\"`", INTERVAL_MIN.as_millis()),
            };
            reader.report(&table.span_of(key), &table.path_of(key), wrong);
        }
    }
    let count = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    let fall = table.optional(reader, "fall", values::number(1..=1000)).unwrap_or(FALL);
    let rise = table.optional(reader, "rise", values::number(1..=1000)).unwrap_or(RISE);
    let weight = table.optional(reader, "weight", values::number(-253..=253)).unwrap_or(0);
    Some(CheckConfig {
        name: name?,
        subject: subject?,
        interval,
        timeout,
        fall: count(fall),
        rise: count(rise),
        weight: i16::try_from(weight).unwrap_or(0),
    })
}

fn read_subject(
    kind: Option<Kind>,
    table: &mut Section<'_>,
    reader: &mut Reader<'_>,
) -> Option<Subject> {
    for (key, owner) in OWN_KEYS {
        if kind.is_some_and(|kind| kind != owner) && table.has(key) {
            let owner = KINDS.iter().find(|(_, kind)| *kind == owner).map_or("", |(word, _)| word);
            let wrong = Wrong {
                wrong: format!("belongs to checks of kind \"{owner}\""),
                mend: "remove it, or change the kind".to_owned(),
            };
            reader.report(&table.span_of(key), &table.path_of(key), wrong);
        }
    }
    let command = table.list(reader, "command", values::text);
    let address = table.optional(reader, "address", values::address);
    let needs = |wanted: Kind| kind == Some(wanted);
    let insecure = table.optional(reader, "insecure", values::truth).unwrap_or(false);
    let authorities = table.optional(reader, "ca", values::path);
    let port = needed(needs(Kind::Tcp), table, reader, "port", "6443", values::number(1..=65535));
    let url = needed(
        needs(Kind::Http),
        table,
        reader,
        "url",
        "\"http://127.0.0.1:8080/health\"",
        values::url,
    );
    let path = needed(needs(Kind::File), table, reader, "path", "\"/run/ready\"", values::path);
    let interface =
        needed(needs(Kind::Carrier), table, reader, "interface", "\"eth0\"", values::interface);
    match kind? {
        Kind::Command => {
            if command.first().is_none_or(|program| !program.starts_with('/')) {
                let wrong = Wrong {
                    wrong: "no program with an absolute path".to_owned(),
                    mend: "write for example `command = [\"/usr/bin/check\", \"-q\"]`".to_owned(),
                };
                reader.report(&table.span_of("command"), &table.path_of("command"), wrong);
                return None;
            }
            Some(Subject::Command(command))
        }
        Kind::Tcp => {
            let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            let port = port.and_then(|port| u16::try_from(port).ok())?;
            Some(Subject::Tcp(SocketAddr::new(address, port)))
        }
        Kind::Http => http(url?, insecure, authorities, table, reader),
        Kind::File => path.map(Subject::File),
        Kind::Carrier => interface.map(Subject::Carrier),
    }
}

/// Plain HTTP is asked by the loop itself, which resolves no names.
fn http(
    url: Url,
    insecure: bool,
    authorities: Option<PathBuf>,
    table: &Section<'_>,
    reader: &mut Reader<'_>,
) -> Option<Subject> {
    if !url.tls && url.host != "localhost" && url.host.parse::<IpAddr>().is_err() {
        let wrong = Wrong {
            wrong: format!("\"{}\" is not an address", url.host),
            mend: "write an IP address: looking names up would need the network that is checked"
                .to_owned(),
        };
        reader.report(&table.span_of("url"), &table.path_of("url"), wrong);
        return None;
    }
    Some(Subject::Http { url, insecure, authorities })
}

fn needed<T>(
    required: bool,
    table: &mut Section<'_>,
    reader: &mut Reader<'_>,
    key: &'static str,
    example: &str,
    read: impl Fn(&toml::de::DeValue<'_>) -> Result<T, Wrong>,
) -> Option<T> {
    if required {
        table.required(reader, key, example, read)
    } else {
        table.optional(reader, key, read)
    }
}
