//! The binary of PID 1; everything is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        return init::play_a_role(std::env::args());
    }
    init::be_pid_1();
}
