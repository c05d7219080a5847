//! The crate against a real kernel, in network namespaces of its own.
//!
//! Each test gets an empty namespace. Where none can be made the tests are skipped and say why, unless
//! `CI` is set: there it is a failure. A user namespace comes first, so that no root is needed; it
//! can only be made while the process has one thread, hence `harness = false`.

mod addresses;
mod links;
mod namespace;
mod news;
mod routes;
mod sockets;

use std::panic::catch_unwind;
use std::process::ExitCode;

/// A test by its name; it may decline with a reason.
type Test = (&'static str, fn() -> Outcome);

/// A test that comes to its end has passed, or says what it misses.
pub(crate) enum Outcome {
    Passed,
    Skipped(String),
}

fn main() -> ExitCode {
    let filter: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let on_ci = std::env::var_os("CI").is_some();
    if let Err(why) = namespace::become_root_of_our_own() {
        println!("skipped: no network namespace can be made: {why}");
        return if on_ci { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let groups = [links::TESTS, addresses::TESTS, routes::TESTS, news::TESTS, sockets::TESTS];
    let wanted = |name: &str| filter.is_empty() || filter.iter().any(|word| name.contains(word));
    let mut failed = 0;
    for (name, test) in groups.iter().flat_map(|group| group.iter()) {
        if !wanted(name) {
            continue;
        }
        namespace::enter_empty().expect("a namespace");
        match catch_unwind(test) {
            Ok(Outcome::Passed) => println!("test {name} ... ok"),
            Ok(Outcome::Skipped(why)) => println!("test {name} ... skipped: {why}"),
            Err(_) => {
                failed += 1;
                println!("test {name} ... FAILED");
            }
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
