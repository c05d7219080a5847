//! The way to the disk: the modules that the initramfs carries, loaded until the root is there.
//!
//! ```text
//!  the image's list, in order ─> is it there? ─> drivers for the devices that are there ─> is it there?
//!        ─> each event: a device brings its driver, a disk brings a look ─> … at most 30 s
//! ```
//! A machine whose disk the list reaches never pays for the rest.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::devices::cold::{self, Walked};
use crate::devices::{Received, UeventSocket, parse};
use crate::modules::{Loader, Modules};
use crate::say;
use crate::stage1::Stage1Error;

/// The modules that stage 1 loads, one name a line, in order; written by the builder.
pub(super) const EARLY_MODULES: &str = "/etc/edgepair/early-modules";
/// USB disks may take this long after power-on until they answer.
pub(super) const DISK_WAIT: Duration = Duration::from_secs(30);
/// Events wake the wait; this is for whatever sends none.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Loads the image's own list, and then whatever it takes until `look` finds something.
pub(super) fn load_until<T>(look: impl Fn() -> Option<T>) -> Result<Option<T>, Stage1Error> {
    let started = Instant::now();
    // Listen first: what a driver brings is heard of.
    let mut socket = UeventSocket::open().map_err(Stage1Error::Events)?;
    let modules = Modules::of_running_kernel()?;
    let loader = modules.loader();
    load_early(&loader).map_err(|source| Stage1Error::Read { path: EARLY_MODULES, source })?;
    if let Some(found) = look() {
        return Ok(Some(found));
    }
    let mut found = None;
    let mut walked = cold::plug(&loader, &mut || {
        found = look();
        found.is_some()
    });
    while found.is_none() && started.elapsed() < DISK_WAIT {
        handle(&mut socket, &loader, &mut walked);
        found = look();
        if found.is_none() {
            wait(&socket);
        }
    }
    walked.troubles.iter().for_each(|trouble| say!("{trouble}"));
    Ok(found)
}

/// A driver for hardware that is not there is no reason to stop; a missing disk will be noticed.
fn load_early(loader: &Loader<'_>) -> io::Result<()> {
    for name in fs::read_to_string(EARLY_MODULES)?.split_whitespace() {
        if let Err(error) = loader.load(name, "") {
            say!("{error}");
        }
    }
    Ok(())
}

/// Drivers for the devices that came since. What was lost comes with a walk over all.
fn handle(socket: &mut UeventSocket, loader: &Loader<'_>, walked: &mut Walked) {
    loop {
        match socket.receive() {
            Received::Message(message) => {
                let event = parse(message).filter(|event| event.action == "add");
                if let Some(modalias) = event.and_then(|event| event.modalias) {
                    cold::load_for(loader, modalias, walked);
                }
            }
            Received::Lost => drop(cold::plug(loader, &mut || false)),
            Received::Nothing => return,
        }
    }
}

fn wait(socket: &UeventSocket) {
    let mut inputs = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
    let limit = Timespec::try_from(LOOK_AGAIN).ok();
    // Whatever ends the wait, another look follows.
    let _woken = poll(&mut inputs, limit.as_ref());
}
