//! `[[vips.checks]]`: what decides whether a node is fit to hold a VIP.

use std::net::IpAddr;

use crate::problem::Wrong;
use crate::reader::{Item, Reader, choice, section};
use crate::scalar::{
    AbsolutePath, Argument, Attempts, DurationText, LinkName, Port, Url, Weight, Word,
};

choice! {
    /// What a check looks at.
    CheckKind ("kind of check") {
        /// A command that ends with exit code 0; needs `command`.
        Command = "command",
        /// A TCP port that accepts; needs `port`.
        Tcp = "tcp",
        /// A URL that answers; needs `url`.
        Http = "http",
        /// A file that exists; needs `path`.
        File = "file",
        /// A link that has carrier; needs `link`.
        Carrier = "carrier",
    }
}

section! {
    /// A health check of a VIP, as keepalived's `track_script` and `track_interface` are.
    Check {
        /// The check's name in logs.
        name: Word = required;
        /// What it looks at.
        kind: CheckKind = required;
        /// The program's whole path and its arguments; not given to a shell.
        command: Vec<Argument> = default("[]");
        /// The address to connect to (kind "tcp").
        address: IpAddr = default("'127.0.0.1'");
        /// The port to connect to (kind "tcp").
        port: Port = optional;
        /// The URL to fetch (kind "http"); any answer below 500 is good, since an API server
        /// answers unknown clients with 401. With `http://` the host is an address or "localhost".
        url: Url = optional;
        /// Whether the certificate of an https URL is left unverified.
        insecure: bool = default("false");
        /// The file (kind "file").
        path: AbsolutePath = optional;
        /// The link (kind "carrier").
        link: LinkName = optional;
        /// Time between two checks, 10 ms at least.
        interval: DurationText = default("'1s'");
        /// Time after which a check has failed, 10 ms at least.
        timeout: DurationText = default("'1s'");
        /// Failures in a row until the check counts as failed.
        fall: Attempts = default("3");
        /// Successes in a row until it counts as good again.
        rise: Attempts = default("2");
        /// Change of the priority while failed; 0 means that the node gives the VIP up.
        weight: Weight = default("0");
    }
    rules = makes_sense;
}

/// `vipd` refuses less: what runs more often costs more than it tells.
const LEAST_MS: u64 = 10;

fn makes_sense(check: &Check, item: &Item<'_>, reader: &mut Reader<'_>) {
    has_its_subject(check, item, reader);
    can_be_asked(check, item, reader);
}

fn has_its_subject(check: &Check, item: &Item<'_>, reader: &mut Reader<'_>) {
    let subjects = [
        ("command", !check.command.is_empty(), CheckKind::Command),
        ("port", check.port.is_some(), CheckKind::Tcp),
        ("url", check.url.is_some(), CheckKind::Http),
        ("path", check.path.is_some(), CheckKind::File),
        ("link", check.link.is_some(), CheckKind::Carrier),
    ];
    for (key, given, owner) in subjects {
        if check.kind == owner && !given && reader.is_sound_below(&item.path) {
            let wrong = Wrong::new(
                format!("a check of kind \"{owner}\" needs `{key}`"),
                format!("has no `{key}`"),
                format!("add `{key}`"),
            );
            reader.report(&item.path, &item.span, wrong);
        }
        if check.kind != owner && given {
            let wrong = Wrong::new(
                format!("`{key}` belongs to checks of kind \"{owner}\""),
                format!("this check is of kind \"{}\"", check.kind),
                format!("remove `{key}`, or write `kind = \"{owner}\"`"),
            );
            reader.report_at(&format!("{}.{key}", item.path), wrong);
        }
    }
}

fn can_be_asked(check: &Check, item: &Item<'_>, reader: &mut Reader<'_>) {
    for (key, time) in [("interval", check.interval), ("timeout", check.timeout)] {
        if time.milliseconds() < LEAST_MS {
            let wrong = Wrong::new(
                format!("a check needs time, {LEAST_MS} ms at least"),
                "is less",
                format!("write `{key} = \"1s\"`"),
            );
            reader.report_at(&format!("{}.{key}", item.path), wrong);
        }
    }
    if check.command.first().is_some_and(|program| !program.as_str().starts_with('/')) {
        let wrong = Wrong::new(
            "a command begins with the program's whole path",
            "does not begin with '/'",
            "write it like `command = [\"/usr/bin/check\", \"-q\"]`",
        );
        reader.report_at(&format!("{}.command[0]", item.path), wrong);
    }
    if check.url.as_ref().is_some_and(|url| needs_a_name_server(url.as_str())) {
        let wrong = Wrong::new(
            "an http check names its host by address",
            "has a host name",
            "write the host's IP address: looking names up needs the network that is checked",
        );
        reader.report_at(&format!("{}.url", item.path), wrong);
    }
}

/// Whether this is a plain `http://` URL of a host that `vipd` would have to look up.
fn needs_a_name_server(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    // What is in brackets is an address.
    let host = authority.split(':').next().unwrap_or_default();
    !authority.starts_with('[') && host != "localhost" && host.parse::<IpAddr>().is_err()
}
