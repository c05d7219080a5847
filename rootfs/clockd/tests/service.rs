//! The program itself, only where it has no reason to touch a clock: these tests run on a machine
//! whose clock is nobody's to change. The user namespace would refuse it besides.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Far more than the ten seconds after which it gives up waiting for an answer.
const PATIENCE: Duration = Duration::from_mins(1);

fn clockd(folder: &Path, config: &str) -> Command {
    fs::write(folder.join("clockd.conf"), config).expect("written");
    let mut command = Command::new("unshare");
    command.args(["--user", "--"]).arg(env!("CARGO_BIN_EXE_clockd"));
    command.arg("--config").arg(folder.join("clockd.conf"));
    command.arg("--saved").arg(folder.join("clock"));
    command.arg("--manifest").arg(folder.join("manifest.json"));
    command.arg("--battery").arg(folder.join("rtc0"));
    command
}

/// A running program, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn without_an_answer_it_becomes_ready_and_ends_when_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let notices = UnixDatagram::bind(folder.path().join("notify")).expect("bound");
    notices.set_read_timeout(Some(PATIENCE)).expect("set");
    // Nobody listens at this port, and nobody has that name.
    let mut command = clockd(folder.path(), "server 127.0.0.1:9\nserver absent.invalid\n");
    command.env("NOTIFY_SOCKET", folder.path().join("notify"));
    let mut running = Running(command.spawn().expect("started"));
    let mut said = Vec::new();
    for _ in 0..2 {
        let mut buffer = [0; 2048];
        let length = notices.recv(&mut buffer).expect("a notice in time");
        said.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    assert_eq!(said[0], "READY=1");
    assert!(said[1].starts_with("STATUS=the clock runs free; 127.0.0.1:9: no answer"), "{said:?}");
    kill_process(Pid::from_child(&running.0), Signal::TERM).expect("running");
    assert!(running.0.wait().expect("ended").success());
    assert!(!folder.path().join("clock").exists(), "a time that nobody vouches for isn't kept");
}

#[test]
fn a_mistake_in_the_configuration_ends_it_with_the_mend() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |config: &str| -> Output { clockd(folder.path(), config).output().expect("ran") };
    let output = run("server 192.0.2.1\npool example.org\n");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("clockd.conf: line 2: \"pool\" is no keyword: write `server"), "{said}");
}
