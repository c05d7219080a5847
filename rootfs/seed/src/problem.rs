//! What is wrong with a seed, said so that a person can mend it without reading any manual.
//!
//! A [`Problem`] points at one place of one file; [`Problems`] is everything that was found in one
//! pass. Both print like a compiler's errors and serialise for `--json`. A line that holds a secret
//! is shown without its value, because problems end up on consoles and in tickets.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// How many problems are reported at most. More than a screenful helps nobody, and a hostile seed
/// must not fill the console of a node.
pub const MAX_PROBLEMS: usize = 50;

/// What stands in place of a secret value on a shown line.
const HIDDEN: &str = "(hidden)";

/// How many characters of a source line are shown at most; longer lines are cut around the caret.
const MAX_SHOWN_CHARACTERS: usize = 120;

/// Why one value is refused, before it is known where that value stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}; {mend}")]
pub struct Wrong {
    /// The headline: the rule that was broken.
    pub what: String,
    /// What is the matter with this very value; printed beside the caret.
    pub why: String,
    /// What to do about it.
    pub mend: String,
}

impl Wrong {
    /// A refusal from its three parts.
    pub fn new(what: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), mend: mend.into() }
    }
}

/// Where a mistake stands.
#[derive(Debug)]
pub(crate) struct Place<'s> {
    /// The line, counted from 0.
    pub(crate) line: usize,
    /// Where that line begins.
    pub(crate) line_start: usize,
    /// The bytes that are marked.
    pub(crate) span: &'s Range<usize>,
    /// Whether the line's value must not be shown.
    pub(crate) secret: bool,
}

/// One mistake in a seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file's name as the caller gave it.
    pub file: String,
    /// Dotted path of the key, such as `links[0].addresses[1]`; empty for mistakes of syntax.
    pub key: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// How many characters are marked, at least 1.
    pub length: usize,
    /// The line itself, cut to a readable length, and without the value if that is a secret.
    pub source_line: String,
    /// Where in `source_line` the mark begins, counted from 0.
    #[serde(skip)]
    mark: usize,
    /// The headline.
    pub what: String,
    /// What is wrong with the marked text.
    pub why: String,
    /// What to do about it.
    pub mend: String,
}

impl Problem {
    /// Points at a span of `text`, for other files that are written like seeds. What stands below
    /// `secrets` is not shown.
    pub fn in_text(file: &str, text: &str, key: &str, span: &Range<usize>, wrong: Wrong) -> Self {
        let start = floor_boundary(text, span.start);
        let place = Place {
            line: text[..start].matches('\n').count(),
            line_start: text[..start].rfind('\n').map_or(0, |newline| newline + 1),
            span,
            secret: key == "secrets" || key.starts_with("secrets."),
        };
        Self::at(file, text, key, &place, wrong)
    }

    /// Points at a place of `text`.
    pub(crate) fn at(file: &str, text: &str, key: &str, place: &Place<'_>, wrong: Wrong) -> Self {
        let start = floor_boundary(text, place.span.start);
        let end = floor_boundary(text, place.span.end).max(start);
        let line_start = floor_boundary(text, place.line_start).min(start);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let line_text = text[line_start..line_end].trim_end_matches('\r');
        let marked_end = end.min(line_start + line_text.len()).max(start);
        let column = text[line_start..start].chars().count();
        let length = text[start..marked_end].chars().count().max(1);
        let (source_line, mark, length) = if place.secret {
            let hidden = hide_value(line_text);
            let mark = column.min(hidden.chars().count().saturating_sub(HIDDEN.len()));
            window(&hidden, mark, 1)
        } else {
            window(line_text, column, length)
        };
        Self {
            file: file.to_owned(),
            key: key.to_owned(),
            line: place.line + 1,
            column: column + 1,
            length,
            source_line,
            mark,
            what: wrong.what,
            why: wrong.why,
            mend: wrong.mend,
        }
    }
}

/// Cuts an overlong line around its mark, so that the output stays bounded. Gives the line, where
/// the mark begins in it, and how long it is there.
fn window(line: &str, mark: usize, length: usize) -> (String, usize, usize) {
    let length = length.min(MAX_SHOWN_CHARACTERS);
    if line.chars().count() <= MAX_SHOWN_CHARACTERS {
        return (line.to_owned(), mark, length);
    }
    // The mark begins in the first third of the window, so that its neighbours are seen too.
    let first = mark.saturating_sub(MAX_SHOWN_CHARACTERS / 3);
    let shown: String = line.chars().skip(first).take(MAX_SHOWN_CHARACTERS).collect();
    (shown, mark - first, length.min(MAX_SHOWN_CHARACTERS - (mark - first)))
}

/// The greatest character boundary at or below `index`.
fn floor_boundary(text: &str, index: usize) -> usize {
    text.floor_char_boundary(index.min(text.len()))
}

/// The line up to its `=`, for lines whose value must not be shown.
fn hide_value(line: &str) -> String {
    match line.split_once('=') {
        Some((key, _)) => format!("{key}= {HIDDEN}"),
        None if line.trim_start().starts_with('[') => line.to_owned(),
        None => HIDDEN.to_owned(),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        // A tab would move the caret; control characters could move the terminal's cursor.
        let shown: String =
            self.source_line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let shown = shown.trim_end();
        let indent = " ".repeat(self.mark);
        let carets = "^".repeat(self.length);
        writeln!(out, "error: {}", self.what)?;
        writeln!(out, "{margin}--> {}:{}:{}", self.file, self.line, self.column)?;
        writeln!(out, "{margin} |")?;
        writeln!(out, "{number} | {shown}")?;
        writeln!(out, "{margin} | {indent}{carets} {}", self.why)?;
        writeln!(out, "{margin} = mend: {}", self.mend)
    }
}

/// Everything that is wrong with one seed, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Problems {
    /// The problems that are shown, at most [`MAX_PROBLEMS`].
    pub problems: Vec<Problem>,
    /// How many more there were.
    pub left_out: usize,
}

impl Problems {
    /// Adds one, or only counts it when the list is full.
    pub(crate) fn push(&mut self, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        } else {
            self.left_out += 1;
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// How many problems there are, shown or not.
    pub fn count(&self) -> usize {
        self.problems.len() + self.left_out
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(out, "{problem}")?;
        }
        let file = self.problems.first().map_or("the seed", |problem| problem.file.as_str());
        match self.count() {
            1 => write!(out, "{file}: 1 problem")?,
            count => write!(out, "{file}: {count} problems")?,
        }
        if self.left_out > 0 {
            write!(out, " ({} more not shown)", self.left_out)?;
        }
        Ok(())
    }
}
