//! The binary of PID 1; everything is in the library beside it.

fn main() {
    if std::process::id() != 1 {
        eprintln!("init is PID 1 of a node; started by hand it has nothing to do");
        std::process::exit(2);
    }
    init::be_pid_1();
}
