//! Runs tests one after the other, each in an empty network namespace.
//!
//! Where no namespace can be made the tests are skipped and say why, unless `CI` is set: there it
//! is a failure. A user namespace comes first, so that no root is needed; it can only be made while
//! the process has one thread, hence no libtest.

use std::panic::catch_unwind;
use std::process::ExitCode;

use crate::namespace;

/// A test by its name; it may decline with a reason.
pub(crate) type Test = (&'static str, fn() -> Outcome);

/// A test that comes to its end has passed, or says what it misses.
pub(crate) enum Outcome {
    Passed,
    Skipped(String),
}

/// Runs what the command line names, or everything.
pub(crate) fn run(groups: &[&[Test]]) -> ExitCode {
    let filter: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let on_ci = std::env::var_os("CI").is_some();
    if let Err(why) = namespace::become_root_of_our_own() {
        println!("skipped: no network namespace can be made: {why}");
        return if on_ci { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
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
