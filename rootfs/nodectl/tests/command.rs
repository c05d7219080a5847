//! The command as an operator meets it: what it prints, and how it exits.

mod support;

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use control::{MAX_ANSWER_BYTES, PgRequest, Request};
use support::{FakeAgent, Siblings};

fn nodectl(socket: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nodectl"));
    // The terminal of whoever runs the tests isn't the page that they compare.
    command.env_remove("EDGEPAIR_NODE").env_remove("EDGEPAIR_OPERATOR").env("COLUMNS", "100");
    command.arg("--socket").arg(socket).args(arguments).stdin(Stdio::null());
    command.output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// What it printed when all went well.
fn good(socket: &Path, arguments: &[&str]) -> String {
    let output = nodectl(socket, arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn agent() -> (tempfile::TempDir, FakeAgent) {
    let folder = tempfile::tempdir().expect("a folder");
    let agent = FakeAgent::start(folder.path());
    (folder, agent)
}

#[test]
fn the_status_fits_a_screen() {
    let (folder, agent) = agent();
    let _siblings = Siblings::start(folder.path());
    let shown = good(&agent.socket, &["status"]);
    assert!(!shown.contains('\x1b'), "no colours but on a terminal");
    insta::assert_snapshot!(shown);
}

/// One without STATE, time servers and a fed watchdog, with a shell and a full disk.
#[test]
fn the_status_tells_every_trouble() {
    let folder = tempfile::tempdir().expect("a folder");
    let agent = FakeAgent::start_with(folder.path(), support::troubled);
    insta::assert_snapshot!(good(&agent.socket, &["status"]));
}

#[test]
fn the_status_as_json_is_the_status() {
    let (_folder, agent) = agent();
    let shown = good(&agent.socket, &["status", "--json"]);
    let read: control::Status = serde_json::from_str(&shown).expect("JSON");
    // Without siblings it is what PID 1 knows.
    assert_eq!(read, support::status());
}

#[test]
fn logs_are_shown_without_what_steers_a_terminal() {
    let (_folder, agent) = agent();
    let output = nodectl(&agent.socket, &["logs", "-n", "3"]);
    insta::assert_snapshot!(text(&output.stdout) + &text(&output.stderr));
}

#[test]
fn top_shows_what_services_use() {
    let (_folder, agent) = agent();
    insta::assert_snapshot!(good(&agent.socket, &["top", "--once"]));
}

#[test]
fn facts_are_listed_and_shown() {
    let (_folder, agent) = agent();
    insta::assert_snapshot!(good(&agent.socket, &["get"]));
    assert_eq!(good(&agent.socket, &["get", "meminfo"]), "meminfo line 1\nline 2\n");
}

/// A sibling that should be there and isn't costs its part, and nothing else.
#[test]
fn the_status_does_without_siblings() {
    let (_folder, agent) = agent();
    let shown = good(&agent.socket, &["status"]);
    assert!(shown.contains("pgkeeper  ready") && !shown.contains("EPOCH"), "{shown}");
    assert!(!shown.contains("missing"), "what has no socket isn't there at all: {shown}");
    assert!(!good(&agent.socket, &["metrics"]).contains("vipd_"));
}

/// Neither who hangs nor who is gone just vanishes from the status, nor holds it up.
#[test]
fn the_status_names_siblings_that_do_not_tell() {
    let (folder, agent) = agent();
    fs::create_dir(folder.path().join("pgkeeper")).expect("a folder");
    let keeper = folder.path().join("pgkeeper/control.sock");
    // Connections to it stand, and are never looked at.
    let _hangs = UnixListener::bind(keeper).expect("a socket");
    drop(UnixListener::bind(folder.path().join("vipd.sock")).expect("a socket"));
    let begun = Instant::now();
    let shown = good(&agent.socket, &["status"]);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let lines = [
        "missing   vip (vipd doesn't listen: it is down or starting; `nodectl status` says which)\n",
        "missing   database (pgkeeper: no answer in time)\n",
    ];
    assert!(shown.contains(&lines.concat()), "{shown}");
    let json = good(&agent.socket, &["status", "--json"]);
    let status: control::Status = serde_json::from_str(&json).expect("JSON");
    let missing: Vec<&str> = status.missing.iter().map(|it| it.part.as_str()).collect();
    assert_eq!(missing, ["vip", "database"]);
}

#[test]
fn the_pair_is_shown_on_one_screen() {
    let (folder, agent) = agent();
    let _siblings = Siblings::start(folder.path());
    insta::assert_snapshot!(good(&agent.socket, &["pg", "status"]));
    let json = good(&agent.socket, &["pg", "status", "--json"]);
    let status: control::DatabaseStatus = serde_json::from_str(&json).expect("JSON");
    assert_eq!((status.role.as_str(), status.epoch), ("primary", 7));
}

#[test]
fn backups_are_listed() {
    let (folder, agent) = agent();
    let _siblings = Siblings::start(folder.path());
    insta::assert_snapshot!(good(&agent.socket, &["pg", "backup", "list"]));
}

#[test]
fn orders_reach_the_pair() {
    let (folder, agent) = agent();
    let siblings = Siblings::start(folder.path());
    let output = nodectl(&agent.socket, &["pg", "switchover"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("node2 leads in epoch 8"), "{}", text(&output.stderr));
    for arguments in [
        &["pg", "maintenance", "on"][..],
        &["pg", "maintenance", "off"],
        &["pg", "force-primary", "--i-accept-data-loss"],
        &["pg", "reinit", "--yes"],
        &["pg", "backup", "now"],
    ] {
        assert_eq!(good(&agent.socket, arguments), "", "{arguments:?}");
    }
    let output = nodectl(&agent.socket, &["pg", "force-primary"]);
    assert_eq!(output.status.code(), Some(1), "what the node refuses fails");
    let expected = [
        PgRequest::Switchover,
        PgRequest::Maintenance { on: true },
        PgRequest::Maintenance { on: false },
        PgRequest::ForcePrimary { accept_data_loss: true },
        PgRequest::Reinit,
        PgRequest::BackupNow,
        PgRequest::ForcePrimary { accept_data_loss: false },
    ];
    assert_eq!(siblings.ordered(), expected);
    assert_eq!(agent.asked(), [], "PID 1 hears of none of it");
}

#[test]
fn every_order_to_the_pair_explains_itself() {
    let (_folder, agent) = agent();
    for command in ["status", "switchover", "maintenance", "force-primary", "reinit", "backup"] {
        let help = good(&agent.socket, &["pg", command, "--help"]);
        assert!(help.contains("Examples:\n  nodectl "), "{command}: {help}");
    }
}

#[test]
fn metrics_are_in_prometheus_text_format() {
    let (folder, agent) = agent();
    let _siblings = Siblings::start(folder.path());
    insta::assert_snapshot!(good(&agent.socket, &["metrics"]));
}

#[test]
fn help_has_examples_and_exit_codes() {
    let (_folder, agent) = agent();
    insta::assert_snapshot!(good(&agent.socket, &["--help"]));
}

#[test]
fn orders_reach_the_agent() {
    let (_folder, agent) = agent();
    for arguments in [&["restart", "haproxy"][..], &["reboot", "--yes"], &["poweroff", "--yes"]] {
        assert_eq!(good(&agent.socket, arguments), "");
    }
    let service = "haproxy".parse().expect("a name");
    let orders = [Request::Restart { service }, Request::Reboot, Request::PowerOff];
    assert_eq!(agent.asked(), orders);
}

#[test]
fn every_failure_has_its_exit_code_and_its_mend() {
    let (folder, agent) = agent();
    let gone = folder.path().join("gone.sock");
    for (socket, arguments, code, said) in [
        (&agent.socket, &["restart", "nosuch"][..], 1, "no service `nosuch`"),
        (&agent.socket, &["restart", "../x"], 2, "small letters"),
        (&agent.socket, &["get", "shadow"], 2, "lists all"),
        (&agent.socket, &["get", "disks"], 1, "permission denied"),
        (&agent.socket, &["frobnicate"], 2, "Usage"),
        (&agent.socket, &["logs", "-n", "100001"], 2, "100000"),
        (&agent.socket, &["--node", "a b", "status"], 2, "10.0.10.11"),
        (&agent.socket, &["--node", "10.0.0.1", "status"], 2, "--operator"),
        (
            &agent.socket,
            &["--node", "::1", "--operator", "/nonexistent", "status"],
            1,
            "builder cluster new",
        ),
        (&gone, &["status"], 3, "--node ADDRESS"),
        (&gone, &["pg", "status"], 3, "--node ADDRESS"),
        (&agent.socket, &["pg", "status"], 1, "role \"database\""),
        (&agent.socket, &["pg", "backup", "list"], 1, "[database.backup]"),
        (&agent.socket, &["pg", "maintenance", "maybe"], 2, "on, off"),
        (&agent.socket, &["pg", "promote"], 2, "pg"),
        (&agent.socket, &["reboot"], 2, "add --yes"),
        (&agent.socket, &["poweroff"], 2, "add --yes"),
        (&agent.socket, &["pg", "reinit"], 2, "add --yes"),
    ] {
        let output = nodectl(socket, arguments);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(said), "{arguments:?}: {errors}");
    }
    let asked = agent.asked();
    assert!(!asked.contains(&Request::Reboot) && !asked.contains(&Request::PowerOff), "{asked:?}");
}

#[test]
fn a_node_that_is_off_is_unreachable() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = support::Site::new("site");
    let operator = site.folder(folder.path(), "operator", &site.client("operator"));
    let operator = operator.to_str().expect("UTF-8");
    // Nothing listens on the port of a socket that was just closed.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let node = port.expect("a port").to_string();
    let arguments = ["--node", &node, "--operator", operator, "status"];
    let output = nodectl(&folder.path().join("none"), &arguments);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
}

/// Its files by name, unpacked by tar.
fn bundle_of(folder: &Path, agent: &FakeAgent) -> Vec<(String, String)> {
    let path = folder.join("bundle.tar.gz");
    good(&agent.socket, &["support-bundle", "-o", path.to_str().expect("UTF-8")]);
    let file = fs::File::open(&path).expect("a bundle");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let entries = archive.entries().expect("entries");
    let one = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a path").to_string_lossy().into_owned();
        let mut content = String::new();
        std::io::Read::read_to_string(&mut entry, &mut content).expect("text");
        (name, content)
    };
    entries.map(one).collect()
}

#[test]
fn a_bundle_has_everything_but_secrets() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, agent) = agent();
    let _siblings = Siblings::start(folder.path());
    let bundle = bundle_of(folder.path(), &agent);
    let names: Vec<&str> = bundle.iter().map(|(name, _)| name.as_str()).collect();
    insta::assert_snapshot!(names.join("\n"));
    let of = |name: &str| {
        let found = bundle.iter().find(|(path, _)| path.ends_with(name));
        found.map(|(_, content)| content.as_str()).expect(name)
    };
    assert!(of("/logs.txt").contains("password=(not shown)"), "{}", of("/logs.txt"));
    assert!(bundle.iter().all(|(_, content)| !content.contains("hunter2")));
    assert_eq!(of("/missing.txt"), "facts/disks.txt: this node: /sys/block: permission denied\n");
    let mode = fs::metadata(folder.path().join("bundle.tar.gz")).expect("there").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert!(!folder.path().join(".bundle.tar.gz.unfinished").exists());
}

/// An agent that never ends its line can't take the command's memory.
#[test]
fn an_endless_answer_is_refused() {
    use std::io::Write;
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("control.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let endless = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut sent = 0;
        while stream.write_all(&[b'x'; 4096]).is_ok() {
            sent += 4096;
        }
        sent
    });
    let output = nodectl(&socket, &["status"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(endless.join().expect("it ends") < 4 * MAX_ANSWER_BYTES);
}
