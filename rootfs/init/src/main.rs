//! PID 1 of a node: one static binary that is both stages.
//!
//! As `/init` of the initramfs it is stage 1: it finds the root, has dm-verity check it, and starts
//! itself again from there. On the root it is stage 2: it runs the boot phases and then watches.
//!
//! What it owns: mounts, modules, the seed's place in `/run`, the end of the run. What it never
//! does: block on anyone, or parse anything from the network. It must not panic, because that is
//! a kernel panic; so nothing here unwraps, and errors are values up to `main`.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod boot;
mod console;
mod disks;
mod modules;
mod mounts;
mod node;
mod power;
mod seed_source;
mod stage1;

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use power::Ending;

/// Long enough for a person to read the reason from a screen, or for a camera to catch it.
const PAUSE_BEFORE_RESTART: Duration = Duration::from_secs(10);

fn main() {
    if std::process::id() != 1 {
        eprintln!("init is PID 1 of a node; started by hand it has nothing to do");
        std::process::exit(2);
    }
    // The initramfs has no other root below it yet, which is how the stages tell themselves apart.
    let ending = if Path::new("/etc/edgepair/early-modules").exists() {
        let Err(error) = stage1::run();
        say!("stage 1 failed: {error}");
        pause();
        Ending::Restart
    } else {
        boot::run().unwrap_or_else(|error| {
            say!("stage 2 failed: {error}");
            pause();
            Ending::Restart
        })
    };
    let refused = power::end(ending);
    say!("{refused}; waiting for a hand");
    loop {
        // PID 1 must not return: that would be a kernel panic.
        sleep(Duration::from_hours(1));
    }
}

fn pause() {
    say!("restarting in {} seconds", PAUSE_BEFORE_RESTART.as_secs());
    sleep(PAUSE_BEFORE_RESTART);
}
