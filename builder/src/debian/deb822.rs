//! Debian's control format (RFC 822-like stanzas), read without copying.
//!
//! Packages indexes, Release files, control members and apt's `.sources` all use it. A stanza is a
//! run of lines; a field is `Name: value` with continuation lines that start with a blank. The
//! parser hands out slices of the text it was given, so that 56 MB of index cost one pass.

use thiserror::Error;

/// Why a stanza can't be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Deb822Error {
    #[error("the line {0:?} has no `Name: value`")]
    NoColon(String),
    #[error("the line {0:?} continues a field, but none was begun")]
    StrayContinuation(String),
}

/// One `Name: value`; the value keeps its continuation lines as they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a str,
    pub value: &'a str,
}

/// A run of lines without a blank line in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stanza<'a> {
    text: &'a str,
}

/// Longer quotations of a bad line would drown the message.
const QUOTED_CHARACTERS: usize = 60;

/// The stanzas of a text, in order.
pub fn stanzas(text: &str) -> impl Iterator<Item = Stanza<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        // Blank lines before a stanza belong to none.
        loop {
            let (line, after) = split_line(rest);
            if rest.is_empty() || !is_blank(line) {
                break;
            }
            rest = after;
        }
        if rest.is_empty() {
            return None;
        }
        let start = rest;
        loop {
            let (line, after) = split_line(rest);
            if rest.is_empty() || is_blank(line) {
                break;
            }
            rest = after;
        }
        Some(Stanza { text: &start[..start.len() - rest.len()] })
    })
}

impl<'a> Stanza<'a> {
    /// A stanza whose bounds are known already, as from an index.
    pub fn new(text: &'a str) -> Self {
        Self { text }
    }

    /// The fields in order; comment lines are skipped.
    pub fn fields(self) -> impl Iterator<Item = Result<Field<'a>, Deb822Error>> {
        let mut rest = self.text;
        std::iter::from_fn(move || {
            loop {
                if rest.is_empty() {
                    return None;
                }
                let (line, after) = split_line(rest);
                if line.starts_with('#') || is_blank(line) {
                    rest = after;
                    continue;
                }
                let (field, after) = take_field(rest);
                rest = after;
                return Some(field);
            }
        })
    }

    /// The value of a field, trimmed; names are compared without regard to case. A stanza that is
    /// broken before the field counts as not having it.
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.fields()
            .map_while(Result::ok)
            .find(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value.trim())
    }
}

impl<'a> Field<'a> {
    /// The lines of the value, trimmed, without empty and comment lines.
    pub fn lines(self) -> impl Iterator<Item = &'a str> {
        let lines = self.value.split('\n').filter(|line| !line.starts_with('#'));
        lines.map(str::trim).filter(|line| !line.is_empty())
    }
}

fn take_field(text: &str) -> (Result<Field<'_>, Deb822Error>, &str) {
    let (line, mut rest) = split_line(text);
    let quoted = || line.chars().take(QUOTED_CHARACTERS).collect();
    if line.starts_with([' ', '\t']) {
        return (Err(Deb822Error::StrayContinuation(quoted())), rest);
    }
    let Some((name, _)) = line.split_once(':') else {
        return (Err(Deb822Error::NoColon(quoted())), rest);
    };
    // A comment inside a value belongs to it only when the value goes on afterwards.
    let mut end = rest;
    while !rest.is_empty() {
        let (next, after) = split_line(rest);
        if next.starts_with([' ', '\t']) {
            end = after;
        } else if !next.starts_with('#') {
            break;
        }
        rest = after;
    }
    let whole = &text[..text.len() - end.len()];
    let value = whole[name.len() + 1..].trim_end_matches(['\n', '\r']);
    (Ok(Field { name: name.trim(), value }), end)
}

/// The first line without its end, and what follows it.
fn split_line(text: &str) -> (&str, &str) {
    match text.split_once('\n') {
        Some((line, rest)) => (line.strip_suffix('\r').unwrap_or(line), rest),
        None => (text, ""),
    }
}

fn is_blank(line: &str) -> bool {
    line.bytes().all(|byte| byte == b' ' || byte == b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stanzas_are_separated_by_blank_lines_only() {
        let text = "\n\nA: 1\nB: 2\n more\n\n \t\nA: 3\n";
        let all: Vec<_> = stanzas(text).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].get("b"), Some("2\n more"));
        assert_eq!(all[1].get("A"), Some("3"));
        assert_eq!(all[1].get("B"), None);
    }

    #[test]
    fn comments_between_fields_are_no_part_of_a_value() {
        let text = "Types: deb\n# a comment\nURIs: x\n# inside\n y\n# after\nSuites: s\n";
        let stanza = stanzas(text).next().expect("one");
        assert_eq!(stanza.get("Types"), Some("deb"));
        let uris = stanza.fields().nth(1).expect("second").expect("good");
        assert_eq!(uris.lines().collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(stanza.get("Suites"), Some("s"));
    }

    #[test]
    fn bad_lines_are_named() {
        let field = |text| stanzas(text).next().expect("one").fields().next().expect("one");
        assert_eq!(field("nonsense"), Err(Deb822Error::NoColon("nonsense".into())));
        assert_eq!(field(" x: y"), Err(Deb822Error::StrayContinuation(" x: y".into())));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic_and_to_its_end(text in "[A-c:# \t\r\n\u{e9}]{0,200}") {
            let bytes: usize = stanzas(&text).map(|stanza| stanza.text.len()).sum();
            prop_assert!(bytes <= text.len());
            for stanza in stanzas(&text) {
                prop_assert!(stanza.fields().count() <= stanza.text.len());
            }
        }

        #[test]
        fn what_was_written_is_read_back(
            fields in prop::collection::vec(("[A-Z][a-z-]{1,8}", "[a-z0-9 (),|]{0,30}"), 1..8)
        ) {
            let lines = fields.iter().map(|(name, value)| format!("{name}: {value}"));
            let text = lines.collect::<Vec<_>>().join("\n");
            let stanza = stanzas(&text).next().expect("one stanza");
            let read: Vec<_> = stanza.fields().map(|field| field.expect("good")).collect();
            prop_assert_eq!(read.len(), fields.len());
            for (field, (name, value)) in read.iter().zip(&fields) {
                prop_assert_eq!(field.name, name);
                prop_assert_eq!(field.value.trim(), value.trim());
            }
        }
    }
}
