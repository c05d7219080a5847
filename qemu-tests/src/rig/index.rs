//! `INDEX.md`: the list of drills, written from the table of drills.

use std::fmt::Write as _;

use super::entry::{Begin, Entry, Family};

const HEAD: &str = "# Drills\n\n\
    Written by `builder drill --index` from the table in `drills/`; a test compares the two.\n\
    Each runs with `builder drill NAME`, a family with `builder drill FAMILY`.\n";

/// The page.
pub fn page(families: &[Family]) -> String {
    let mut text = HEAD.to_owned();
    for family in families {
        // Writing to a string can't fail.
        let _written = write!(text, "\n## {}\n\n{}\n\n", family.name, family.about);
        text.push_str("| drill | claims | machines | begins | in CI |\n|---|---|---|---|---|\n");
        for entry in family.drills {
            text.push_str(&row(entry));
        }
    }
    text
}

fn row(entry: &Entry) -> String {
    let ips: Vec<String> = entry.ips.iter().map(ToString::to_string).collect();
    let on = if ips.is_empty() { String::new() } else { format!(" ({})", ips.join(", ")) };
    let begin = match entry.begin {
        Begin::Formed => "formed",
        Begin::Off => "off",
    };
    let ci = if entry.in_ci { "yes" } else { "on demand" };
    let Entry { name, claim, topology, .. } = entry;
    format!("| `{name}`{on} | {claim} | {} | {begin} | {ci} |\n", topology.name)
}
