//! Boots the lab image and a peer in turns, and prints a table.
//!
//! ```text
//! qemu-tests/peers/debian_systemd.py /tmp/peer.raw
//! cargo bench --workspace --bench boot -- --peer /tmp/peer.raw --rounds 7
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use qemu_tests::bench::boot::{Request, run};

const USAGE: &str = "usage: cargo bench --workspace --bench boot -- [--peer IMAGE] [--rounds N]";
const ROUNDS: u32 = 5;

fn main() -> ExitCode {
    let request = match parse(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Err(error) = builder::unfinished::remove_on_interrupt() {
        eprintln!("Ctrl-C can't be watched: {error}");
        return ExitCode::FAILURE;
    }
    match run(&request, &|line| eprintln!("{line}")) {
        Ok(table) => {
            println!("{table}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut request = Request { peer: None, rounds: ROUNDS };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
        match argument.as_str() {
            "--peer" => request.peer = Some(PathBuf::from(value()?)),
            "--rounds" => {
                let text = value()?;
                request.rounds = text.parse().map_err(|_| format!("{text:?} is no number"))?;
            }
            // Cargo says this to every bench.
            "--bench" => {}
            _ => return Err(format!("what is {argument:?}?")),
        }
    }
    Ok(request)
}
