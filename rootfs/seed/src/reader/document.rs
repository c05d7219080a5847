//! The whole text: its size and its syntax.

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
            format!("this file has {kib} KiB; at most {} are read", MAX_SEED_BYTES / 1024),
            "check that this is a seed and no other file",
        );
        reader.report("", &(0..1), wrong);
        return None;
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut open_list = None;
    // In a table that is written twice, its keys are often too, and need no telling.
    let mut repeated_table = None;
    for error in &errors {
        // A list that is not closed swallows what follows, and each line of it looks wrong.
        let span = visible(text, &error.span().unwrap_or(0..0));
        let line_start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
        let header = text[line_start..].trim_start().starts_with('[');
        let within_repeated = repeated_table
            .is_some_and(|start: usize| !header && !text[start..line_start].contains("\n["));
        if open_list.is_some() || within_repeated {
            continue;
        }
        repeated_table = (header && is_repetition(error)).then_some(span.start);
        reader.report("", &span, syntax(error, header));
        if error.message().contains("array") {
            open_list = Some(span.start);
        }
    }
    reader.after_syntax_error = !errors.is_empty();
    let root = DeValue::Table(document.into_inner());
    let item = Item { path: String::new(), span: 0..1, value: &root };
    let read = T::read(&item, reader);
    if reader.after_syntax_error {
        drop_followers(reader, open_list.unwrap_or(usize::MAX));
        return None;
    }
    read
}

/// After a mistake of syntax the parser guesses on; what is then said about the same line is noise,
/// and so is everything behind the start of an open list.
fn drop_followers(reader: &mut Reader<'_>, open_list: usize) {
    let broken: Vec<usize> = reader
        .problems
        .iter()
        .filter(|(_, problem)| problem.key.is_empty())
        .map(|(_, problem)| problem.line)
        .collect();
    reader.problems.retain(|(span, problem)| {
        problem.key.is_empty() || (span.start < open_list && !broken.contains(&problem.line))
    });
}

/// The span on character boundaries; an error at a line's end is shown on that line and not at the
/// start of the next.
fn visible(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let at_end = text[start..].is_empty() || text[start..].starts_with('\n');
    match text[..start].char_indices().next_back() {
        Some((last, character)) if at_end && character != '\n' => last..start,
        _ => start..text.floor_char_boundary(span.end.min(text.len())).max(start),
    }
}

fn is_repetition(error: &Error) -> bool {
    error.message().contains("duplicate key")
}

/// What the TOML parser found, in the words of our messages.
fn syntax(error: &Error, header: bool) -> Wrong {
    let message = error.message();
    if is_repetition(error) {
        return if header {
            Wrong::new(
                "a table is written twice",
                "was already begun above",
                "put all of its keys under one header; lists of tables have two brackets: `[[links]]`",
            )
        } else {
            Wrong::new("a key is written twice", "was already set above", "keep one of the two")
        };
    }
    if message.contains("array") {
        return Wrong::new(
            "a list is not closed, or its values are not separated",
            message,
            "close the list before this place with `]`, and put commas between its values",
        );
    }
    let mend = if message.contains("string") || message.contains("quot") {
        "put text between double quotes, and close them on the same line"
    } else if message.contains("`]`") {
        "close the header with `]`, or `]]` if it has two brackets"
    } else if message.contains('=') || message.contains("key") {
        "write `key = value`, one to a line; text values need double quotes"
    } else {
        "see https://toml.io for the syntax; text values need double quotes"
    };
    Wrong::new("this is not valid TOML", message, mend)
}
