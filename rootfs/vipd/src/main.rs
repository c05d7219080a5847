//! `vipd`: virtual addresses by VRRP.
//!
//! ```text
//! vipd run CONFIG                    hold addresses until a signal says to stop
//! vipd check CONFIG                  say everything that is wrong with a file
//! vipd status [--json] [--socket P]  ask a running vipd
//! vipd metrics [--socket P]          the same for Prometheus
//! vipd probe URL [--insecure] [--ca FILE]   what an https check runs
//! ```

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use vipd::Config;
use vipd::config::CONTROL_SOCKET;
use vipd::shell::{self, Question};

const USAGE: &str = "usage: vipd run CONFIG | check CONFIG | status [--json] [--socket PATH] | \
                     metrics [--socket PATH] | probe URL [--insecure] [--ca FILE]";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["run", path] => read(path).and_then(|config| run(&config)),
        ["check", path] => read(path).map(|config| {
            println!("{path}: nothing wrong; instances: {}", config.instances.len());
        }),
        ["probe", url, rest @ ..] => probe(url, rest),
        ["status", rest @ ..] => ask(rest, true),
        ["metrics", rest @ ..] => ask(rest, false),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn read(path: &str) -> Result<Config, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    Config::parse(&text).map_err(|problems| {
        problems.iter().map(|problem| format!("{path}:{problem}")).collect::<Vec<_>>().join("\n")
    })
}

fn run(config: &Config) -> Result<(), String> {
    shell::run(config).map_err(|error| format!("vipd: {error}"))
}

fn probe(url: &str, words: &[&str]) -> Result<(), String> {
    let (insecure, authorities) = match words {
        [] => (false, None),
        ["--insecure"] => (true, None),
        ["--ca", path] => (false, Some(Path::new(path))),
        _ => return Err(USAGE.to_owned()),
    };
    vipd::probe::probe(url, insecure, authorities).map_err(|error| format!("{url}: {error}"))
}

fn ask(words: &[&str], may_be_json: bool) -> Result<(), String> {
    let mut question = if may_be_json { Question::Status } else { Question::Metrics };
    let mut socket = PathBuf::from(CONTROL_SOCKET);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match (*word, words.as_slice()) {
            ("--json", _) if may_be_json => question = Question::StatusJson,
            ("--socket", [path, ..]) => {
                socket = PathBuf::from(path);
                words.next();
            }
            _ => return Err(USAGE.to_owned()),
        }
    }
    let answer = shell::ask(&socket, question).map_err(|error| unreachable_at(&socket, &error))?;
    print!("{answer}");
    Ok(())
}

fn unreachable_at(socket: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}; is vipd running, with this control socket?", socket.display())
}
