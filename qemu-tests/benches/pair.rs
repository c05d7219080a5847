//! How long writes wait when something happens to a pair, at this machine's own speed.
//!
//! ```text
//! cargo bench --workspace --bench pair -- 30        # 30 faults of each class, without and with a witness
//! ```
//! The virtual machines of the drills are emulated where there is no KVM, and some seven times slower
//! than the machine below them. Here are the same keepers and the same PostgreSQL as processes, in a
//! network namespace of the bench's own, as in the test `pair`. There is no power to cut: a killed keeper,
//! which takes its PostgreSQL along, is the nearest to it.

#[path = "../tests/pair/client.rs"]
mod client;
#[path = "../tests/pair/namespace.rs"]
mod namespace;
#[path = "../tests/pair/site.rs"]
mod site;
#[path = "../../rootfs/pgkeeper/tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Instant;

use client::Writer;
use control::{Answer, PgRequest};
use qemu_tests::bench::Sample;
use site::{Arbiter, Site};

const FAULTS: u32 = 30;
/// Rows between two faults: the pair is as it should be again, and clients know it.
const ROWS_BETWEEN: usize = 20;

/// What is done to the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    KeeperKilled,
    AskedToEnd,
    Switchover,
    Frozen,
}

const CLASSES: [Class; 4] =
    [Class::KeeperKilled, Class::AskedToEnd, Class::Switchover, Class::Frozen];

impl Class {
    fn words(self) -> &'static str {
        match self {
            Self::KeeperKilled => "keeper and PostgreSQL killed",
            Self::AskedToEnd => "keeper asked to end",
            Self::Switchover => "planned switchover",
            Self::Frozen => "keeper and PostgreSQL frozen",
        }
    }
}

/// What came of the faults of a class.
#[derive(Debug, Default)]
struct Figures {
    gap: Sample,
    in_sync_again: Sample,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [word, _, ..] = &words[..]
        && ["run", "witness"].contains(&word.as_str())
    {
        return pgkeeper::cli::main();
    }
    let count = words.iter().find(|word| !word.starts_with('-')).map(|word| word.parse());
    let Ok(faults) = count.unwrap_or(Ok(FAULTS)) else {
        eprintln!("usage: cargo bench --workspace --bench pair -- [FAULTS]");
        return ExitCode::from(2);
    };
    let programs = site::Programs::obtain();
    if let Err(why) = namespace::enter() {
        eprintln!("no network namespace can be made: {why}");
        return ExitCode::FAILURE;
    }
    println!(
        "| fault | decided by | faults | without an acknowledged row, p50 / p99 / max | in sync \
         again, p50 / max |\n|---|---|--:|--:|--:|"
    );
    for arbiter in [Arbiter::Policy, Arbiter::Witness] {
        let figures = measure(&programs, arbiter, faults);
        for (class, Figures { gap, in_sync_again }) in CLASSES.iter().zip(&figures) {
            let seconds = |values: &[f64]| {
                values.iter().map(|value| format!("{value:.2} s")).collect::<Vec<_>>().join(" / ")
            };
            let gaps = seconds(&[gap.median(), gap.percentile(99), gap.largest()]);
            let again = seconds(&[in_sync_again.median(), in_sync_again.largest()]);
            let class = class.words();
            println!("| {class} | {arbiter:?} | {} | {gaps} | {again} |", gap.count());
        }
    }
    ExitCode::SUCCESS
}

/// One pair, struck again and again. Whoever follows when a fault is over leads at the next one.
fn measure(programs: &site::Programs, arbiter: Arbiter, faults: u32) -> Vec<Figures> {
    let mut site = Site::in_sync(programs, arbiter);
    let writer = Writer::start(&site);
    let mut figures: Vec<Figures> = CLASSES.iter().map(|_| Figures::default()).collect();
    let (mut leader, mut follower) = (0, 1);
    for round in 1..=faults {
        eprintln!("{arbiter:?}: round {round} of {faults}");
        for (class, figures) in CLASSES.iter().zip(&mut figures) {
            writer.await_more(ROWS_BETWEEN);
            let gap = match class {
                Class::KeeperKilled => writer.gap_of(|| site.kill(leader)),
                Class::AskedToEnd => writer.gap_of(|| site.end(leader)),
                Class::Switchover => writer.gap_of(|| {
                    assert_eq!(site.order(leader, PgRequest::Switchover), Answer::Accepted);
                    site.await_state(follower, "primary, alone");
                }),
                Class::Frozen => writer.gap_of(|| site.pause(leader)),
            };
            figures.gap.add_seconds(gap);
            if *class == Class::KeeperKilled {
                site.await_no_postgres(leader);
            }
            let healed = Instant::now();
            match class {
                Class::KeeperKilled | Class::AskedToEnd => site.start(leader),
                Class::Switchover => {}
                Class::Frozen => site.go_on(leader),
            }
            site.await_state(leader, "standby, in sync");
            site.await_state(follower, "primary, in sync");
            figures.in_sync_again.add_seconds(healed.elapsed());
            let refusal = site.refusal(leader);
            assert!(refusal.contains("not accepting connections"), "{refusal}");
            std::mem::swap(&mut leader, &mut follower);
        }
    }
    let acknowledged = writer.end();
    let lost = acknowledged.difference(&site.rows()).count();
    println!(
        "<!-- {arbiter:?}: {} rows were acknowledged, {lost} of them lost -->",
        acknowledged.len()
    );
    site.end(leader);
    site.end(follower);
    figures
}
