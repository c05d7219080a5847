//! `inspect` tells what is in an image, where each file is from, and the bill of materials.

use builder::image::layout::Part;
use serde_json::Value;

use crate::fixture::{Recipe, builder, flip};

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("one JSON object")
}

#[test]
fn people_are_told_what_matters_first() {
    let image = Recipe::default().build();
    let (code, text) = builder(&["inspect"], &[&image.path]);
    assert_eq!(code, 0, "{text}");
    let text = text.replace(&image.path.display().to_string(), "tiny.raw");
    let head: Vec<&str> = text.lines().take(8).collect();
    insta::assert_snapshot!(head.join("\n"), @"
    tiny.raw: 44.0 MB
    image: tiny 1.2.3, amd64, of 2026-03-01T12:00:00Z
    !!! STAND-IN: K3s is replaced; for tests only, never to be shipped
    !!! DEBUG: whoever is at the console has a shell
    overlays: base, k3s v1.32.1+k3s1
    root: 54 entries, 274.4 kB used
    seed: node1 of cluster lab, without keys
    ");
    assert!(text.contains("partition table: primary good, backup good; disk "), "{text}");
    assert!(text.contains("4 SEED    basic data    at    39 MiB,     1 MiB  "), "{text}");
    assert!(text.contains("slot a: edgepair-a+3.efi, 3 tries left, never booted"), "{text}");
    assert!(text.contains("  postgresql-17  1:17.5-1+b1   87.0 kB"), "{text}");
    assert!(text.contains("20.0 kB  /usr/lib/libc.so.6"), "{text}");
}

#[test]
fn programs_are_told_everything() {
    let image = Recipe { both_slots: true, ..Recipe::default() }.build();
    let (code, text) = builder(&["inspect", "--json", "--files"], &[&image.path]);
    let told = json(&text);
    assert_eq!(code, 0);
    assert_eq!(told["partitions"].as_array().map(Vec::len), Some(5));
    assert_eq!(told["table"]["backup"], "good");
    assert_eq!(told["slots"][1]["slot"], "b");
    assert_eq!(told["slots"][0]["kernel_release"], "6.12.1-tiny");
    assert_eq!(told["slots"][0]["tries"]["left"], 3);
    assert_eq!(told["image"]["date"], "2026-03-01T12:00:00Z");
    assert_eq!(told["seed"]["node"], "node1");
    // 9000 bytes of the program, and 40 files of 0, 100, 200 … bytes.
    assert_eq!(told["packages"][1]["root_bytes"], 9000 + 78_000);
    let files = told["files"].as_array().expect("a list");
    assert!(files.iter().all(|file| file["origin"].is_string()));
    let used = told["image"]["root_used_bytes"].as_u64().expect("a number");
    assert!((100_000..2_000_000).contains(&used) && used.is_multiple_of(4096));
}

#[test]
fn why_follows_needs_to_their_reason() {
    let image = Recipe::default().build();
    let why = |path: &str| builder(&["inspect", "--why", path], &[&image.path]);
    let (code, text) = why("/usr/lib/libc.so.6");
    assert_eq!(code, 0, "{text}");
    insta::assert_snapshot!(text, @"
    /usr/lib/libc.so.6: file from package libc6, a library that /usr/bin/postgres needs
      /usr/bin/postgres is from package postgresql-17, wanted by overlay postgres
    ");
    assert!(why("/etc/motd/").1.contains("file from overlay base"));
    assert!(why("/usr").1.contains("a parent of other files"));
    assert!(why("/usr/lib/edgepair/origins").1.contains("the builder itself"));
    let (code, text) = why("/no/such");
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("--files lists what is"), "{text}");
}

#[test]
fn bills_of_materials_are_complete_and_always_the_same() {
    let (image, again) = (Recipe::default().build(), Recipe::default().build());
    for format in ["spdx", "cyclonedx"] {
        let (code, text) = builder(&["inspect", "--sbom", format], &[&image.path]);
        assert_eq!(code, 0, "{text}");
        assert_eq!(builder(&["inspect", "--sbom", format], &[&again.path]).1, text);
        assert!(text.contains("pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64"), "{text}");
        assert!(text.contains("pkg:generic/k3s@v1.32.1%2Bk3s1"), "{text}");
        assert!(text.contains("2026-03-01T12:00:00Z"), "{text}");
    }
    let spdx = json(&builder(&["inspect", "--sbom", "spdx"], &[&image.path]).1);
    assert_eq!(spdx["spdxVersion"], "SPDX-2.3");
    assert_eq!(spdx["packages"].as_array().map(Vec::len), Some(4));
    assert_eq!(spdx["relationships"][0]["relationshipType"], "DESCRIBES");
    let ids: Vec<&str> = spdx["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|package| package["SPDXID"].as_str())
        .collect();
    for relation in spdx["relationships"].as_array().expect("a list") {
        let to = relation["relatedSpdxElement"].as_str().expect("an id");
        assert!(ids.contains(&to), "{to}");
        let proper = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        assert!(to.chars().all(proper), "{to}");
    }
    let cyclonedx = json(&builder(&["inspect", "--sbom", "cyclonedx"], &[&image.path]).1);
    assert_eq!(cyclonedx["specVersion"], "1.6");
    assert_eq!(cyclonedx["metadata"]["component"]["name"], "tiny");
    assert_eq!(cyclonedx["components"][0]["hashes"][0]["alg"], "SHA-256");
    assert_eq!(cyclonedx["dependencies"][0]["dependsOn"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_damaged_image_still_tells_the_rest() {
    let image = Recipe::default().build();
    let file = image.writable();
    flip(&file, 512 + 20, 1);
    let esp = image.range(Part::Esp).start;
    flip(&file, esp + 510, 0xff);
    let (code, text) = builder(&["inspect"], &[&image.path]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("primary bad (header checksum is wrong), backup good"), "{text}");
    assert!(text.contains("DAMAGED: ") && text.contains("seed: node1"), "{text}");
}
