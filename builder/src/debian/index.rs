//! The `Packages` indexes of all suites as one: which packages there are, at their highest version.
//!
//! An index has 69 000 stanzas in 56 MB, of which a build needs a hundred. So one pass notes where
//! each stanza begins and what it is called, and a stanza is parsed only when it is asked for.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use memchr::memchr;
use thiserror::Error;

use super::deb822::Stanza;
use super::mirror::Mirror;
use super::package::{Package, PackageError};
use super::version::Version;

/// Positions are 32 bits wide; Debian's largest index has 57 MB.
pub const INDEX_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// More suggestions than that don't help anybody who mistyped a name.
const SUGGESTIONS: usize = 5;

/// The verified text of one index, and where it came from.
#[derive(Debug)]
pub struct IndexText {
    pub text: String,
    pub suite: String,
    pub mirror: Mirror,
}

/// All indexes together.
#[derive(Debug)]
pub struct Index {
    texts: Vec<IndexText>,
    /// Sorted by name, one per name.
    entries: Vec<Entry>,
    /// Hashes of provided names with the entries that provide them, sorted. Made when first asked
    /// for: a hundred thousand names of which a build asks for a dozen.
    providers: OnceLock<Vec<(u64, u32)>>,
}

/// Where a stanza is, and the parts of it that are needed for finding it.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    text: u32,
    stanza: Span,
    name: Span,
    version: Span,
    provides: Span,
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

/// Why an index can't be used.
#[derive(Debug, Error)]
pub enum IndexError {
    #[error("the index of {suite} at {mirror} has a stanza without a name at byte {position}")]
    Nameless { suite: String, mirror: Mirror, position: usize },
    #[error("the index of {suite} at {mirror} is larger than {INDEX_BYTES_MAX} bytes")]
    TooLarge { suite: String, mirror: Mirror },
    #[error("the index of {suite} describes the package {name} wrongly: {source}")]
    Package { suite: String, name: String, source: PackageError },
}

impl Index {
    /// Merges texts; of equal versions that of the earlier text is taken.
    pub fn new(texts: Vec<IndexText>) -> Result<Self, IndexError> {
        let mut entries = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            scan(text, u32::try_from(number).unwrap_or(u32::MAX), &mut entries)?;
        }
        let mut index = Self { texts, entries: Vec::new(), providers: OnceLock::new() };
        // Indexes are nearly sorted as they come, which this sort makes use of.
        entries.sort_by(|a, b| index.slice(*a, a.name).cmp(index.slice(*b, b.name)));
        let mut best: Vec<Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            match best.last_mut() {
                Some(last) if index.slice(*last, last.name) == index.slice(entry, entry.name) => {
                    if index.is_newer(entry, *last) {
                        *last = entry;
                    }
                }
                _ => best.push(entry),
            }
        }
        index.entries = best;
        Ok(index)
    }

    /// A version that can't be read loses against one that can.
    fn is_newer(&self, entry: Entry, than: Entry) -> bool {
        let version = |entry: Entry| self.slice(entry, entry.version).parse::<Version>().ok();
        version(entry) > version(than)
    }

    fn slice(&self, entry: Entry, span: Span) -> &str {
        let text = self.texts.get(entry.text as usize).map_or("", |text| text.text.as_str());
        text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    fn find(&self, name: &str) -> Option<Entry> {
        let found = self.entries.binary_search_by(|e| self.slice(*e, e.name).cmp(name)).ok()?;
        self.entries.get(found).copied()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The package of this name, at its highest version.
    pub fn package(&self, name: &str) -> Result<Option<Package>, IndexError> {
        let Some(entry) = self.find(name) else {
            return Ok(None);
        };
        let Some(text) = self.texts.get(entry.text as usize) else {
            return Ok(None);
        };
        let stanza = Stanza::new(self.slice(entry, entry.stanza));
        let package = Package::parse(stanza, &text.suite, &text.mirror);
        let describe = |source| {
            let (suite, name) = (text.suite.clone(), name.to_owned());
            IndexError::Package { suite, name, source }
        };
        package.map(Some).map_err(describe)
    }

    /// The names of the packages that provide a name, sorted.
    pub fn providers(&self, name: &str) -> Vec<&str> {
        let providers = self.providers.get_or_init(|| self.collect_providers());
        let wanted = hash(name);
        let start = providers.partition_point(|(hash, _)| *hash < wanted);
        let same = providers.iter().skip(start).take_while(|(hash, _)| *hash == wanted);
        let entries = same.filter_map(|(_, position)| self.entries.get(*position as usize));
        // Two names may have one hash, so what is written decides.
        let really = entries.filter(|entry| {
            let mut provided = provided_names(self.slice(**entry, entry.provides));
            provided.any(|provided| provided == name)
        });
        let mut names: Vec<&str> = really.map(|entry| self.slice(*entry, entry.name)).collect();
        names.dedup();
        names
    }

    fn collect_providers(&self) -> Vec<(u64, u32)> {
        let mut providers = Vec::new();
        for (position, entry) in (0..).zip(&self.entries) {
            let provided = provided_names(self.slice(*entry, entry.provides));
            providers.extend(provided.map(|name| (hash(name), position)));
        }
        providers.sort_unstable();
        providers
    }

    /// Names that somebody who wrote `name` may have meant.
    pub fn similar(&self, name: &str) -> Vec<String> {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || ".-".contains(c));
        let mut found: Vec<(usize, &str)> = Vec::new();
        for entry in &self.entries {
            let candidate = self.slice(*entry, entry.name);
            let other =
                candidate.trim_end_matches(|c: char| c.is_ascii_digit() || ".-".contains(c));
            let distance =
                if other == stem && !stem.is_empty() { 1 } else { distance(name, candidate) };
            if distance <= 2 {
                found.push((distance, candidate));
            }
        }
        found.sort_unstable();
        found.into_iter().take(SUGGESTIONS).map(|(_, name)| name.to_owned()).collect()
    }
}

/// The bare names in a `Provides` field. What is wrong with it is reported when the package itself
/// is asked for.
fn provided_names(provides: &str) -> impl Iterator<Item = &str> {
    let names = provides.split(',').map(str::trim_start);
    let bare = |name: &str| name.find([' ', '(', ':', '\t', '\n']).unwrap_or(name.len());
    names.map(move |name| &name[..bare(name)]).filter(|name| !name.is_empty())
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// Notes every stanza of a text.
fn scan(text: &IndexText, number: u32, entries: &mut Vec<Entry>) -> Result<(), IndexError> {
    let (suite, mirror) = (&text.suite, &text.mirror);
    let bytes = text.text.as_bytes();
    if bytes.len() as u64 > INDEX_BYTES_MAX {
        return Err(IndexError::TooLarge { suite: suite.clone(), mirror: mirror.clone() });
    }
    let span = |start: usize, end: usize| Span { start: narrow(start), end: narrow(end) };
    let mut entry = Entry { text: number, ..Entry::default() };
    let mut stanza_start = 0;
    let mut line_start = 0;
    let mut in_provides = false;
    while line_start <= bytes.len() {
        let rest = &bytes[line_start..];
        let line_end = memchr(b'\n', rest).map_or(bytes.len(), |length| line_start + length);
        let line = &bytes[line_start..line_end];
        match line.first() {
            None => {
                if stanza_start < line_start {
                    entry.stanza = span(stanza_start, line_start);
                    if entry.name.start == entry.name.end {
                        let (suite, mirror) = (suite.clone(), mirror.clone());
                        return Err(IndexError::Nameless { suite, mirror, position: stanza_start });
                    }
                    entries.push(entry);
                }
                entry = Entry { text: number, ..Entry::default() };
                stanza_start = line_end + 1;
            }
            Some(b' ' | b'\t') if in_provides => entry.provides.end = narrow(line_end),
            Some(b' ' | b'\t') => {}
            Some(b'P') => {
                if line.starts_with(b"Package: ") {
                    entry.name = span(line_start + b"Package: ".len(), line_end);
                }
                in_provides = line.starts_with(b"Provides: ");
                if in_provides {
                    entry.provides = span(line_start + b"Provides: ".len(), line_end);
                }
            }
            Some(first) => {
                in_provides = false;
                if *first == b'V' && line.starts_with(b"Version: ") {
                    entry.version = span(line_start + b"Version: ".len(), line_end);
                }
            }
        }
        line_start = line_end + 1;
    }
    // A text without a line end at its end has its last stanza open still.
    if stanza_start < bytes.len() {
        entry.stanza = span(stanza_start, bytes.len());
        if entry.name.start == entry.name.end {
            let (suite, mirror) = (suite.clone(), mirror.clone());
            return Err(IndexError::Nameless { suite, mirror, position: stanza_start });
        }
        entries.push(entry);
    }
    Ok(())
}

/// Texts are at most [`INDEX_BYTES_MAX`] long, so nothing is lost.
fn narrow(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

/// How many letters have to be changed, added or removed to make one name of the other.
fn distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An index of stanzas that say only what a test is about.
    pub(in super::super) fn index(texts: &[&str]) -> Index {
        let complete = |text: &&str| {
            let stanzas = text.split("\n\n").map(|stanza| {
                let digest = "0".repeat(64);
                let version = if stanza.contains("Version:") { "" } else { "\nVersion: 1" };
                let rest = "Architecture: amd64\nFilename: pool/x.deb\nSize: 1";
                format!("{}{version}\n{rest}\nSHA256: {digest}", stanza.trim())
            });
            stanzas.collect::<Vec<_>>().join("\n\n")
        };
        let mirror: Mirror = "http://a.test".parse().expect("a mirror");
        let text = |(number, text): (usize, &&str)| IndexText {
            text: complete(text),
            suite: format!("suite{number}"),
            mirror: mirror.clone(),
        };
        Index::new(texts.iter().enumerate().map(text).collect()).expect("an index")
    }

    #[test]
    fn of_several_suites_the_highest_version_wins() {
        let index = index(&[
            "Package: b\nVersion: 1.10\n\nPackage: a\nVersion: 1.0",
            "Package: a\nVersion: 1.0+deb13u1\n\nPackage: b\nVersion: 1.9\n\nPackage: c",
        ]);
        let found = |name| {
            let package = index.package(name).expect("read").expect("there");
            (package.version.to_string(), package.suite)
        };
        assert_eq!(index.len(), 3);
        assert_eq!(found("a"), ("1.0+deb13u1".to_owned(), "suite1".to_owned()));
        assert_eq!(found("b"), ("1.10".to_owned(), "suite0".to_owned()));
        assert!(index.package("d").expect("read").is_none());
    }

    #[test]
    fn providers_are_found_in_folded_lines_too() {
        let index =
            index(&["Package: a\nProvides: x,\n y (= 2)\nDepends: z\n\nPackage: b\nProvides: y"]);
        assert_eq!(index.providers("y"), ["a", "b"]);
        assert_eq!(index.providers("x"), ["a"]);
        assert!(index.providers("z").is_empty());
    }

    #[test]
    fn mistyped_and_renamed_packages_are_suggested() {
        let index = index(&["Package: libssl3t64\n\nPackage: haproxy\n\nPackage: postgresql-17"]);
        assert_eq!(index.similar("haprox"), ["haproxy"]);
        assert_eq!(index.similar("postgresql-15"), ["postgresql-17"]);
        assert!(index.similar("nginx").is_empty());
    }

    #[test]
    fn stanzas_that_describe_no_package_are_named() {
        let mirror: Mirror = "http://a.test".parse().expect("a mirror");
        let make = |text: &str| {
            let (text, suite) = (text.to_owned(), "trixie".to_owned());
            Index::new(vec![IndexText { text, suite, mirror: mirror.clone() }])
        };
        let error = make("Package: a\n\nVersion: 1\n").expect_err("nameless").to_string();
        assert!(error.contains("trixie") && error.contains("byte 12"), "{error}");
        let broken = make("Package: a\nVersion: 1\nFilename: ../x\n").expect("scanned");
        let error = broken.package("a").expect_err("incomplete").to_string();
        assert!(error.contains('a') && error.contains("Size"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_scanned_without_panic(
            parts in prop::collection::vec(
                "(Package: |Version: |Provides: |P|[a-c, :]{1,3}|\n| )", 0..40
            )
        ) {
            let mirror: Mirror = "http://a.test".parse().expect("a mirror");
            let text = parts.concat();
            let stanzas = super::super::deb822::stanzas(&text).count();
            let suite = String::new();
            if let Ok(index) = Index::new(vec![IndexText { text, suite, mirror }]) {
                prop_assert!(index.len() <= stanzas + 1);
                for name in ["a", "b", "aa"] {
                    let _ = index.package(name);
                    index.providers(name);
                }
            }
        }
    }
}
