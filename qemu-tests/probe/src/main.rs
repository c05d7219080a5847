//! The probe's binary: what it is depends on who it is and on what the kernel was told.

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use probe::hand::Hand;
use probe::words::Role;
use probe::{database, place, port};

/// The kernel's killer of processes passes over whoever has this.
const NEVER_KILLED: &str = "-1000";
/// So much memory is taken at once.
const HOG_PIECE_BYTES: usize = 4 << 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        _ if std::process::id() == 1 => be_first(),
        ["beside"] => serve(Role::Beside),
        ["make-orphans", count] => make_orphans(count),
        ["orphan"] => be_an_orphan(),
        ["hog-memory"] => hog_memory(),
        [database::ROLE, name, query] => Err(database::become_psql(name, query).into()),
        _ => Err("the rig starts this in its guests; by hand it has nothing to do".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The first process of the guest: the tester itself, or the start of a node with the probe beside.
fn be_first() -> Result<(), Box<dyn Error>> {
    place::mount_all()?;
    match Role::of_command_line(&place::read("proc/cmdline")?) {
        Some(Role::Tester) => serve(Role::Tester),
        Some(Role::Beside) => {
            // PID 1 reaps it, as it does every process that it didn't start.
            Command::new("/probe").arg("beside").spawn()?;
            Err(format!("/init: {}", Command::new("/init").exec()).into())
        }
        None => Err("the kernel's command line names no role for the probe".into()),
    }
}

fn serve(role: Role) -> Result<(), Box<dyn Error>> {
    if role == Role::Beside {
        fs::write(place::path("proc/self/oom_score_adj"), NEVER_KILLED)?;
    }
    place::load_modules()?;
    let (speaker, mut listener) = port::open()?;
    let gone = Hand::new(role, speaker).serve(&mut listener);
    Err(gone.into())
}

/// Starts processes and ends, so that PID 1 gets them all at once: they wait for the end of a pipe that
/// only this process has, since a thousand that looked again and again would leave no time to anybody.
fn make_orphans(count: &str) -> Result<(), Box<dyn Error>> {
    let (until, _the_end_of_this_process) = io::pipe()?;
    for _ in 0..count.parse::<u32>()? {
        Command::new("/probe").arg("orphan").stdin(until.try_clone()?).spawn()?;
    }
    Ok(())
}

/// Ends once its parent has.
fn be_an_orphan() -> Result<(), Box<dyn Error>> {
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// Takes memory, and touches it, until the kernel ends this.
fn hog_memory() -> Result<(), Box<dyn Error>> {
    // The probe passes its protection on; a hog has none.
    let own = place::path("proc/self/oom_score_adj");
    io::Write::write_all(&mut OpenOptions::new().write(true).open(own)?, b"0")?;
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(vec![0x5a; HOG_PIECE_BYTES]);
    }
}
