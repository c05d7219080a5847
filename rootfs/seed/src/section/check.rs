//! `[[vips.checks]]`: what decides whether a node is fit to hold a VIP.

use std::net::IpAddr;

use crate::problem::Wrong;
use crate::reader::{Item, Reader, choice, section};
use crate::scalar::{
    AbsolutePath, Argument, Count, DurationText, LinkName, Port, Url, Weight, Word,
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
        /// The command and its arguments; not given to a shell.
        command: Vec<Argument> = default("[]");
        /// The address to connect to (kind "tcp").
        address: IpAddr = default("'127.0.0.1'");
        /// The port to connect to (kind "tcp").
        port: Port = optional;
        /// The URL to fetch (kind "http"); any answer below 500 is good, since an API server
        /// answers unknown clients with 401.
        url: Url = optional;
        /// Whether the certificate of an https URL is left unverified.
        insecure: bool = default("false");
        /// The file (kind "file").
        path: AbsolutePath = optional;
        /// The link (kind "carrier").
        link: LinkName = optional;
        /// Time between two checks.
        interval: DurationText = default("'1s'");
        /// Time after which a check has failed.
        timeout: DurationText = default("'1s'");
        /// Failures in a row until the check counts as failed.
        fall: Count = default("3");
        /// Successes in a row until it counts as good again.
        rise: Count = default("2");
        /// Change of the priority while failed; 0 means that the node gives the VIP up.
        weight: Weight = default("0");
    }
    rules = has_its_subject;
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
    if check.interval.milliseconds() == 0 || check.timeout.milliseconds() == 0 {
        let key = if check.interval.milliseconds() == 0 { "interval" } else { "timeout" };
        let wrong = Wrong::new(
            "a check needs time",
            format!("`{key}` is zero"),
            format!("write `{key} = \"1s\"`"),
        );
        reader.report_at(&format!("{}.{key}", item.path), wrong);
    }
}
