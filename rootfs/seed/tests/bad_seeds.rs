//! One file per mistake, with the message that a person gets to see beside it.
//!
//! A new mistake is a new file in `testdata/bad`; `UPDATE_EXPECT=1 cargo test -p seed` writes its
//! `.expected`, which is then read with the eyes of the person who made the mistake.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The issue asks for 40; fewer would mean that files got lost.
const LEAST_BAD_SEEDS: usize = 45;

fn seeds(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

#[test]
fn each_mistake_is_told_alone_and_as_expected() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let files = seeds("bad");
    assert!(files.len() >= LEAST_BAD_SEEDS, "only {} bad seeds", files.len());
    let mut complaints = Vec::new();
    let mut headlines: BTreeMap<String, String> = BTreeMap::new();
    for path in files {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a readable seed");
        let Err(problems) = seed::parse(&name, &text) else {
            complaints.push(format!("{name} is accepted"));
            continue;
        };
        if problems.count() != 1 {
            complaints.push(format!("{name} has other mistakes than its own:\n{problems}"));
            continue;
        }
        let shown = format!("{problems}\n");
        let expected = path.with_extension("expected");
        if update {
            fs::write(&expected, &shown).expect("a writable folder");
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if wanted != shown {
            complaints.push(format!("{name} says\n{shown}instead of\n{wanted}"));
        }
        let problem = &problems.problems[0];
        let told = format!("{} / {} / {}", problem.what, problem.why, problem.mend);
        if let Some(other) = headlines.insert(told, name.clone()) {
            complaints.push(format!("{name} can't be told from {other}"));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn no_message_shows_a_secret() {
    for path in seeds("bad") {
        let shown = fs::read_to_string(path.with_extension("expected")).unwrap_or_default();
        assert!(!shown.contains("must-not-be-shown"), "{}:\n{shown}", path.display());
    }
}
