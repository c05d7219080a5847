//! Whole builds of the lab image by the real command, from the real archive: what happens when two
//! run at once, when the disk fills up in the middle, and when the cache is all there is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn builder() -> &'static str {
    env!("CARGO_BIN_EXE_builder")
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

/// The lab's first seed in a folder of the test's own, so that its secrets are too.
fn seed_in(folder: &Path) -> PathBuf {
    let seed = folder.join("node1.toml");
    fs::copy(project().join("images/lab/node1.toml"), &seed).expect("copied");
    seed
}

fn build(seed: &Path, out: &Path) -> Command {
    let mut command = Command::new(builder());
    command.current_dir(project()).args(["build", "--json"]);
    command.arg("--seed").arg(seed).arg("--out").arg(out);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn report(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

#[test]
fn the_report_has_the_promised_form_and_the_cache_is_enough_afterwards() {
    let folder = tempfile::tempdir().expect("a folder");
    let seed = seed_in(folder.path());
    let first = report(&build(&seed, &folder.path().join("one")).output().expect("it runs"));
    let image = &first["images"][0];
    for key in ["seed", "path", "sha256", "bytes", "verity_root"] {
        assert!(!image[key].is_null(), "images[0].{key} in {first}");
    }
    assert!(first["seconds"].is_f64() && first["packages"].as_u64() > Some(20), "{first}");
    let mut offline = build(&seed, &folder.path().join("two"));
    // A proxy that nobody answers at: with --offline it must not even be asked.
    offline.args(["--offline", "--anew"]);
    offline.env("http_proxy", "http://127.0.0.1:9").env("https_proxy", "http://127.0.0.1:9");
    let second = report(&offline.output().expect("it runs"));
    assert_eq!(image["sha256"], second["images"][0]["sha256"]);
}

#[test]
fn two_builds_at_once_on_an_empty_cache_both_succeed_and_agree() {
    let folder = tempfile::tempdir().expect("a folder");
    let seed = seed_in(folder.path());
    let cache = folder.path().join("cache");
    let start = |name: &str| {
        let mut command = build(&seed, &folder.path().join(name));
        command.arg("--cache").arg(&cache);
        command.spawn().expect("it starts")
    };
    let both = [start("one"), start("two")];
    let hashes = both.map(|child| {
        let output = child.wait_with_output().expect("it ends");
        report(&output)["images"][0]["sha256"].as_str().expect("a hash").to_owned()
    });
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn a_disk_that_fills_up_in_the_middle_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let seed = seed_in(folder.path());
    // First a good build, so that only the writing of the image is left to fail.
    report(&build(&seed, &folder.path().join("good")).output().expect("it runs"));
    let small = folder.path().join("small");
    fs::create_dir(&small).expect("made");
    let script = "mount -t tmpfs -o size=48m none \"$1\" || exit 77\n\
                  \"$2\" build --seed \"$3\" --out \"$1\"\n\
                  code=$?\n\
                  [ -z \"$(ls -A \"$1\")\" ] || { echo left: $(ls -A \"$1\"); exit 78; }\n\
                  exit $code";
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script, "sh"])
        .args([&small, Path::new(builder()), &seed])
        .current_dir(project())
        .output();
    let output = match output {
        Ok(output) if output.status.code() != Some(77) => output,
        other => return println!("skipped: no small filesystem can be made here: {other:?}"),
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let left = String::from_utf8_lossy(&output.stdout).into_owned();
    if said.contains("unshare") {
        return println!("skipped: {said}");
    }
    assert_eq!(output.status.code(), Some(1), "{said}\n{left}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains("make room there"), "the mend is named: {said}");
}

#[test]
fn a_seed_for_a_newer_image_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let seed = seed_in(folder.path());
    let text = fs::read_to_string(&seed).expect("read").replace("format = 1", "format = 2");
    fs::write(&seed, text).expect("written");
    let output = build(&seed, &folder.path().join("out")).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("newer image"), "{said}");
    assert!(!folder.path().join("out").exists() && !folder.path().join("secrets").exists());
}
