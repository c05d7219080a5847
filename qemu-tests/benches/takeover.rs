//! How long an address is gone: two vipd against two keepalived, in turn, on the same wire.
//!
//! For each interval and each kind of fault the holder is struck again and again, at moments that are
//! spread evenly over its interval, so that both daemons meet the same luck. What is measured is the
//! time from the fault to the other node's first advert, at the switch. Long intervals are mostly
//! waited for, so several pairs are struck side by side there. Then the processor time and memory of
//! one daemon with 64 routers at 10 ms.
//!
//! `cargo bench -p qemu-tests --bench takeover -- [FAULTS [CENTISECONDS…]]`; the variable `VIPD` names
//! the binary to measure, such as that of profile `node`.

#[path = "../tests/interop/daemons.rs"]
#[allow(dead_code, reason = "shared with the interop tests, which use the rest")]
mod daemons;
#[path = "../tests/interop/lab.rs"]
#[allow(dead_code, reason = "shared with the interop tests, which use the rest")]
mod lab;
#[path = "../tests/interop/wire.rs"]
#[allow(dead_code, reason = "shared with the interop tests, which use the rest")]
mod wire;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use daemons::{Daemon, KEEPALIVED_WORD, Router, start};
use lab::{Lab, eventually};
use wire::adverts;

const FAULTS: usize = 50;
const CENTISECONDS: [u16; 3] = [100, 10, 1];
const DAEMONS: [&str; 2] = ["vipd", KEEPALIVED_WORD];
const ROUTERS: u8 = 64;
const LOAD_SECONDS: u64 = 5;

#[derive(Debug, Clone, Copy)]
enum Fault {
    Killed,
    CablePulled,
    Stopped,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let faults = words.first().and_then(|word| word.parse().ok()).unwrap_or(FAULTS);
    let given: Vec<u16> = words.iter().skip(1).filter_map(|word| word.parse().ok()).collect();
    let intervals = if given.is_empty() { CENTISECONDS.to_vec() } else { given };
    daemons::vipd();
    daemons::obtain_keepalived().expect("keepalived");
    lab::become_root_of_our_own().expect("namespaces");
    daemons::show_keepalived_its_files().expect("its files");
    println!(
        "{faults} faults of each kind, p50 / p99 / max in ms\n\n\
         | interval | fault | vipd | keepalived | ratio of p50, of max |\n|---|---|--:|--:|--:|"
    );
    for centiseconds in intervals {
        for fault in [Fault::Killed, Fault::CablePulled, Fault::Stopped] {
            let [ours, theirs] = DAEMONS.map(|word| measure(word, fault, centiseconds, faults));
            let ratio = |share| at(&ours, share) / at(&theirs, share);
            println!(
                "| {} ms | {fault:?} | {} | {} | {:.2}, {:.2} |",
                u32::from(centiseconds) * 10,
                figures(&ours),
                figures(&theirs),
                ratio(50),
                ratio(100)
            );
        }
    }
    println!();
    for daemon in DAEMONS {
        load(daemon);
    }
}

/// The time that so many percent of the sorted ones don't exceed, in milliseconds.
fn at(times: &[Duration], percent: usize) -> f64 {
    let place = (times.len() * percent).div_ceil(100).max(1) - 1;
    times[place].as_secs_f64() * 1000.0
}

fn figures(times: &[Duration]) -> String {
    format!("{:.1} / {:.1} / {:.1}", at(times, 50), at(times, 99), at(times, 100))
}

fn router(priority: u8, centiseconds: u16) -> Router {
    Router { centiseconds, ..Router::v3([192, 0, 2, 100].into(), priority) }
}

/// So many pairs side by side do not disturb each other: at a hundredth of a second, none.
fn pairs(centiseconds: u16) -> usize {
    match centiseconds {
        0..5 => 1,
        5..50 => 4,
        50.. => 16,
    }
}

/// Strikes so often, each time at another moment of the interval; the times, sorted.
fn measure(word: &str, fault: Fault, centiseconds: u16, faults: usize) -> Vec<Duration> {
    let interval = Duration::from_millis(u64::from(centiseconds) * 10);
    let moment = |number: usize| {
        let share = f64::from(u32::try_from(2 * number + 1).expect("few"));
        interval.mul_f64(share / f64::from(u32::try_from(2 * faults).expect("few")))
    };
    let pairs = pairs(centiseconds).min(faults);
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let striking: Vec<_> = (0..pairs)
            .map(|pair| {
                let moments: Vec<Duration> = (pair..faults).step_by(pairs).map(moment).collect();
                scope.spawn(move || strike(word, fault, centiseconds, &moments))
            })
            .collect();
        striking.into_iter().flat_map(|one| one.join().expect("struck")).collect()
    });
    times.sort();
    times
}

/// Strikes the holder so long after one of its adverts; each time it comes back and takes the address
/// again.
fn strike(word: &str, fault: Fault, centiseconds: u16, moments: &[Duration]) -> Vec<Duration> {
    let lab = Lab::new(2);
    let (better, lesser) = (router(150, centiseconds), router(100, centiseconds));
    let _second = start(word, &lab.nodes[1], &lesser);
    let mut first = Some(start(word, &lab.nodes[0], &better));
    let mut times = Vec::new();
    for moment in moments {
        eventually("the better node holds it", || {
            let all = adverts(&lab);
            let settled = all.iter().rev().take(3).all(|advert| advert.node == 0);
            settled && all.len() >= 3 && lab.nodes[0].has(better.vip)
        });
        let seen = adverts(&lab).len();
        eventually("its next advert", || adverts(&lab).len() > seen);
        let last = adverts(&lab).pop().expect("adverts").at;
        std::thread::sleep((last + *moment).saturating_duration_since(Instant::now()));
        let struck = Instant::now();
        match fault {
            Fault::Killed => first.take().expect("it runs").kill(),
            Fault::CablePulled => lab.plug(0, false),
            Fault::Stopped => first.take().expect("it runs").stop(),
        }
        let takeover = || adverts(&lab).into_iter().find(|one| one.node == 1 && one.at > struck);
        eventually("the other takes over", || takeover().is_some());
        times.push(takeover().expect("seen").at.duration_since(struck));
        lab.forget();
        if matches!(fault, Fault::CablePulled) {
            lab.plug(0, true);
        } else {
            first = Some(start(word, &lab.nodes[0], &better));
        }
    }
    times
}

/// One daemon with many routers, all Active.
fn load(word: &str) {
    let lab = Lab::recording(1, 0);
    let node = &lab.nodes[0];
    let routers: Vec<(u8, IpAddr)> =
        (1..=ROUTERS).map(|vrid| (vrid, IpAddr::from([192, 0, 2, 100 + vrid]))).collect();
    let daemon = Daemon::with_many(word, node, &routers);
    eventually("all addresses are held", || node.addresses().len() == routers.len());
    let before = daemon.processor_time();
    let start = Instant::now();
    std::thread::sleep(Duration::from_secs(LOAD_SECONDS));
    let used = daemon.processor_time().saturating_sub(before);
    let share = used.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    println!(
        "{word}: {ROUTERS} routers at 10 ms: {share:.1} % of a core, {} kB",
        daemon.resident()
    );
}
