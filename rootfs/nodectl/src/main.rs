//! The operator's command, on the node and from afar.

use std::process::ExitCode;

fn main() -> ExitCode {
    nodectl::cli::main()
}
