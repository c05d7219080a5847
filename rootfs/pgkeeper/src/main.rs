//! The PostgreSQL keeper's program; as yet the witness.

use std::process::ExitCode;

fn main() -> ExitCode {
    pgkeeper::cli::main()
}
