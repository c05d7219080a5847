//! `ledger SETTINGS.json`: runs clients and prints their history, one line of JSON per operation.
//!
//! It runs until its standard input ends, then reads the whole set back. So whoever started it
//! stops it by closing a pipe, and it never outlives him.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger::client::{Clock, Session, Settings};

/// How long the reads at the end may take together: a pair heals in less, or the run is lost.
const READ_LIMIT: Duration = Duration::from_secs(30);
/// Not every place could be read at the end.
const UNREAD: u8 = 2;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("ledger: the set could not be read back within {READ_LIMIT:?}");
            ExitCode::from(UNREAD)
        }
        Err(error) => {
            eprintln!("ledger: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, String> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(path), None) = (arguments.next(), arguments.next()) else {
        return Err("usage: ledger SETTINGS.json; it runs until its input ends".to_owned());
    };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
    let settings: Settings =
        serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
    let clock = Clock::from(Instant::now());
    let tell = Arc::new(|operation| {
        // Whoever read this is gone, and with him the reason to go on.
        if print(&operation).is_err() {
            std::process::exit(1);
        }
    });
    let session = Session::start(&settings, clock, tell).map_err(|error| error.to_string())?;
    let mut rest = Vec::new();
    io::stdin().read_to_end(&mut rest).map_err(|error| format!("standard input: {error}"))?;
    Ok(session.finish(READ_LIMIT))
}

/// A line leaves at once and whole, however the program ends.
fn print(operation: &ledger::Operation) -> io::Result<()> {
    let mut line = serde_json::to_vec(operation)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}
