//! Texts with a form: paths, arguments, labels, fingerprints.

use crate::problem::Wrong;
use crate::reader::{shorten, text_name};

/// Longest single-line text; long enough for every setting of PostgreSQL that people write.
const MAX_LINE: usize = 1024;
/// Digits of a SHA-256 in hexadecimal.
const SHA256_DIGITS: usize = 64;

text_name! {
    /// One line of free text without control characters.
    Line, "text of one line", line
}

text_name! {
    /// One argument of a command line; it is never given to a shell.
    Argument, "command-line argument", line
}

text_name! {
    /// A path from the root, without `..`.
    AbsolutePath, "absolute path", absolute_path
}

text_name! {
    /// The SHA-256 of a certificate, as 64 hexadecimal digits; colons are allowed.
    Fingerprint, "SHA-256 fingerprint", fingerprint
}

text_name! {
    /// A label of a Kubernetes node: `key=value`.
    NodeLabel, "key=value", node_label
}

text_name! {
    /// A taint of a Kubernetes node: `key=value:Effect`.
    NodeTaint, "key=value:Effect", node_taint
}

fn line(text: &str) -> Result<(), Wrong> {
    let why = if text.is_empty() {
        "is empty"
    } else if text.len() > MAX_LINE {
        "is too long"
    } else if text.chars().any(char::is_control) {
        "contains a control character"
    } else {
        return Ok(());
    };
    Err(Wrong::new(
        "one line of text belongs here",
        why,
        format!("write 1 to {MAX_LINE} characters without line breaks"),
    ))
}

fn absolute_path(text: &str) -> Result<(), Wrong> {
    let why = if !text.starts_with('/') {
        "does not begin with '/'"
    } else if text.split('/').any(|part| matches!(part, "." | "..")) {
        "contains '.' or '..'"
    } else if text.contains("//") || (text.len() > 1 && text.ends_with('/')) {
        "has a '/' too much"
    } else if text.len() > MAX_LINE || text.chars().any(char::is_control) {
        "is too long or contains a control character"
    } else {
        return Ok(());
    };
    Err(Wrong::new("a path from the root belongs here", why, "write it like \"/state/backup\""))
}

fn fingerprint(text: &str) -> Result<(), Wrong> {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b':').collect();
    if digits.len() == SHA256_DIGITS && digits.iter().all(u8::is_ascii_hexdigit) {
        return Ok(());
    }
    Err(Wrong::new(
        format!("a fingerprint is a SHA-256 of {SHA256_DIGITS} hexadecimal digits"),
        format!("has {} characters besides colons", digits.len()),
        "print it with `openssl x509 -noout -fingerprint -sha256 -in operator.crt`",
    ))
}

fn node_label(text: &str) -> Result<(), Wrong> {
    match text.split_once('=') {
        Some((key, value)) if label_key(key) && label_value(value) => Ok(()),
        _ => Err(Wrong::new(
            "a label of a node is a key and a value",
            format!("\"{}\" is none", shorten(text)),
            "write it like \"site=plant-3\" or \"example.org/rack=b\"",
        )),
    }
}

fn node_taint(text: &str) -> Result<(), Wrong> {
    let split = text.rsplit_once(':');
    let valid = split.is_some_and(|(label, effect)| {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        let known = matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute");
        label_key(key) && label_value(value) && known
    });
    if valid {
        return Ok(());
    }
    Err(Wrong::new(
        "a taint of a node is a key, a value and an effect",
        format!("\"{}\" is none", shorten(text)),
        "write it like \"dedicated=db:NoSchedule\" (or PreferNoSchedule, NoExecute)",
    ))
}

/// A key of a label: an optional DNS prefix and a name of at most 63 characters.
fn label_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').unwrap_or(("", key));
    let dns = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    prefix.len() <= 253 && prefix.bytes().all(dns) && !name.is_empty() && label_value(name)
}

fn label_value(value: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    value.len() <= 63
        && value.bytes().all(inner)
        && edge(value.chars().next())
        && edge(value.chars().last())
}
