//! The command line: what it prints, and its exit code.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};

fn vipd(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vipd")).args(words).output().expect("it runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn a_file_is_checked_and_each_mistake_has_file_and_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("vipd.toml");
    let path_text = path.to_str().expect("text");
    let good =
        "[[instances]]\nname = 'a'\ninterface = 'eth0'\nvrid = 51\naddresses = ['192.0.2.1']\n";
    fs::write(&path, good).expect("written");
    let output = vipd(&["check", path_text]);
    assert!(output.status.success());
    assert_eq!(said(&output), format!("{path_text}: nothing wrong; instances: 1\n"));

    fs::write(&path, good.replace("51", "500")).expect("written");
    let output = vipd(&["check", path_text]);
    assert!(!output.status.success());
    let expected = format!(
        "{path_text}:4: instances[0].vrid: 500 is out of bounds; write a number from 1 to 255\n"
    );
    assert_eq!(said(&output), expected);
}

#[test]
fn what_is_missing_is_said() {
    let output = vipd(&["check", "/nonexistent/vipd.toml"]);
    assert!(!output.status.success());
    assert!(said(&output).starts_with("/nonexistent/vipd.toml: No such file"));
    let output = vipd(&["status", "--socket", "/nonexistent/sock"]);
    assert!(said(&output).contains("is vipd running, with this control socket?"));
    for words in [&[][..], &["run"], &["status", "--jason"], &["metrics", "--json"], &["stop"]] {
        let output = vipd(words);
        assert!(!output.status.success() && said(&output).starts_with("usage: vipd run CONFIG"));
    }
}

#[test]
fn a_probe_wants_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accepted");
        let mut hello = [0; 512];
        let _ = stream.read(&mut hello).expect("read");
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").expect("written");
    });
    let output = vipd(&["probe", &format!("https://127.0.0.1:{port}/"), "--insecure"]);
    server.join().expect("served");
    assert!(!output.status.success(), "plain HTTP is no HTTPS: {}", said(&output));
    let output = vipd(&["probe", "http://127.0.0.1/"]);
    assert!(said(&output).contains("is no https URL"));
}
