//! The program itself: against an agent made here, on a file system that is too small, in folders
//! that can't be.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use control::{Answer, Inbox, LogLine, Logs, Request};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Far more than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The agent's side: where logd connects, and where it says how it is.
struct Agent {
    folder: TempDir,
    listener: UnixListener,
    notices: UnixDatagram,
}

/// A running logd, ended with the test.
struct Logd(Child);

impl Drop for Logd {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Logd {
    /// Asks it to end.
    fn ask_to_end(&self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).expect("running");
    }

    /// Asks it to end, answers its last question with these lines, and wants success.
    fn end_with(mut self, agent: &Agent, from: u64, last: &[(&str, &str)]) {
        self.ask_to_end();
        let (mut stream, logs) = agent.accept();
        assert!(!logs.follow && logs.from_seq == Some(from), "{logs:?}");
        for (seq, (service, text)) in (from..).zip(last) {
            send(&mut stream, seq, Some(service), text);
        }
        stream.write_all(&Answer::End.to_line()).expect("sent");
        assert!(self.0.wait().expect("ended").success());
    }

    /// Asks it to end, and wants success though nobody answers any more.
    fn end(mut self) {
        self.ask_to_end();
        assert!(self.0.wait().expect("ended").success());
    }
}

impl Agent {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("control.sock")).expect("bound");
        let notices = UnixDatagram::bind(folder.path().join("notify")).expect("bound");
        notices.set_read_timeout(Some(PATIENCE)).expect("set");
        Self { folder, listener, notices }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, mut command: Command, folder: &Path) -> Logd {
        command.arg("--socket").arg(self.path("control.sock")).arg("--folder").arg(folder);
        Logd(command.env("NOTIFY_SOCKET", self.path("notify")).spawn().expect("started"))
    }

    /// Takes a connection and its request.
    fn accept(&self) -> (UnixStream, Logs) {
        let (stream, _) = self.listener.accept().expect("a connection");
        let mut line = Vec::new();
        BufReader::new(&stream).read_until(b'\n', &mut line).expect("a request");
        let Ok(Some(Request::Logs(logs))) = Inbox::new().push(&line) else {
            panic!("not a request for logs: {}", String::from_utf8_lossy(&line));
        };
        (stream, logs)
    }

    /// Waits until logd says this as its status or state.
    fn await_notice(&self, wanted: &str) {
        let mut buffer = [0; 2048];
        loop {
            let length = self.notices.recv(&mut buffer).expect("a notice in time");
            if String::from_utf8_lossy(&buffer[..length]).contains(wanted) {
                return;
            }
        }
    }
}

fn plain() -> Command {
    Command::new(env!("CARGO_BIN_EXE_logd"))
}

fn send(stream: &mut UnixStream, seq: u64, service: Option<&str>, text: &str) {
    let service = service.map(|name| name.parse().expect("a name"));
    let line = LogLine::new(seq, 1_795_174_177_042, service, text.as_bytes());
    stream.write_all(&Answer::Log(line).to_line()).expect("sent");
}

/// Waits until a file fulfils something.
fn await_file(path: &Path, wanted: impl Fn(&str) -> bool) -> String {
    let start = Instant::now();
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if wanted(&text) {
            return text;
        }
        assert!(start.elapsed() < PATIENCE, "{}: {text}", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn lines_are_written_and_followed_on_after_a_restart() {
    let agent = Agent::new();
    let folder = agent.path("logs");
    let logd = agent.start(plain(), &folder);
    let (mut stream, logs) = agent.accept();
    assert!(logs.follow && logs.service.is_none() && logs.from_seq == Some(1));
    send(&mut stream, 1, None, "booting");
    send(&mut stream, 2, Some("postgres"), "ready \u{1b}[31m");
    let text = await_file(&folder.join("postgres.log"), |text| text.ends_with('\n'));
    assert!(text.starts_with("2026-11-20T11:29:37.042Z "), "{text}");
    assert!(text.contains(":2 ") && text.ends_with(" ready \\x1b[31m\n"), "{text}");
    await_file(&folder.join("node.log"), |text| text.ends_with("booting\n"));
    // The agent goes away and comes back; logd asks for what follows.
    drop(stream);
    let (mut stream, logs) = agent.accept();
    assert_eq!(logs.from_seq, Some(3));
    send(&mut stream, 2, Some("postgres"), "repeated");
    send(&mut stream, 3, Some("postgres"), "more");
    await_file(&folder.join("postgres.log"), |text| text.ends_with(" more\n"));
    // What was said before the signal, but not sent, is asked for, and written before the end.
    logd.end_with(&agent, 4, &[("postgres", "last words"), ("haproxy", "stopped")]);
    let text = fs::read_to_string(folder.join("postgres.log")).expect("there");
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.ends_with(" last words\n"), "{text}");
    let text = fs::read_to_string(folder.join("haproxy.log")).expect("there");
    assert!(text.ends_with(" stopped\n"), "{text}");
    // A power cut tore a line.
    fs::write(folder.join("torn.log"), "2026-11-20T11:29").expect("written");
    let logd = agent.start(plain(), &folder);
    let (mut stream, logs) = agent.accept();
    assert_eq!(logs.from_seq, Some(6));
    send(&mut stream, 6, Some("torn"), "whole");
    let text = await_file(&folder.join("torn.log"), |text| text.ends_with("whole\n"));
    assert_eq!(text.lines().count(), 2, "{text}");
    logd.end();
}

#[test]
fn a_full_file_system_costs_old_files_and_then_lines_but_never_logd() {
    let agent = Agent::new();
    let folder = agent.path("state");
    fs::create_dir(&folder).expect("a folder");
    // A file system of 256 KiB, mounted where only logd sees it.
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=256k tmpfs \"$1\" && shift && exec \"$@\"";
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
    command.arg(&folder).arg(env!("CARGO_BIN_EXE_logd"));
    let logd = agent.start(command, &folder.join("logs"));
    let (mut stream, _) = agent.accept();
    let long = "x".repeat(1000);
    for seq in 1..=1000 {
        send(&mut stream, seq, Some("chatty"), &long);
    }
    agent.await_notice("can't write logs: No space left on device");
    let inside = PathBuf::from(format!("/proc/{}/root{}", logd.0.id(), folder.display()));
    let written = fs::metadata(inside.join("logs/chatty.log")).expect("there").len();
    assert!(written > 200 * 1024 && written <= 256 * 1024, "{written}");
    let text = fs::read_to_string(inside.join("logs/chatty.log")).expect("text");
    assert!(text.ends_with("x\n") && text.lines().all(|line| line.ends_with('x')));
    // Somebody makes room; after its pause logd goes on by itself and says what is missing.
    fs::remove_file(inside.join("logs/chatty.log")).expect("removed");
    let mut seq = 1000;
    let start = Instant::now();
    while !fs::read_to_string(inside.join("logs/node.log")).unwrap_or_default().contains("missing")
    {
        seq += 1;
        send(&mut stream, seq, Some("quiet"), "still here");
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(50));
    }
    logd.end();
}

#[test]
fn a_folder_that_can_not_be_costs_lines_but_never_logd() {
    let agent = Agent::new();
    let obstacle = agent.path("file");
    fs::write(&obstacle, "not a folder").expect("written");
    let logd = agent.start(plain(), &obstacle.join("logs"));
    let (mut stream, _) = agent.accept();
    send(&mut stream, 1, Some("a"), "lost");
    agent.await_notice("can't list logs");
    fs::remove_file(&obstacle).expect("removed");
    let (file, start) = (obstacle.join("logs/node.log"), Instant::now());
    for seq in 2.. {
        send(&mut stream, seq, Some("a"), "still here");
        if fs::read_to_string(&file).unwrap_or_default().contains("lines are missing here") {
            break;
        }
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(50));
    }
    logd.end();
}
