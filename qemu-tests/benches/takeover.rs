//! How long an address is gone: two vipd against two keepalived, in turn, on the same wire.
//!
//! For each interval and each kind of fault the holder is struck again and again, at a random moment of
//! its interval. What is measured is the time from the fault to the other node's first advert, at the
//! switch. Then the processor time and memory of one daemon with 64 routers at 10 ms.
//!
//! `cargo bench -p qemu-tests --bench takeover --profile dev -- [FAULTS [CENTISECONDS…]]`; the variable
//! `VIPD` names the binary to measure, since the one of the tests is not optimized.

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
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
    Kill,
    LinkDown,
    Stop,
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
        "| interval | fault | daemon | faults | p50 | p99 | max |\n|---|---|---|---|---|---|---|"
    );
    for centiseconds in intervals {
        for fault in [Fault::Kill, Fault::LinkDown, Fault::Stop] {
            for daemon in DAEMONS {
                let mut times = measure(daemon, fault, centiseconds, faults);
                times.sort();
                let at = |share: usize| times[(times.len() - 1) * share / 100];
                println!(
                    "| {} ms | {fault:?} | {daemon} | {faults} | {:.1?} | {:.1?} | {:.1?} |",
                    u32::from(centiseconds) * 10,
                    at(50),
                    at(99),
                    at(100)
                );
            }
        }
    }
    for daemon in DAEMONS {
        load(daemon);
    }
}

fn router(priority: u8, centiseconds: u16) -> Router {
    Router { centiseconds, ..Router::v3([192, 0, 2, 100].into(), priority) }
}

/// Strikes the holder so many times; each time it comes back and takes the address again.
fn measure(word: &str, fault: Fault, centiseconds: u16, faults: usize) -> Vec<Duration> {
    let lab = Lab::new(2);
    let (better, lesser) = (router(150, centiseconds), router(100, centiseconds));
    let _second = start(word, &lab.nodes[1], &lesser);
    let mut first = Some(start(word, &lab.nodes[0], &better));
    let interval = Duration::from_millis(u64::from(centiseconds) * 10);
    let mut times = Vec::new();
    for _ in 0..faults {
        eventually("the better node holds it", || {
            let all = adverts(&lab);
            let settled = all.iter().rev().take(3).all(|advert| advert.node == 0);
            settled && all.len() >= 3 && lab.nodes[0].has(better.vip)
        });
        std::thread::sleep(random_part(interval));
        let struck = Instant::now();
        match fault {
            Fault::Kill => first.take().expect("it runs").kill(),
            Fault::LinkDown => lab.plug(0, false),
            Fault::Stop => first.take().expect("it runs").stop(),
        }
        let takeover = || adverts(&lab).into_iter().find(|one| one.node == 1 && one.at > struck);
        eventually("the other takes over", || takeover().is_some());
        times.push(takeover().expect("seen").at.duration_since(struck));
        lab.forget();
        if matches!(fault, Fault::LinkDown) {
            lab.plug(0, true);
        } else {
            first = Some(start(word, &lab.nodes[0], &better));
        }
    }
    times
}

/// Anywhere in an interval; the clock's lowest digits are random enough for that.
fn random_part(interval: Duration) -> Duration {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
    interval * (nanos / 1000 % 1000) / 1000
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
