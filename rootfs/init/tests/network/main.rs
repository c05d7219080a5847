//! PID 1's network against a real kernel, in network namespaces; its cards are ends of veth pairs.

// What only the boot phase asks for isn't asked for here, and its unit tests don't run here.
#[allow(dead_code, unused_imports)]
#[path = "../../src/network/mod.rs"]
mod network;

#[path = "../../../netlink/tests/kernel/namespace.rs"]
mod namespace;
mod reconciling;
#[path = "../../../netlink/tests/kernel/runner.rs"]
mod runner;

use std::process::ExitCode;

fn main() -> ExitCode {
    runner::run(&[reconciling::TESTS])
}
