//! Names: of nodes, links, things in a seed, and database objects.

use crate::problem::Wrong;
use crate::reader::{shorten, text_name};

/// Longest label of a host name (RFC 1123).
const MAX_LABEL: usize = 63;
/// Longest name of a network link that Linux accepts (IFNAMSIZ less the final zero).
const MAX_LINK_NAME: usize = 15;
/// Longest name that PostgreSQL keeps whole (NAMEDATALEN less the final zero).
const MAX_IDENTIFIER: usize = 63;

text_name! {
    /// A node's name: one label of a host name (RFC 1123), as Kubernetes wants it too.
    NodeName, "node name", node_name
}

text_name! {
    /// A short name for a thing of the seed: a VIP, a cluster, a front end.
    Word, "name", word
}

text_name! {
    /// The name that a network link shall have on the node.
    LinkName, "link name", link_name
}

text_name! {
    /// A pattern for kernel link names or drivers, where `*` stands for anything.
    LinkPattern, "pattern, may contain *", link_pattern
}

text_name! {
    /// A name inside PostgreSQL: a database, a role, a setting.
    Identifier, "database identifier", identifier
}

fn node_name(text: &str) -> Result<(), Wrong> {
    if let Some(why) = label_fault(text) {
        let suggestion = suggest_label(text);
        return Err(Wrong::new(
            "a node's name is one label of a host name (RFC 1123)",
            why,
            format!("use a-z, 0-9 and '-', at most {MAX_LABEL} characters: \"{suggestion}\""),
        ));
    }
    Ok(())
}

fn word(text: &str) -> Result<(), Wrong> {
    if let Some(why) = label_fault(text) {
        return Err(Wrong::new(
            "a name here consists of small letters, digits and '-'",
            why,
            format!("write it as \"{}\"", suggest_label(text)),
        ));
    }
    Ok(())
}

/// Why a text is no lower-case label of a host name.
fn label_fault(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("is empty".to_owned());
    }
    if text.len() > MAX_LABEL {
        return Some(format!("has {} characters", text.chars().count()));
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if let Some(bad) = text.chars().find(|c| !allowed(*c)) {
        return Some(format!("contains {}", show_character(bad)));
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Some("begins or ends with '-'".to_owned());
    }
    None
}

/// The nearest valid label, for the mend.
fn suggest_label(text: &str) -> String {
    let mended: String = text
        .chars()
        .take(MAX_LABEL)
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    let mended = mended.trim_matches('-');
    if mended.is_empty() { "node1".to_owned() } else { mended.to_owned() }
}

fn link_name(text: &str) -> Result<(), Wrong> {
    let why = if text.is_empty() {
        "is empty".to_owned()
    } else if text.len() > MAX_LINK_NAME {
        format!("has {} characters", text.chars().count())
    } else if text == "lo" || text == "all" || text == "default" {
        "is reserved by the kernel".to_owned()
    } else if let Some(bad) =
        text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
    {
        format!("contains {}", show_character(bad))
    } else if text.starts_with('.') {
        "begins with '.'".to_owned()
    } else {
        return Ok(());
    };
    Err(Wrong::new(
        "a link's name is one that Linux accepts",
        why,
        format!("use letters, digits, '-', '_' and '.', at most {MAX_LINK_NAME}, such as \"lan\""),
    ))
}

fn link_pattern(text: &str) -> Result<(), Wrong> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*');
    if !text.is_empty() && text.len() <= MAX_LABEL && text.chars().all(allowed) {
        return Ok(());
    }
    Err(Wrong::new(
        "a pattern for links has letters, digits, '-', '_', '.' and '*'",
        format!("\"{}\" is none", shorten(text)),
        "write something like \"enp*\" or \"eth0\"",
    ))
}

fn identifier(text: &str) -> Result<(), Wrong> {
    let why = if text.is_empty() {
        "is empty".to_owned()
    } else if text.len() > MAX_IDENTIFIER {
        format!("has {} characters", text.chars().count())
    } else if let Some(bad) =
        text.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_'))
    {
        format!("contains {}", show_character(bad))
    } else if text.starts_with(|c: char| c.is_ascii_digit()) {
        "begins with a digit".to_owned()
    } else if text.starts_with("pg_") {
        "begins with pg_, which PostgreSQL keeps for itself".to_owned()
    } else {
        return Ok(());
    };
    Err(Wrong::new(
        "a name in the database needs no quoting",
        why,
        format!("use a-z, 0-9 and '_', not a digit first, at most {MAX_IDENTIFIER}"),
    ))
}

/// A character as messages show it.
fn show_character(character: char) -> String {
    match character {
        ' ' => "a space".to_owned(),
        c if c.is_control() => "a control character".to_owned(),
        c if c.is_ascii_uppercase() => format!("the capital '{c}'"),
        c => format!("'{c}'"),
    }
}
