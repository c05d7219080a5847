//! The service `clockd`: reads its configuration, then keeps the clock until it is asked to end.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use clockd::config::{self, CONFIG_BYTES_MAX, ConfigError};
use clockd::{Floor, Host, Shell, ShellError};
use rustix::process::Signal;
use sys::notify::Notifier;
use sys::signals::SignalFd;
use thiserror::Error;

#[derive(Debug, Error)]
enum ClockdError {
    #[error(
        "usage: clockd [--config PATH] [--saved PATH] [--manifest PATH] [--battery PATH], \
             not {0:?}"
    )]
    Usage(String),
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Config { path: PathBuf, source: ConfigError },
    #[error("signals: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Shell(#[from] ShellError),
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

struct Arguments {
    config: PathBuf,
    saved: PathBuf,
    manifest: PathBuf,
    battery: PathBuf,
}

fn arguments() -> Result<Arguments, ClockdError> {
    let mut found = Arguments {
        config: "/etc/edgepair/clockd.conf".into(),
        saved: "/state/clock".into(),
        manifest: "/usr/lib/edgepair/manifest.json".into(),
        battery: "/dev/rtc0".into(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let place = match word.as_str() {
            "--config" => &mut found.config,
            "--saved" => &mut found.saved,
            "--manifest" => &mut found.manifest,
            "--battery" => &mut found.battery,
            _ => return Err(ClockdError::Usage(word)),
        };
        *place = words.next().map(PathBuf::from).ok_or(ClockdError::Usage(word))?;
    }
    Ok(found)
}

fn run() -> Result<(), ClockdError> {
    let Arguments { config: path, saved, manifest, battery } = arguments()?;
    // Before any thread starts, so that all of them have these signals blocked.
    let signals = SignalFd::new(&[Signal::TERM, Signal::INT]).map_err(ClockdError::Signals)?;
    let mut text = String::new();
    File::open(&path)
        .and_then(|file| file.take(CONFIG_BYTES_MAX).read_to_string(&mut text))
        .map_err(|source| ClockdError::Read { path: path.clone(), source })?;
    let config = config::parse(&text).map_err(|source| ClockdError::Config { path, source })?;
    let floor = Floor::load(&saved, &manifest);
    for error in &floor.errors {
        eprintln!("{error}");
    }
    let notifier = Notifier::from_environment();
    let mut shell = Shell::new(config, &floor, saved, Host { battery }, notifier)?;
    while !shell.turn(signals.as_fd())? {}
    shell.finish();
    Ok(())
}
