//! From TOML to typed values, collecting every mistake on the way.
//!
//! Serde's derive stops at the first error and forgets where values stood. This reader walks the
//! document that the `toml` crate parsed with spans, asks each type to read itself ([`Read`]), notes
//! where every key stands (so that rules between sections can point at it later), and collects
//! [`Problem`]s instead of returning the first.

mod document;
mod lines;
mod section;
mod suggest;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Place, Problem, Problems, Wrong};
use crate::reference::SectionDoc;

pub(crate) use document::read_document;
use lines::Lines;
pub(crate) use section::{choice, key_of, section};
pub(crate) use suggest::nearest;
pub(crate) use values::{number, number_of, text_name, text_of, text_value, unknown_word};

pub use document::MAX_SEED_BYTES;

/// How many problems are kept until they are sorted and cut to `MAX_PROBLEMS`. Each costs a walk
/// over the text, and a hostile seed can have tens of thousands.
const MAX_COLLECTED: usize = 1000;

/// A value that can be read from a seed.
pub(crate) trait Read: Sized {
    /// What belongs here, in a few words for messages and for the reference page.
    fn kind() -> String;

    /// Reads the value; `None` after at least one problem was reported.
    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self>;

    /// What stands for a value that could not be read, so that the rest can still be checked. The
    /// problem that was reported keeps it from ever leaving this crate.
    fn stand_in() -> Option<Self> {
        None
    }

    /// The keys of the table that this value is, or is a list of.
    fn section() -> Option<SectionDoc> {
        None
    }

    /// The words that may stand here, with their meanings.
    fn words() -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// What the reference page adds to a section's name: `[[…]]` for a list of tables.
    fn is_list() -> bool {
        false
    }
}

/// One value of the document, with where it stands.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    /// Dotted path, such as `links[0].name`.
    pub(crate) path: String,
    /// Bytes of the text that the value covers; for a table its header.
    pub(crate) span: Range<usize>,
    /// The value.
    pub(crate) value: &'a DeValue<'a>,
}

/// The state of one reading.
#[derive(Debug)]
pub(crate) struct Reader<'t> {
    file: &'t str,
    text: &'t str,
    lines: Lines,
    problems: Vec<(Range<usize>, Problem)>,
    uncollected: usize,
    unsound: BTreeSet<String>,
    places: BTreeMap<String, Range<usize>>,
    /// After a mistake of syntax keys may be missing that were in fact written.
    after_syntax_error: bool,
    /// While a default is read, its values stand nowhere in the file.
    reading_default: bool,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(file: &'t str, text: &'t str) -> Self {
        Self {
            file,
            text,
            lines: Lines::of(text),
            problems: Vec::new(),
            uncollected: 0,
            unsound: BTreeSet::new(),
            places: BTreeMap::new(),
            after_syntax_error: false,
            reading_default: false,
        }
    }

    /// Notes where a value stands.
    fn note_place(&mut self, path: &str, span: Range<usize>) {
        if !self.reading_default {
            self.places.insert(path.to_owned(), span);
        }
    }

    /// Reports a mistake at a span of the text.
    pub(crate) fn report(&mut self, path: &str, span: &Range<usize>, wrong: Wrong) {
        let top = path.split(['.', '[']).next().unwrap_or_default();
        if !self.unsound.contains(top) {
            self.unsound.insert(top.to_owned());
        }
        if self.problems.len() >= MAX_COLLECTED {
            self.uncollected += 1;
            return;
        }
        let line = self.lines.line_of(span.start);
        let secret = path.starts_with("secrets") || self.lines.is_secret(line);
        let at = Place { line, line_start: self.lines.start(line), span, secret };
        let problem = Problem::at(self.file, self.text, path, &at, wrong);
        // One mistake is told once: a second finding about the same characters only repeats it.
        let told = self.problems.iter().any(|(_, old)| {
            old.line == problem.line && old.column == problem.column && old.what == problem.what
        });
        if !told {
            self.problems.push((span.clone(), problem));
        }
    }

    /// Reports a mistake at a key that was read before, or at the nearest table around it.
    pub(crate) fn report_at(&mut self, path: &str, wrong: Wrong) {
        let span = self.place(path);
        self.report(path, &span, wrong);
    }

    /// Where a key stands; of a key that is not written, where its table stands.
    fn place(&self, path: &str) -> Range<usize> {
        let mut wanted = path;
        loop {
            if let Some(span) = self.places.get(wanted) {
                return span.clone();
            }
            match wanted.rfind(['.', '[']) {
                Some(end) => wanted = &wanted[..end],
                None => return 0..0,
            }
        }
    }

    /// The top-level sections that something was reported about.
    pub(crate) fn unsound_sections(&self) -> BTreeSet<String> {
        self.unsound.clone()
    }

    /// Whether nothing was reported about any key below this path.
    pub(crate) fn is_sound_below(&self, path: &str) -> bool {
        !self.after_syntax_error
            && !self.problems.iter().any(|(_, problem)| {
                problem.key.strip_prefix(path).is_some_and(|rest| rest.starts_with(['.', '[']))
            })
    }

    /// All problems in the order of the file.
    pub(crate) fn into_problems(mut self) -> Problems {
        self.problems.sort_by_key(|(span, _)| span.start);
        let mut problems = Problems { left_out: self.uncollected, ..Problems::default() };
        for (_, problem) in self.problems {
            problems.push(problem);
        }
        problems
    }
}

/// A table in the course of being read.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    path: String,
    span: Range<usize>,
    entries: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    /// Opens the table and refuses every key that is not in `known`.
    pub(crate) fn open(item: &Item<'a>, known: &[&str], reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Table(entries) = item.value else {
            reader.report(&item.path, &item.span, values::not_a("table", item.value));
            return None;
        };
        for key in entries.keys() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let path = join(&item.path, name);
                reader.report(&path, &key.span(), unknown_key(name, &item.path, known));
            }
        }
        Some(Self { path: item.path.clone(), span: item.span.clone(), entries })
    }

    /// Reads a key that must be there.
    pub(crate) fn required<T: Read>(&self, key: &str, reader: &mut Reader<'_>) -> Option<T> {
        if let Some(value) = self.entry(key) {
            return self.read(key, value, reader).or_else(T::stand_in);
        }
        if !reader.after_syntax_error {
            let table = shown_table(&self.path);
            reader.report(
                &join(&self.path, key),
                &self.span,
                Wrong::new(
                    format!("the key `{key}` is missing from {table}"),
                    format!("needs `{key}`"),
                    self.how_to_add::<T>(key),
                ),
            );
        }
        T::stand_in()
    }

    /// The mend for a missing key: a table is added in another way than a value.
    fn how_to_add<T: Read>(&self, key: &str) -> String {
        let path = join(&plain_path(&self.path), key);
        match (T::section(), T::is_list()) {
            (Some(_), true) => format!("add [[{path}]]"),
            (Some(_), false) => format!("add [{path}]"),
            (None, _) => format!("add `{key} = …`, which takes: {}", T::kind()),
        }
    }

    /// Reads a key that may be absent.
    pub(crate) fn optional<T: Read>(&self, key: &str, reader: &mut Reader<'_>) -> Option<T> {
        self.read(key, self.entry(key)?, reader)
    }

    /// Reads a key, or else its default, which is written in TOML as the reader of the seed would.
    pub(crate) fn default<T: Read>(
        &self,
        key: &str,
        default: &str,
        reader: &mut Reader<'_>,
    ) -> Option<T> {
        if let Some(value) = self.entry(key) {
            return self.read(key, value, reader);
        }
        // The span of a default is that of the table which lacks the key.
        let parsed = DeValue::parse(default).ok()?;
        let item =
            Item { path: join(&self.path, key), span: self.span.clone(), value: parsed.get_ref() };
        let outer = std::mem::replace(&mut reader.reading_default, true);
        let read = T::read(&item, reader);
        reader.reading_default = outer;
        read
    }

    fn entry(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.entries.get(key)
    }

    fn read<T: Read>(
        &self,
        key: &str,
        value: &'a Spanned<DeValue<'a>>,
        reader: &mut Reader<'_>,
    ) -> Option<T> {
        let path = join(&self.path, key);
        reader.note_place(&path, value.span());
        T::read(&Item { path, span: value.span(), value: value.get_ref() }, reader)
    }
}

/// The dotted path of a key in the table at `path`.
fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// How messages name the table at `path`.
fn shown_table(path: &str) -> String {
    if path.is_empty() {
        return "the seed".to_owned();
    }
    let plain = plain_path(path);
    if path.ends_with(']') { format!("[[{plain}]]") } else { format!("[{plain}]") }
}

/// A path without the positions in lists, as headers are written.
fn plain_path(path: &str) -> String {
    let mut plain = String::new();
    let mut inside = false;
    for character in path.chars() {
        match character {
            '[' => inside = true,
            ']' => inside = false,
            other if !inside => plain.push(other),
            _ => {}
        }
    }
    plain
}

fn unknown_key(name: &str, path: &str, known: &[&str]) -> Wrong {
    let table = shown_table(path);
    let mend = match nearest(name, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("remove it; {table} knows {}", known.join(", ")),
    };
    Wrong::new(format!("{table} has no key `{}`", shorten(name)), "unknown key", mend)
}

/// Text of the seed that is quoted in a message, cut to a readable length.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN: usize = 40;
    let clean: String =
        text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() { format!("{clean}…") } else { clean }
}
