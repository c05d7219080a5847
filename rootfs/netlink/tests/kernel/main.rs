//! The crate against a real kernel, in network namespaces of its own.

mod addresses;
mod links;
mod namespace;
mod news;
mod routes;
mod runner;
mod sockets;

use std::process::ExitCode;

fn main() -> ExitCode {
    runner::run(&[links::TESTS, addresses::TESTS, routes::TESTS, news::TESTS, sockets::TESTS])
}
