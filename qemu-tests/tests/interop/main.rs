//! `vipd` on a wire: against Debian's keepalived, against itself, and against a flood.
//!
//! The tests make their own network namespaces. Where none can be made, or keepalived can't be had,
//! they say "skipped" and why, unless `CI` is set: there it is a failure. A user namespace comes first,
//! so that no root is needed; it can only be made while the process has one thread, hence
//! `harness = false`.

#[allow(dead_code, reason = "shared with the bench, which uses the rest")]
mod daemons;
mod flood;
mod keepalived;
#[allow(dead_code, reason = "shared with the bench, which uses the rest")]
mod lab;
mod pair;
mod permit;
mod several;
mod wire;

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::Mutex;

/// A test by its name.
type Test = (&'static str, fn());

/// Each test has its own namespaces, so several run at a time; they mostly wait.
const AT_A_TIME: usize = 3;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let filter: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let on_ci = std::env::var_os("CI").is_some();
    let skip = |why: &str| {
        println!("skipped: {why}");
        if on_ci { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    };
    // Before the namespace: there is no network in it to fetch or build anything from.
    daemons::vipd();
    if let Err(error) = daemons::obtain_keepalived() {
        return skip(&format!("keepalived can't be had: {error}"));
    }
    if let Err(why) = lab::become_root_of_our_own() {
        return skip(&format!("no network namespace can be made: {why}"));
    }
    if let Err(why) = daemons::show_keepalived_its_files() {
        return skip(&why);
    }
    let wanted = |name: &str| filter.is_empty() || filter.iter().any(|word| name.contains(*word));
    let groups = [pair::TESTS, several::TESTS, permit::TESTS, keepalived::TESTS];
    let tests: Vec<&Test> =
        groups.iter().flat_map(|group| group.iter()).filter(|(name, _)| wanted(name)).collect();
    let mut failed = run(&tests, AT_A_TIME);
    // Alone, since it takes a processor.
    let alone: Vec<&Test> = flood::TESTS.iter().filter(|(name, _)| wanted(name)).collect();
    failed += run(&alone, 1);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs tests, some at a time; how many failed.
fn run(tests: &[&Test], at_a_time: usize) -> usize {
    let queue = Mutex::new(tests.iter());
    let failed = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("whole").next();
                    let Some((name, test)) = next else { break };
                    let passed = catch_unwind(test).is_ok();
                    println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
                    *failed.lock().expect("whole") += usize::from(!passed);
                }
            });
        }
    });
    failed.into_inner().expect("whole")
}
