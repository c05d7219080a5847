//! `check` and `cluster new`, on everything that the project has for them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::shared::command::{command, finish, root};
use crate::support::{builder, files, text};

#[test]
fn every_good_seed_is_good() {
    let seeds = files(&root().join("rootfs/seed/testdata/good"), ".toml");
    assert!(seeds.len() > 5);
    let arguments = seeds.iter().flat_map(|seed| ["--seed", text(seed)]);
    let ran = builder(["check", "--json"].into_iter().chain(arguments)).ended(0);
    let report = ran.json();
    assert_eq!(report["good"], true);
    assert_eq!(report["seeds"].as_array().expect("a list").len(), seeds.len());
    assert!(report["seeds"][0]["node"].is_string() && report["seeds"][0]["problems"].is_null());
}

#[test]
fn every_bad_seed_is_refused_in_the_words_that_were_agreed() {
    let folder = root().join("rootfs/seed/testdata/bad");
    let seeds = files(&folder, ".toml");
    assert!(seeds.len() >= 40);
    for seed in &seeds {
        let name = seed.file_name().expect("a name");
        let mut command = command();
        let ran =
            finish(command.current_dir(&folder).arg("check").arg("--seed").arg(name)).ended(1);
        let expected = fs::read_to_string(seed.with_extension("expected")).expect("read");
        assert_eq!(ran.out.trim_end(), expected.trim_end(), "{name:?}");
        assert_eq!(ran.err, "");
    }
    let arguments = seeds.iter().flat_map(|seed| ["--seed", text(seed)]);
    let report = builder(["check", "--json"].into_iter().chain(arguments)).ended(1).json();
    assert_eq!(report["good"], false);
    let all = report["seeds"].as_array().expect("a list");
    assert!(all.iter().all(|seed| !seed["problems"].is_null() && seed["node"].is_null()));
}

#[test]
fn every_cluster_file_becomes_seeds_that_are_good() {
    for file in files(&root().join("images/clusters"), ".toml") {
        let folder = tempfile::tempdir().expect("a folder");
        let site = folder.path().join("site");
        let new = || builder(["cluster", "new", text(&file), "-o", text(&site), "--json"]);
        let report = new().ended(0).json();
        assert_eq!(report["new_secrets"], true, "{}", file.display());
        let secrets = Path::new(report["secrets"].as_str().expect("a path"));
        let mode = secrets.metadata().expect("a folder").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", secrets.display());
        let seeds = report["seeds"].as_array().expect("a list");
        let seeds: Vec<&str> = seeds.iter().map(|seed| seed.as_str().expect("a path")).collect();
        let arguments = seeds.iter().flat_map(|seed| ["--seed", seed]);
        builder(["check"].into_iter().chain(arguments)).ended(0);
        let again = new().ended(1);
        assert!(again.err.contains("is not overwritten"), "{}", again.err);
    }
}

#[test]
fn a_new_site_says_what_to_type_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = folder.path().join("site");
    let file = root().join("images/clusters/pair.toml");
    let ran = builder(["cluster", "new", text(&file), "-o", text(&site)]).ended(0);
    let line = ran.out.lines().find_map(|line| line.strip_prefix("next: builder "));
    let words: Vec<&str> = line.expect("a next command").split(' ').collect();
    let next = builder(words).ended(0);
    assert!(next.out.contains("good seed of node1 in pair"), "{}", next.out);
    assert!(ran.out.contains("keep it private"), "{}", ran.out);
}
