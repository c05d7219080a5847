//! The drills of the CI set, one after the other, and the list of drills.
//!
//! The drill program runs them, as it does for `builder drill`: each needs the desk's processors for
//! itself, so they are one test here.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drill"));
    command.stdin(Stdio::null());
    command
}

/// Of so many drills one may stay unknown, for a desk that lags proves nothing; beyond that the rig
/// or the desk is broken, and what passed isn't worth much either.
const RUNS_PER_UNKNOWN: u32 = 4;

#[test]
fn the_drills_of_the_ci_set_pass() {
    let report = Path::new(env!("CARGO_TARGET_TMPDIR")).join("drills");
    let mut drills = program();
    drills.arg("--ci").arg("--report").arg(&report).stdout(Stdio::piped());
    let output = drills.spawn().and_then(Child::wait_with_output).expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{said}");
    let counts = tally(&said);
    let evidence = format!("{}; the evidence is in {}", output.status, report.display());
    let (passed, violated, unknown) = counts.unwrap_or_else(|| panic!("no tally: {evidence}"));
    assert_eq!(violated, 0, "{evidence}");
    let allowed = (passed + unknown) / RUNS_PER_UNKNOWN;
    assert!(passed > 0 && unknown <= allowed, "{unknown} unknown, {allowed} allowed: {evidence}");
}

/// The last line of a run over many drills: passed, violated, unknown.
fn tally(said: &str) -> Option<(u32, u32, u32)> {
    let line = said.lines().rev().find(|line| line.contains(" violated, "))?;
    let count = |word: &str| -> Option<u32> {
        let (before, _) = line.split_once(word)?;
        before.rsplit(' ').next()?.parse().ok()
    };
    Some((count(" passed")?, count(" violated")?, count(" unknown")?))
}

#[test]
fn a_tally_is_read() {
    let said = "pass     a (1.0 s)\n12 passed, 1 violated, 3 unknown, 4 run again; 77 s\n";
    assert_eq!(tally(said), Some((12, 1, 3)));
    assert_eq!(tally("error: no QEMU"), None);
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
