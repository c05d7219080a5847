//! Nothing that a seed, a manifest or user-data can contain makes the node's first process panic.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;

fn good_seeds() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/good");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("the folder of good seeds")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).expect("a readable seed")).collect()
}

/// One change to a text: what is cut, and what comes instead.
fn mutate(text: &str, at: Index, length: usize, insert: &str) -> String {
    let start = text.floor_char_boundary(at.index(text.len()));
    let end = text.floor_char_boundary((start + length).min(text.len()));
    format!("{}{insert}{}", &text[..start], &text[end..])
}

/// Reads a text, and checks what must hold whatever it was.
fn read(text: &str) {
    match seed::parse("any.toml", text) {
        Ok(seed) => {
            let context = seed::render::context(&seed);
            assert!(context.is_object());
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(problems.problems.len() <= seed::MAX_PROBLEMS);
            let shown = problems.to_string();
            // Some lines of bounded length for each problem: nothing floods a console.
            assert!(shown.len() <= 200 + problems.problems.len() * 8192, "{} bytes", shown.len());
            for problem in &problems.problems {
                assert!(problem.line <= text.split('\n').count() && problem.column > 0);
            }
            serde_json::to_string(&problems).expect("plain data");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        read(&text);
    }

    #[test]
    fn arbitrary_toml_like_text_never_panics(
        text in "([\\[\\]=\"'{}.,#\n \\\\]|format|node|links|vips|secrets|[0-9]{1,3}|é|\t){0,80}"
    ) {
        read(&text);
    }

    #[test]
    fn mutated_good_seeds_never_panic(
        which in any::<Index>(),
        changes in prop::collection::vec(
            (any::<Index>(), 0_usize..12, "[\\[\\]=\"'{}.,a-z0-9é\n-]{0,8}"), 1..5,
        ),
    ) {
        let seeds = good_seeds();
        let mut text = seeds[which.index(seeds.len())].clone();
        for (at, length, insert) in changes {
            text = mutate(&text, at, length, &insert);
        }
        read(&text);
    }

    #[test]
    fn user_data_never_panics(
        form in 0_usize..4,
        text in "(\\PC|\n|\r|--b|\tseed|Content-Type: text/x-edgepair-seed|  ){0,60}",
    ) {
        let head = [
            "",
            "#cloud-config\nseed: |\n",
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n",
            "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/x-edgepair-seed\n\
             Content-Transfer-Encoding: base64\n\n",
        ][form];
        let _ = seed::nocloud::find_seed(&format!("{head}{text}"));
        let _ = seed::nocloud::find_seed(&format!("{head}{text}\n--b--"));
    }

    #[test]
    fn a_seed_survives_its_way_through_cloud_config(indent in 1_usize..9, which in any::<Index>()) {
        let seeds = good_seeds();
        let text = &seeds[which.index(seeds.len())];
        let pad = " ".repeat(indent);
        let indented: Vec<String> = text.lines().map(|line| format!("{pad}{line}")).collect();
        let indented = indented.join("\n");
        let user_data = format!("#cloud-config\nhostname: x\nseed: |\n{indented}\nother: 1\n");
        let found = seed::nocloud::find_seed(&user_data).expect("the accepted form");
        prop_assert_eq!(&found, text);
    }

    #[test]
    fn manifests_never_panic(text in any::<String>()) {
        let _ = seed::manifest::Manifest::from_json(&text);
    }

    #[test]
    fn templates_never_panic(text in "(\\{\\{|\\}\\}|#if|/if|each|node.name|self|[ a-z#/.\n@]){0,40}") {
        let seed = seed::parse("good.toml", &good_seeds()[0]).expect("a good seed");
        let context = seed::render::context(&seed);
        let inputs = ["node.name".to_owned()];
        let _ = seed::render::render("any.hbs", &text, &inputs, &context);
    }

    #[test]
    fn durations_and_sizes_survive_printing(number in 0_u64..100_000, unit in 0_usize..6) {
        use seed::scalar::{Bytes, DurationText};
        let unit = ["ms", "cs", "s", "m", "h", "d"][unit];
        if let Ok(duration) = format!("{number}{unit}").parse::<DurationText>() {
            prop_assert_eq!(duration.to_string().parse::<DurationText>(), Ok(duration));
        }
        let size = Bytes::new(number * 4096);
        prop_assert_eq!(size.to_string().parse::<Bytes>(), Ok(size));
    }
}

fn numbered_keys(count: usize) -> String {
    let keys: Vec<String> = (0..count).map(|number| format!("k{number}=1")).collect();
    keys.join("\n")
}

#[test]
fn limits_hold() {
    let large = format!("# {}", "x".repeat(seed::MAX_SEED_BYTES));
    let problems = seed::parse("large.toml", &large).expect_err("too large");
    assert_eq!(problems.count(), 1);
    assert!(problems.to_string().contains("too large"), "{problems}");

    let many = numbered_keys(1000);
    let problems = seed::parse("many.toml", &many).expect_err("unknown keys");
    assert_eq!(problems.problems.len(), seed::MAX_PROBLEMS);
    // Beside the unknown keys, `format`, `node`, `cluster` and any address are missing.
    assert_eq!(problems.count(), 1004);
    assert!(problems.to_string().contains("(954 more not shown)"), "{problems}");

    // As many mistakes as fit: still told in an instant.
    let all = numbered_keys(10_000);
    let problems = seed::parse("all.toml", &all).expect_err("unknown keys");
    assert_eq!(problems.count(), 10_004);

    let long = format!("format = 1\nlinks = [{}]", "{},".repeat(60_000));
    let problems = seed::parse("long.toml", &long).expect_err("a long list");
    assert!(problems.to_string().contains("at most 1024 entries"), "{problems}");

    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(seed::parse("deep.toml", &deep).is_err());
    let dotted = format!("{}a = 1", "a.".repeat(50_000));
    assert!(seed::parse("dotted.toml", &dotted).is_err());
}

#[test]
fn all_problems_are_told_at_once() {
    let text = "format = 1\n\
                [node]\nname = \"Node 1\"\nroles = [\"srever\", \"agent\"]\n\
                [[links]]\nname = \"lan\"\nmatch = { mac = \"1\" }\naddresses = [\"1.2.3.4\", \"::1\"]\n\
                [cluster]\nnodes = []\n\
                [databse]\n";
    let problems = seed::parse("many.toml", text).expect_err("a bad seed");
    let lines: Vec<usize> = problems.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [3, 4, 7, 8, 8, 9, 11], "{problems}");
}

#[test]
fn a_section_that_is_broken_or_absent_hides_nothing_of_the_others() {
    let text = "[node]\nname = \"Node 1\"\nroles = [\"server\"]\n\
                [[links]]\nname = \"lan\"\nmatch = { name = \"*\" }\naddresses = [\"10.0.0.1/24\"]\n\
                [[vips]]\nname = \"v\"\naddresses = [\"10.0.0.9/24\"]\nvrid = 1\nlink = \"wan\"\n";
    let problems = seed::parse("broken.toml", text).expect_err("a bad seed");
    let keys: Vec<&str> = problems.problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["format", "cluster", "node.name", "vips[0].link"], "{problems}");
}
