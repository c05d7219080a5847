//! The `sim` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    sim::cli::run(std::env::args().skip(1))
}
