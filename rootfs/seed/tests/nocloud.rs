//! The three accepted forms of user-data, and what is said about all others.

use seed::nocloud::{NoCloudError, check_meta_data, find_seed};

const SEED: &str = "format = 1\n\n[node]\nname = \"node1\"\n";

#[test]
fn a_plain_seed_is_taken_as_it_is() {
    let text = format!("#edgepair-seed\n{SEED}");
    assert_eq!(find_seed(&text), Ok(text.clone()));
    let windows = format!("\u{feff}#edgepair-seed\r\n{SEED}");
    assert!(find_seed(&windows).is_ok_and(|seed| seed.starts_with('#')));
}

#[test]
fn cloud_config_with_a_block_literal() {
    let text = "#cloud-config\nusers: []\nseed: |  # for this node\n  format = 1\n\n  [node]\n    \
                name = \"node1\"\n\nother: 1\n";
    let expected = "format = 1\n\n[node]\n  name = \"node1\"\n\n";
    assert_eq!(find_seed(text).as_deref(), Ok(expected));
}

#[test]
fn cloud_config_in_other_forms_is_refused_with_its_line() {
    let bad = |text: &str, line: usize| match find_seed(text) {
        Err(NoCloudError::BadSeedKey { line: found, .. }) => assert_eq!(found, line, "{text}"),
        other => panic!("{text}: {other:?}"),
    };
    bad("#cloud-config\nseed: >\n  format = 1\n", 2);
    bad("#cloud-config\nseed: format = 1\n", 2);
    bad("#cloud-config\nx: 1\nseed: |\n", 3);
    bad("#cloud-config\nseed: |\nformat = 1\n", 2);
    bad("#cloud-config\nseed: |\n    format = 1\n  [node]\n", 4);
    bad("#cloud-config\nseed: |\n  format = 1\n\t[node]\n", 4);
    assert_eq!(find_seed("#cloud-config\nusers: []\n  seed: |\n"), Err(NoCloudError::NoSeedKey));
}

fn multipart(parts: &[(&str, &str)]) -> String {
    let parts: Vec<String> =
        parts.iter().map(|(head, body)| format!("--=b=\n{head}\n\n{body}\n")).collect();
    format!(
        "Content-Type: multipart/mixed;\n boundary=\"=b=\"\nMIME-Version: 1.0\n\npreamble\n{}--=b=--\n",
        parts.concat()
    )
}

#[test]
fn a_multipart_message_has_one_seed() {
    let other = ("Content-Type: text/cloud-config", "#cloud-config\n");
    let plain = ("Content-Type: text/x-edgepair-seed; charset=\"utf-8\"", SEED);
    assert_eq!(find_seed(&multipart(&[other, plain])), Ok(format!("{SEED}\n")));
    let encoded = (
        "Content-Transfer-Encoding: BASE64\nContent-Type: text/x-edgepair-seed",
        "Zm9ybWF0ID0gMQoKW25vZGVdCm5hbWUgPSAi\nbm9kZTEiCg==\n",
    );
    assert_eq!(find_seed(&multipart(&[encoded])).as_deref(), Ok(SEED));
    assert_eq!(find_seed(&multipart(&[other])), Err(NoCloudError::NoSeedPart));
    assert_eq!(find_seed(&multipart(&[plain, plain])), Err(NoCloudError::SeveralSeeds));
}

#[test]
fn a_broken_message_is_refused() {
    let head = "Content-Type: text/x-edgepair-seed\nContent-Transfer-Encoding: ";
    let with =
        |encoding: &str, body: &str| find_seed(&multipart(&[(&format!("{head}{encoding}"), body)]));
    for broken in ["Zm9yb", "Zm9y*===", "====", "Zg==Zg=="] {
        assert_eq!(with("base64", broken), Err(NoCloudError::BadMime("its base64 is broken")));
    }
    assert_eq!(with("base64", "/w=="), Err(NoCloudError::BadMime("the seed is no UTF-8")));
    assert!(matches!(with("quoted-printable", "x"), Err(NoCloudError::BadMime(_))));
    let cut = multipart(&[("Content-Type: text/x-edgepair-seed", SEED)]).replace("--=b=--", "");
    assert!(matches!(find_seed(&cut), Err(NoCloudError::BadMime(_))));
    let nameless = "Content-Type: multipart/mixed\n\nx";
    assert!(matches!(find_seed(nameless), Err(NoCloudError::BadMime(_))));
}

#[test]
fn anything_else_is_named() {
    let error = find_seed("#!/bin/sh\necho hi\n").expect_err("a script is no seed");
    assert!(error.to_string().contains("begins with \"#!/bin/sh\""), "{error}");
    let large = "x".repeat(seed::nocloud::MAX_USER_DATA_BYTES + 1);
    assert!(matches!(find_seed(&large), Err(NoCloudError::TooLarge(_))));
}

#[test]
fn meta_data_of_another_node_is_refused() {
    let text = include_str!("../../../images/lab/node1.toml");
    let seed = seed::parse("node1.toml", text).expect("the lab's seed");
    for fitting in
        ["", "instance-id: 1\n", "local-hostname: node1\n", "local-hostname: \"node1.x.y\""]
    {
        assert_eq!(check_meta_data(fitting, &seed), Ok(()), "{fitting}");
    }
    let error = check_meta_data("local-hostname: node2\n", &seed).expect_err("another node");
    assert!(error.to_string().contains("\"node2\""), "{error}");
}
