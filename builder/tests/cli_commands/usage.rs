//! A wrong command line ends with 2, says what is wrong, and does nothing.

use crate::support::builder;

#[test]
fn wrong_command_lines_are_explained() {
    let table: [(&[&str], &str); 10] = [
        (&[], "Usage: builder"),
        (&["bild"], "a similar subcommand exists: 'build'"),
        (&["build"], "--seed <FILE>"),
        (&["build", "--seed", "x", "--format", "iso"], "[possible values: raw, qcow2, raw.zst]"),
        (&["check"], "--seed <FILE>"),
        (&["cluster"], "Usage: builder cluster"),
        (&["cluster", "new", "pair.toml"], "--out <DIR>"),
        (&["flash", "image.raw"], "<DEVICE>"),
        (&["seed", "image.raw", "--set", "a.toml", "--show"], "cannot be used with"),
        (&["render", "--seed", "a.toml", "--path", "/x", "--out", "y"], "cannot be used with"),
    ];
    for (arguments, said) in table {
        let ran = builder(arguments).ended(2);
        assert!(ran.err.contains(said), "{arguments:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{arguments:?}");
    }
}

#[test]
fn help_shows_examples_and_goes_to_standard_output() {
    for command in ["build", "check", "flash", "render", "run", "seed"] {
        let ran = builder([command, "--help"]).ended(0);
        assert!(ran.out.contains("Examples:"), "{command}: {}", ran.out);
        assert_eq!(ran.err, "");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let table: [&[&str]; 6] = [
        &["check", "--seed", "/no/such.toml"],
        &["build", "--seed", "/no/such.toml"],
        &["flash", "/no/such.toml", "disk.raw"],
        &["seed", "/no/such.toml"],
        &["render", "--seed", "/no/such.toml"],
        &["cluster", "new", "/no/such.toml", "-o", "x"],
    ];
    for arguments in table {
        let ran = builder(arguments).ended(1);
        assert!(ran.err.starts_with("error: /no/such.toml: No such file"), "{}", ran.err);
        assert_eq!(ran.err.matches("No such file").count(), 1, "said twice: {}", ran.err);
    }
}
