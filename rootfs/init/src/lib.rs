//! PID 1 of a node: one static binary that is both stages.
//!
//! As `/init` of the initramfs it is stage 1: it finds the root, has dm-verity check it, and starts
//! itself again from there. On the root it is stage 2: it runs the boot phases and then watches.
//!
//! What it owns: mounts, modules, the seed's place in `/run`, the processes of services, the
//! watchdog, the end of the run. What it never does: block on anyone, or parse anything from the
//! network. It must not panic, because that is a kernel panic; so nothing here unwraps, and errors
//! are values up to [`be_pid_1`].
//!
//! It is a library only so that its parts can be tested with real processes, without being PID 1.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod announcement;
mod boot;
pub mod clock;
pub mod console;
pub mod control;
mod devices;
mod disks;
mod finish;
mod modules;
mod mounts;
mod network;
pub mod node;
mod power;
mod role;
mod seed_source;
pub mod services;
mod slot;
mod stage1;
mod state;
mod view;
pub mod watch;
mod watchdog;

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

pub use power::Ending;

/// What the binary does when others than the kernel start it.
pub use role::run as play_a_role;

/// The whole life of PID 1.
pub fn be_pid_1() -> ! {
    // The initramfs has no other root below it yet, which is how the stages tell themselves apart.
    let refused = if Path::new("/etc/edgepair/early-modules").exists() {
        let Err(error) = stage1::run();
        say!("stage 1 failed: {error}");
        give_up();
        power::end(Ending::Restart)
    } else {
        run_stage_2()
    };
    say!("{refused}; waiting for a hand");
    loop {
        // PID 1 must not return: that would be a kernel panic.
        sleep(Duration::from_hours(1));
    }
}

fn run_stage_2() -> power::PowerError {
    let failed = |error| {
        say!("stage 2 failed: {error}");
        give_up();
        Ending::Restart
    };
    match boot::begin() {
        Ok(mut node) => {
            let ending = boot::run(&mut node).unwrap_or_else(failed);
            finish::finish(&mut node, ending);
            power::end(ending)
        }
        Err(error) => power::end(failed(error)),
    }
}

/// The other slot if there is one, then a restart; not too often.
fn give_up() {
    let pause = slot::give_up();
    if !pause.is_zero() {
        say!("restarting in {} seconds", pause.as_secs());
        console::drain(Duration::from_secs(1));
        sleep(pause);
    }
}
