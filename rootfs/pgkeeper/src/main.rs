//! The PostgreSQL keeper's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    pgkeeper::cli::main()
}
