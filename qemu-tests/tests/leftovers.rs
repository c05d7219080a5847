//! However a run of drills ends, no guest and no file of it is left.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The image may have to be built first.
const GUEST_LIMIT: Duration = Duration::from_mins(10);
const GONE_LIMIT: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Processes with a path below this folder among their arguments.
fn guests_in(folder: &Path) -> Vec<String> {
    let mark = format!("{}/", folder.display());
    let entries = fs::read_dir("/proc").expect("proc").flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&mark) && line.contains("-machine")).collect()
}

/// Starts a drill whose scratch folders are below this one, and waits until its guest runs.
fn start(folder: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drill"));
    command.arg("boot_seeded").arg("--report").arg(folder.join("report"));
    command.env("TMPDIR", folder.join("tmp")).stdin(Stdio::null());
    fs::create_dir(folder.join("tmp")).expect("made");
    let mut child = command.spawn().expect("it starts");
    let deadline = Instant::now() + GUEST_LIMIT;
    while guests_in(folder).is_empty() {
        assert!(Instant::now() < deadline, "no guest was started");
        assert!(child.try_wait().expect("asked").is_none(), "it ended before a guest ran");
        thread::sleep(LOOK_AGAIN);
    }
    child
}

fn end(child: &mut Child, signal: Signal) -> ExitStatus {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("small")).expect("a process");
    kill_process(pid, signal).expect("sent");
    child.wait().expect("it ends")
}

fn expect_nothing_left(folder: &Path) {
    let deadline = Instant::now() + GONE_LIMIT;
    let tmp = folder.join("tmp");
    loop {
        let guests = guests_in(folder);
        let files: Vec<_> = fs::read_dir(&tmp).expect("there").flatten().collect();
        if guests.is_empty() && files.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "left: {guests:?}, {files:?}");
        thread::sleep(LOOK_AGAIN);
    }
}

#[test]
fn a_killed_drill_program_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = start(folder.path());
    assert!(!end(&mut child, Signal::KILL).success());
    expect_nothing_left(folder.path());
}

#[test]
fn an_interrupted_drill_program_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = start(folder.path());
    assert_eq!(end(&mut child, Signal::INT).code(), Some(130));
    expect_nothing_left(folder.path());
}
