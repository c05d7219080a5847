//! `diff` tells everything that differs, and nothing else.

use builder::progress::Progress;
use builder::read::diff::{Difference, How, diff};
use builder::root::tree::{Node, Origin};

use crate::fixture::{Image, OTHER_SEED, Recipe, builder, content, package};
use crate::shared::trees::path;

fn compare(left: &Image, right: &Image) -> Difference {
    diff(&left.open(), &right.open(), &Progress::quiet()).expect("both are readable")
}

fn file(bytes: &[u8], mode: u16) -> Node {
    Node::file(content(bytes), mode, Origin::Overlay("base".to_owned()))
}

#[test]
fn equal_images_are_the_same_and_end_with_zero() {
    let (one, other) = (Recipe::default().build(), Recipe::default().build());
    let difference = compare(&one, &other);
    assert!(difference.same, "{}", difference.text());
    assert_eq!(one.bytes(), other.bytes(), "and so are their bytes");
    let (code, text) = builder(&["diff"], &[&one.path, &other.path]);
    assert_eq!((code, text.contains("the same")), (0, true), "{text}");
}

#[test]
fn images_of_two_nodes_differ_in_the_seed_alone() {
    let one = Recipe::default().build();
    let other = Recipe { seed: Some(OTHER_SEED.to_owned()), ..Recipe::default() }.build();
    let (code, text) = builder(&["diff"], &[&one.path, &other.path]);
    assert_eq!(code, 3, "{text}");
    insta::assert_snapshot!(text, @"
    seed
      ~ seed
          - node1 of cluster lab
          + node2 of cluster lab
    ");
    let (code, json) = builder(&["diff", "--json"], &[&one.path, &other.path]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!((code, json["same"].as_bool()), (3, Some(false)));
    assert_eq!(json["files"].as_array().map(Vec::len), Some(0));
}

#[test]
fn each_kind_of_change_to_a_file_is_told() {
    let recipe = |right: bool| {
        let mut recipe = Recipe::default();
        let mut add = |at: &str, node: Node| recipe.root.insert(path(at), node).expect("inserted");
        let pick = |left: Node, other: Node| if right { other } else { left };
        add("/etc/content", pick(file(b"abc", 0o644), file(b"abd", 0o644)));
        add("/etc/size", pick(file(b"abc", 0o644), file(b"abcd", 0o644)));
        add("/etc/mode", pick(file(b"abc", 0o644), file(b"abc", 0o4755)));
        let owned = Node { uid: 5, gid: 7, ..file(b"abc", 0o644) };
        add("/etc/owner", pick(file(b"abc", 0o644), owned));
        let link = |target: &str| Node::symlink(target, Origin::Builder);
        add("/etc/target", pick(link("motd"), link("hosts")));
        add("/etc/kind", pick(file(b"abc", 0o644), link("motd")));
        add(if right { "/etc/added" } else { "/etc/removed" }, file(b"x", 0o644));
        recipe.build()
    };
    let difference = compare(&recipe(false), &recipe(true));
    let told: Vec<String> = difference
        .files
        .iter()
        .filter(|file| !file.path.starts_with("/usr/lib/edgepair/"))
        .map(|file| format!("{:?} {}: {}", file.how, file.path, file.details.join("; ")))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @"
    Added /etc/added: 
    Changed /etc/content: content
    Changed /etc/kind: file -> symlink; mode 0644 -> 0777
    Changed /etc/mode: mode 0644 -> 4755
    Changed /etc/owner: owner 0:0 -> 5:7
    Removed /etc/removed: 
    Changed /etc/size: content, 3 -> 4 bytes
    Changed /etc/target: target motd -> hosts
    ");
    let back = compare(&recipe(true), &recipe(false));
    let how = |path: &str| back.files.iter().find(|file| file.path == path).map(|file| file.how);
    assert_eq!(how("/etc/added"), Some(How::Removed));
    assert_eq!(how("/etc/removed"), Some(How::Added));
}

#[test]
fn packages_and_the_command_line_are_told() {
    let left = Recipe::default().build();
    let mut recipe = Recipe { command_line: "verbose", ..Recipe::default() };
    recipe.manifest.packages = vec![package("libc6", "2.41"), package("postgresql-17", "17.6")];
    recipe.manifest.version = "1.2.4".to_owned();
    recipe.kernel.push(1);
    let difference = compare(&left, &recipe.build());
    let told = |changes: &[builder::read::diff::Change]| {
        changes.iter().map(|change| change.what.clone()).collect::<Vec<_>>()
    };
    assert_eq!(told(&difference.packages), ["libc6", "libstdc++6", "postgresql-17"]);
    assert_eq!(told(&difference.image), ["version"]);
    assert_eq!(told(&difference.boot_files), ["EFI/Linux/edgepair-a.efi", "loader/sha256sums"]);
    assert_eq!(told(&difference.slots), ["slot a command line", "slot a verity root"]);
    let text = difference.text();
    assert!(text.contains("- 1:17.5-1+b1 amd64") && text.contains("+ 17.6 amd64"), "{text}");
    assert!(difference.seed.is_empty());
}
