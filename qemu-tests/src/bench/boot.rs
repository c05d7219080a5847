//! From the kernel's start to a node that is ready, and the memory in use then: the lab image
//! against Debian with systemd and the same packages.
//!
//! Both images carry one script that says, once everything that boots is up, the time since the
//! kernel's start and the memory in use: `bench: ready after=SECONDS used=KIB`. Both machines start
//! through the same firmware with the same memory and processors, in turns within a round, so that
//! a busy minute of the desk hits both.
//!
//! Ours is up when all its services are ready, the peer when systemd has reached its
//! multi-user target. In ours PostgreSQL's keeper runs, in the peer PostgreSQL is masked.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use builder::unfinished::Scratch;
use thiserror::Error;

use crate::bench::Sample;
use crate::guest::{Guest, GuestError};
use crate::image::{self, Bench};

/// A machine without KVM, shared with others, took 40 s at the worst.
const READY_LIMIT: Duration = Duration::from_mins(5);

#[derive(Debug, Error)]
pub enum BootBenchError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Guest(#[from] GuestError),
    #[error("{name} was not ready within {READY_LIMIT:?}; its console:\n{console}")]
    NotReady { name: &'static str, console: String },
    #[error("{name} said {line:?}, which is no `after=SECONDS used=KIB`")]
    Unclear { name: &'static str, line: String },
}

/// What is asked of the bench.
#[derive(Clone, Debug)]
pub struct Request {
    /// The peer's image, as `qemu-tests/peers/debian_systemd.py` makes it.
    pub peer: Option<PathBuf>,
    pub rounds: u32,
}

/// One of the figures.
type Pick = fn(&Figures) -> &Sample;

/// What one image did.
#[derive(Debug, Default)]
struct Figures {
    /// Since the kernel's start, by the guest's own clock.
    kernel: Sample,
    /// Since QEMU's start, by the desk's clock: firmware and boot loader included.
    power_on: Sample,
    memory_mib: Sample,
}

/// Boots in turns, and gives the table in Markdown.
pub fn run(request: &Request, say: &dyn Fn(&str)) -> Result<String, BootBenchError> {
    let bench = Bench::get();
    let folder = scratch()?;
    let definition = concat!(env!("CARGO_MANIFEST_DIR"), "/images/bench.toml");
    let ours = image::build(definition, None, &folder.path().join("image"));
    let (mut our_figures, mut peer_figures) = (Figures::default(), Figures::default());
    for round in 1..=request.rounds {
        say(&format!("round {round} of {}", request.rounds));
        boot(bench, "edgepair", &ours, &mut our_figures)?;
        if let Some(peer) = &request.peer {
            boot(bench, "Debian with systemd", peer, &mut peer_figures)?;
        }
    }
    Ok(table(&our_figures, request.peer.as_ref().map(|_| &peer_figures), request.rounds))
}

fn boot(
    bench: &Bench,
    name: &'static str,
    image: &Path,
    figures: &mut Figures,
) -> Result<(), BootBenchError> {
    let folder = scratch()?;
    let machine = bench.machine_from_disk(image, folder.path());
    let mut guest = Guest::start(&bench.qemu, &machine)?;
    let Some(line) = guest.console.wait_for("bench: ready after=", READY_LIMIT) else {
        return Err(BootBenchError::NotReady { name, console: guest.console.transcript() });
    };
    let (after, used) =
        figures_in(&line.text).ok_or(BootBenchError::Unclear { name, line: line.text.clone() })?;
    figures.kernel.add(after);
    figures.power_on.add_seconds(line.after);
    figures.memory_mib.add(used / 1024.0);
    guest.press_power_button()?;
    // What it has to say was said; a peer that takes its time to stop is ended with the guest.
    let _ended = guest.wait_for_end(Duration::from_secs(30));
    Ok(())
}

/// A folder that is gone after the bench, also after a Ctrl-C.
fn scratch() -> Result<Scratch, BootBenchError> {
    let path = std::env::temp_dir();
    Scratch::within(&path, "boot-bench.").map_err(|source| BootBenchError::File { path, source })
}

/// The two numbers of a guest's line.
fn figures_in(line: &str) -> Option<(f64, f64)> {
    let value = |key: &str| {
        let (_, rest) = line.split_once(key)?;
        rest.split_whitespace().next()?.parse::<f64>().ok()
    };
    Some((value("after=")?, value("used=")?))
}

fn table(ours: &Figures, peer: Option<&Figures>, rounds: u32) -> String {
    let mut text = format!(
        "Medians of {rounds} boots each, smallest and largest in brackets.\n\n\
         | | edgepair | Debian with systemd | ratio |\n|---|---|---|---|\n"
    );
    let rows: [(&str, Pick); 3] = [
        ("kernel's start to ready, s", |figures| &figures.kernel),
        ("power-on to ready (UEFI), s", |figures| &figures.power_on),
        ("memory in use when ready, MiB", |figures| &figures.memory_mib),
    ];
    for (label, pick) in rows {
        let mine = pick(ours);
        let cell = |sample: &Sample| {
            let (low, high) = (sample.smallest(), sample.largest());
            format!("{:.1} ({low:.1}–{high:.1})", sample.median())
        };
        let (other, ratio) = peer.map(pick).map_or_else(
            || ("not measured".to_owned(), String::new()),
            |other| (cell(other), format!("{:.2}", mine.median() / other.median())),
        );
        // Writing to a string can't fail.
        let _written = writeln!(text, "| {label} | {} | {other} | {ratio} |", cell(mine));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_line_is_read() {
        assert_eq!(figures_in("bench: ready after=7.25 used=20480"), Some((7.25, 20480.0)));
        assert_eq!(figures_in("bench: ready after=soon used=1"), None);
        assert_eq!(figures_in("bench: ready used=1"), None);
    }

    #[test]
    fn the_table_has_the_ratio_of_the_medians() {
        let mut ours = Figures::default();
        let mut peer = Figures::default();
        for (figures, factor) in [(&mut ours, 1.0), (&mut peer, 4.0)] {
            figures.kernel.add(2.0 * factor);
            figures.power_on.add(3.0 * factor);
            figures.memory_mib.add(20.0 * factor);
        }
        let text = table(&ours, Some(&peer), 1);
        assert_eq!(text.matches("| 0.25 |").count(), 3, "{text}");
        assert!(table(&ours, None, 1).contains("not measured"));
    }
}
