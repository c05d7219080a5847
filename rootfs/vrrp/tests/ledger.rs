//! The ledger of RFC 9568 names tests; this holds it to its word.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const ANSWERS: [&str; 4] = ["test: ", "vipd: ", "differs: ", "not ours: "];

/// The rows of the ledger's tables: section, demand, answer.
fn rows(ledger: &str) -> Vec<(String, String, String)> {
    let cells = |line: &str| {
        let mut cells = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned());
        Some((cells.next()?, cells.next()?, cells.next()?))
    };
    ledger
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| § "))
        .map(|line| cells(line).unwrap_or_else(|| panic!("three cells: {line}")))
        .collect()
}

/// The names of all tests below a folder.
fn tests_below(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("readable").flatten() {
        let path: PathBuf = entry.path();
        if path.is_dir() {
            tests_below(&path, names);
            continue;
        }
        let source = fs::read_to_string(&path).expect("readable");
        for part in source.split("#[test]").skip(1) {
            let name = part.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
            names.extend(name.map(str::to_owned));
        }
    }
}

/// The names of the tests on a wire, which are in tables of their own.
fn tests_on_a_wire(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("readable").flatten() {
        let source = fs::read_to_string(entry.path()).expect("readable");
        let named = source.lines().filter_map(|line| line.strip_prefix("    (\""));
        names.extend(named.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
    }
}

#[test]
fn every_demand_has_an_answer_and_every_named_test_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ledger = fs::read_to_string(root.join("RFC9568.md")).expect("the ledger");
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests", "../vipd/src", "../vipd/tests"] {
        tests_below(&root.join(folder), &mut tests);
    }
    tests_on_a_wire(&root.join("../../qemu-tests/tests/interop"), &mut tests);

    let rows = rows(&ledger);
    assert!(rows.len() > 80, "{} rows", rows.len());
    for (section, demand, answer) in &rows {
        assert!(section.starts_with(|first: char| first.is_ascii_digit()), "{section}: {demand}");
        let known = ANSWERS.iter().any(|word| answer.starts_with(word));
        assert!(known, "{section} {demand}: the answer is one of {ANSWERS:?}");
        // Names of tests are the quoted words of a row that promises some, and long ones elsewhere.
        let promised = answer.starts_with("test: ") || answer.starts_with("vipd: ");
        let quoted = answer.split('`').skip(1).step_by(2);
        let named: Vec<&str> = quoted.filter(|word| promised || word.len() > 30).collect();
        assert!(!promised || !named.is_empty(), "{section} {demand}: names no test");
        for name in named {
            assert!(tests.contains(name), "{section} {demand}: no test is called {name}");
        }
    }
}
