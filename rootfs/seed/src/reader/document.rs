//! The whole text: its size, its syntax, and which of its lines hold secrets.

use std::ops::Range;

use toml::de::{DeTable, DeValue, Error};

use super::{Item, Read, Reader};
use crate::problem::Wrong;

/// The largest seed that is read. A full one with every certificate of a site is about 30 KiB; a
/// larger file is no seed, and PID 1 shall not spend memory on finding that out.
pub const MAX_SEED_BYTES: usize = 256 * 1024;

/// Reads the document as one `T`; problems are left in the reader.
pub(crate) fn read_document<T: Read>(reader: &mut Reader<'_>) -> Option<T> {
    let text = reader.text;
    if text.len() > MAX_SEED_BYTES {
        let kib = text.len().div_ceil(1024);
        let wrong = Wrong::new(
            "the seed is too large",
            format!(
                "this file has {kib} KiB; at most {} are read",
                MAX_SEED_BYTES / 1024
            ),
            "check that this is a seed and no other file",
        );
        reader.report("", &(0..1), wrong);
        return None;
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        reader.report("", &visible(text, &span), syntax(error));
    }
    reader.after_syntax_error = !errors.is_empty();
    let root = DeValue::Table(document.into_inner());
    let item = Item {
        path: String::new(),
        span: 0..1,
        value: &root,
    };
    let read = T::read(&item, reader);
    if reader.after_syntax_error {
        drop_followers(reader);
        return None;
    }
    read
}

/// After a mistake of syntax the parser guesses on; what is then said about the same line is noise.
fn drop_followers(reader: &mut Reader<'_>) {
    let broken: Vec<usize> = reader
        .problems
        .iter()
        .filter(|(_, problem)| problem.key.is_empty())
        .map(|(_, problem)| problem.line)
        .collect();
    reader
        .problems
        .retain(|(_, problem)| problem.key.is_empty() || !broken.contains(&problem.line));
}

/// An error at a line's end is shown on that line and not at the start of the next.
fn visible(text: &str, span: &Range<usize>) -> Range<usize> {
    let at_end = span.start >= text.len() || text.as_bytes()[span.start] == b'\n';
    if at_end && span.start > 0 && text.as_bytes()[span.start - 1] != b'\n' {
        return span.start - 1..span.start;
    }
    span.clone()
}

/// What the TOML parser found, in the words of our messages.
fn syntax(error: &Error) -> Wrong {
    let message = error.message();
    if message.contains("duplicate key") {
        return Wrong::new(
            "a key or table is written twice",
            "was already set above",
            "keep one of the two; a list of tables has two brackets: `[[links]]`",
        );
    }
    let mend = if message.contains("string") || message.contains("quot") {
        "put text between double quotes, and close them on the same line"
    } else if message.contains("array") || message.contains("`]`") {
        "close the list or the header with `]` and separate values with commas"
    } else if message.contains('=') || message.contains("key") {
        "write `key = value`, one to a line; text values need double quotes"
    } else {
        "see https://toml.io for the syntax; text values need double quotes"
    };
    Wrong::new("this is not valid TOML", message, mend)
}

/// Whether a place of the text belongs to `[secrets]`, judged by the text alone, since a mistake of
/// syntax has no path.
pub(crate) fn within_secrets(text: &str, position: usize) -> bool {
    let position = text.floor_char_boundary(position.min(text.len()));
    let line_end = text[position..]
        .find('\n')
        .map_or(text.len(), |newline| position + newline);
    let mut secret = false;
    for line in text[..line_end].lines() {
        let line = line.trim_start();
        if line.starts_with('[') {
            secret = line
                .trim_start_matches(['[', ' ', '\t', '"', '\''])
                .starts_with("secrets");
        } else if line.starts_with("secrets") {
            secret = true;
        }
    }
    secret
}
