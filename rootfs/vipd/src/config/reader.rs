//! A strict reader of TOML: every mistake is said with its line, its key and its mend, all at once.
//!
//! A [`Section`] is asked for its keys one by one. What was never asked for is unknown and refused,
//! with the nearest known key, so the list of keys can't fall behind the code that reads them.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub line: usize,
    /// Dotted, such as `instances[0].vrid`; empty for the file as a whole.
    pub key: String,
    pub wrong: String,
    pub mend: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.key.is_empty() { "" } else { ": " };
        write!(out, "{}: {}{colon}{}; {}", self.line, self.key, self.wrong, self.mend)
    }
}

/// What is wrong with a value, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub wrong: String,
    pub mend: String,
}

pub(super) fn wrong<T>(wrong: impl Into<String>, mend: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { wrong: wrong.into(), mend: mend.into() })
}

/// Collects what is wrong with one file.
#[derive(Debug)]
pub(super) struct Reader<'t> {
    text: &'t str,
    pub problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, problems: Vec::new() }
    }

    pub(super) fn report(&mut self, span: &Range<usize>, key: &str, wrong: Wrong) {
        let line = self.line(span);
        self.problems.push(Problem {
            line,
            key: key.to_owned(),
            wrong: wrong.wrong,
            mend: wrong.mend,
        });
    }

    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        before.split(|byte| *byte == b'\n').count()
    }
}

/// One table, and which of its keys were asked for.
#[derive(Debug)]
pub(super) struct Section<'t> {
    path: String,
    span: Range<usize>,
    table: &'t DeTable<'t>,
    asked: Vec<&'static str>,
}

impl<'t> Section<'t> {
    pub(super) fn new(path: String, span: Range<usize>, table: &'t DeTable<'t>) -> Self {
        Self { path, span, table, asked: Vec::new() }
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value's place in the file, or the section's if it is absent.
    pub(super) fn span_of(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or_else(|| self.span.clone(), Spanned::span)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The value, read; none if it is absent or wrong, which is then reported.
    pub(super) fn optional<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<T> {
        self.asked.push(key);
        let value = self.table.get(key)?;
        match read(value.get_ref()) {
            Ok(read) => Some(read),
            Err(wrong) => {
                reader.report(&value.span(), &self.path_of(key), wrong);
                None
            }
        }
    }

    pub(super) fn required<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        example: &str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<T> {
        if !self.has(key) {
            self.asked.push(key);
            let wrong = Wrong {
                wrong: format!("`{key}` is missing"),
                mend: format!("write for example `{key} = {example}`"),
            };
            reader.report(&self.span.clone(), &self.path_of(key), wrong);
            return None;
        }
        self.optional(reader, key, read)
    }

    /// A list, element by element; each mistake has its index.
    pub(super) fn list<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Vec<T> {
        self.asked.push(key);
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let Some(elements) = value.get_ref().as_array() else {
            let wrong = Wrong {
                wrong: format!("{} where a list belongs", value.get_ref().type_str()),
                mend: format!("write `{key} = [ … ]`"),
            };
            reader.report(&value.span(), &self.path_of(key), wrong);
            return Vec::new();
        };
        let mut all = Vec::new();
        for (index, element) in elements.iter().enumerate() {
            match read(element.get_ref()) {
                Ok(read) => all.push(read),
                Err(wrong) => {
                    let path = format!("{}[{index}]", self.path_of(key));
                    reader.report(&element.span(), &path, wrong);
                }
            }
        }
        all
    }

    /// The tables of `[[key]]`.
    pub(super) fn sections(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
    ) -> Vec<Section<'t>> {
        self.asked.push(key);
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let elements = value.get_ref().as_array().map(|array| array.iter().enumerate());
        let mut all = Vec::new();
        for (index, element) in elements.into_iter().flatten() {
            if let Some(table) = element.get_ref().as_table() {
                let path = format!("{}[{index}]", self.path_of(key));
                all.push(Section::new(path, element.span(), table));
            }
        }
        let whole = value.get_ref().as_array().is_some_and(|array| array.len() == all.len());
        if !whole {
            let wrong = Wrong {
                wrong: "not a list of tables".to_owned(),
                mend: format!("write `[[{}]]` and the keys below it", self.path_of(key)),
            };
            reader.report(&value.span(), &self.path_of(key), wrong);
        }
        all
    }

    /// Reports every key that nothing asked for.
    pub(super) fn finish(self, reader: &mut Reader<'_>) {
        for (key, _) in self.table {
            let name = key.get_ref();
            if self.asked.iter().any(|asked| asked == name) {
                continue;
            }
            let mend = nearest(name, &self.asked).map_or_else(
                || format!("known here: {}", self.asked.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            let wrong = Wrong { wrong: "unknown key".to_owned(), mend };
            reader.report(&key.span(), &self.path_of(name), wrong);
        }
    }
}

/// The known key that differs in few letters, if one does.
fn nearest<'w>(given: &str, known: &[&'w str]) -> Option<&'w str> {
    /// No key of ours is as long, and the cost is quadratic.
    const COMPARED_BYTES_MAX: usize = 32;
    if given.len() > COMPARED_BYTES_MAX {
        return None;
    }
    let near = known.iter().map(|word| (distance(given.as_bytes(), word.as_bytes()), *word));
    near.filter(|(far, word)| far * 3 <= word.len().max(3)).min().map(|(_, word)| word)
}

fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, l) in left.iter().enumerate() {
        let mut diagonal = row;
        let mut current = row + 1;
        for (column, r) in right.iter().enumerate() {
            let above = last.get(column + 1).copied().unwrap_or(usize::MAX - 1);
            let best = (diagonal + usize::from(l != r)).min(above + 1).min(current + 1);
            diagonal = above;
            if let Some(cell) = last.get_mut(column) {
                *cell = current;
            }
            current = best;
        }
        if let Some(cell) = last.last_mut() {
            *cell = current;
        }
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_misspelt_key_is_recognised_and_a_strange_one_is_not() {
        let known = ["vrid", "interface", "addresses"];
        assert_eq!(nearest("adresses", &known), Some("addresses"));
        assert_eq!(nearest("vird", &["vrid2", "name"]), None);
        assert_eq!(nearest("interfaces", &known), Some("interface"));
        assert_eq!(nearest("state", &known), None);
    }
}
