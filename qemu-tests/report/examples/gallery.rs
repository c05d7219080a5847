//! `cargo run -p report --example gallery -- DIR`: pages of made-up runs, to look at while working
//! on them.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use ledger::{History, Verdict};
use report::folder::ReportError;
use report::{Folder, Run, index};

#[path = "../tests/made_up/mod.rs"]
mod made_up;

/// Half an hour between two runs.
const PAUSE_SECONDS: u64 = 1800;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("gallery: name a folder for the pages");
        return ExitCode::FAILURE;
    };
    match gallery(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gallery: {error}");
            ExitCode::FAILURE
        }
    }
}

fn gallery(folder: &std::path::Path) -> Result<(), ReportError> {
    let mut now = 1_795_700_000;
    let mut dice = made_up::Dice(99);
    for seed in 1..=24 {
        now += PAUSE_SECONDS;
        let gap = 700 + dice.up_to(500);
        keep(folder, &made_up::freeze(seed, gap, now), &made_up::clients(seed, gap))?;
    }
    for (family, drill, claim) in [
        ("vip", "vip_power_cut", "When the owner's power is cut, its peer takes over in time."),
        ("vip", "vip_graceful_handover", "A planned hand-over takes less than one advert."),
        ("boot", "boot_twice", "A second boot writes nothing anew."),
    ] {
        for seed in 1..=12 {
            let gap = 300 + dice.up_to(90);
            let mut run = made_up::freeze(seed, gap, now + seed * PAUSE_SECONDS);
            (run.family, run.drill) = (family.to_owned(), drill.to_owned());
            claim.clone_into(&mut run.claim);
            if seed % 9 == 4 {
                run.verdict = Verdict::Unknown;
            }
            keep(folder, &run, &History::default())?;
        }
    }
    now += PAUSE_SECONDS * 20;
    keep(folder, &made_up::split(now), &made_up::clients(4711, 1140))?;
    index::write(folder)?;
    Ok(())
}

fn keep(folder: &std::path::Path, run: &Run, history: &History) -> Result<(), ReportError> {
    let made = Folder::create(folder, &run.drill, &run.variant, run.seed, run.started_unix)?;
    let consoles = made.path().join("consoles");
    let beside = |name: &str, text: &str| {
        let path = consoles.join(name);
        fs::write(&path, text).map_err(|source| ReportError::File { path, source })
    };
    fs::create_dir(&consoles)
        .map_err(|source| ReportError::File { path: consoles.clone(), source })?;
    beside("node1.log", "[   7.400] edgepair: ready node=node1 after=790ms\n")?;
    beside("node2.log", "[   7.900] edgepair: ready node=node2 after=810ms\n")?;
    beside("../wire.pcapng", "")?;
    made.write(run, history)
}
