//! The reference page of the seed: every key, what it takes, its default, its meaning.
//!
//! The page is generated from the same definitions that read a seed (`section!`), and a test compares
//! it with `REFERENCE.md`, so it can't go stale.

use std::fmt::Write;

/// Whether a key must be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// It must.
    Required,
    /// It may be absent, and then means nothing.
    Optional,
    /// It may be absent, and then has this value (as TOML).
    Default(&'static str),
}

/// What a table of the seed is about.
#[derive(Clone, Debug)]
pub(crate) struct SectionDoc {
    pub(crate) about: &'static str,
    pub(crate) keys: Vec<KeyDoc>,
}

/// One key of a table.
#[derive(Clone, Debug)]
pub(crate) struct KeyDoc {
    pub(crate) name: &'static str,
    pub(crate) kind: String,
    pub(crate) need: Need,
    pub(crate) about: &'static str,
    pub(crate) section: Option<SectionDoc>,
    pub(crate) is_list: bool,
    pub(crate) words: &'static [(&'static str, &'static str)],
}

/// The whole page as Markdown.
pub(crate) fn page(root: &SectionDoc) -> String {
    let mut page = String::from(
        "# Every key of a seed\n\n\
         This page is generated from the code that reads a seed; see `README.md` beside it for an \
         introduction.\n",
    );
    section(&mut page, "", false, root);
    page
}

fn section(page: &mut String, path: &str, is_list: bool, doc: &SectionDoc) {
    let title = match (path, is_list) {
        ("", _) => "Top of the file".to_owned(),
        (path, true) => format!("`[[{path}]]`"),
        (path, false) => format!("`[{path}]`"),
    };
    let _ = writeln!(page, "\n## {title}\n\n{}\n", one_line(doc.about));
    page.push_str("| key | takes | if absent | meaning |\n|---|---|---|---|\n");
    for key in &doc.keys {
        let absent = match key.need {
            Need::Required => "**required**".to_owned(),
            Need::Optional => "–".to_owned(),
            Need::Default("{}") if key.section.is_some() => "as below".to_owned(),
            Need::Default(default) => format!("`{}`", default.replace('\'', "\"")),
        };
        let kind = match (key.words.is_empty(), key.is_list) {
            (true, _) => key.kind.replace('|', "\\|"),
            (false, true) => "list of words, see below".to_owned(),
            (false, false) => "a word, see below".to_owned(),
        };
        let about = one_line(key.about);
        let _ = writeln!(page, "| `{}` | {kind} | {absent} | {about} |", key.name);
    }
    for key in doc.keys.iter().filter(|key| !key.words.is_empty()) {
        let _ = writeln!(page, "\nThe words of `{}`:\n", key.name);
        for (word, about) in key.words {
            let _ = writeln!(page, "- `\"{word}\"`: {}", one_line(about));
        }
    }
    for key in &doc.keys {
        if let Some(inner) = &key.section {
            let path =
                if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
            section(page, &path, key.is_list, inner);
        }
    }
}

/// A doc comment as one paragraph that fits into a table.
fn one_line(about: &str) -> String {
    about.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// Whether a dotted path such as `k3s.cluster_cidr` names a key of the seed.
pub(crate) fn knows(root: &SectionDoc, path: &str) -> bool {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let Some(key) = root.keys.iter().find(|key| key.name == first) else {
        return false;
    };
    match (&key.section, rest) {
        (_, "") => true,
        (Some(inner), rest) if !key.is_list => knows(inner, rest),
        // Maps have free keys below; lists are handed over whole.
        (_, _) => key.kind.starts_with("table of"),
    }
}
