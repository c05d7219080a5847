//! The drills of the CI set, one after the other, and the list of drills.
//!
//! The drill program runs them, as it does for `builder drill`: each needs the desk's processors for
//! itself, so they are one test here.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drill"));
    command.stdin(Stdio::null());
    command
}

#[test]
fn the_drills_of_the_ci_set_pass() {
    let report = Path::new(env!("CARGO_TARGET_TMPDIR")).join("drills");
    let status = program().arg("--ci").arg("--report").arg(&report).status().expect("it starts");
    assert!(status.success(), "{status}; the evidence is in {}", report.display());
}

#[test]
fn the_index_is_what_the_table_says() {
    let output = program().arg("--index").output().expect("it starts");
    assert!(output.status.success());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("INDEX.md");
    let written = fs::read_to_string(&path).expect("INDEX.md is there");
    let made = String::from_utf8(output.stdout).expect("text");
    assert_eq!(written, made, "mend: builder drill --index > qemu-tests/INDEX.md");
}

#[test]
fn an_unknown_drill_is_a_usage_error_that_names_the_others() {
    let output = program().arg("vip_power_cutt").output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("vip_power_cutt") && said.contains("vip_power_cut,"), "{said}");
}
