//! The devices of the machine while the node runs: drivers for what comes, and word of it.
//!
//! ```text
//!  start:   listen ─> cold-plug in a program of its own, waited for ─> watchdog
//!  running: uevent ─┬─ says what it is ──> queue ─> a program loads its drivers
//!                   ├─ a disk or stick ──> News::Disk
//!                   └─ verity refused a block of the root ──> News::RootDamaged
//! ```
//! Loading a module runs the driver's first contact with its hardware, which takes as long as the
//! hardware likes. So PID 1 never loads one itself: it starts its own binary in another role
//! ([`program`]), and a driver that hangs takes that program along and nobody else.

pub(crate) mod cold;
mod program;
mod queue;
mod socket;
mod uevent;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

pub(crate) use program::{ROLE, run as run_program};
pub(crate) use socket::{Received, UeventSocket};
pub(crate) use uevent::parse;

use crate::say;
use program::Programs;
use queue::{Batch, Queue};

/// What is handled before the loop may look at something else.
const EVENTS_PER_TURN: usize = 64;

/// What the rest of the agent wants to know of the devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A disk, stick or partition came or has changed: look for what you were missing.
    Disk,
    /// dm-verity refused a block of the root: what read it was not served.
    RootDamaged { block: String },
}

/// The machine's devices. Without a socket, which no kernel of ours lacks, nothing is heard.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    socket: Option<UeventSocket>,
    queue: Queue,
    programs: Programs,
    /// One damaged block is enough to know.
    damage_told: bool,
}

impl Devices {
    /// Listens, and waits until the devices that are there have their drivers, or for as long as
    /// that may take.
    pub(crate) fn start() -> Self {
        // Listen first: what comes during the walk is heard of.
        let socket = UeventSocket::open();
        if let Err(error) = &socket {
            say!("devices that are plugged in later won't be noticed: {error}");
        }
        let mut devices = Self { socket: socket.ok(), ..Self::default() };
        devices.programs.start_and_wait(&Batch::All);
        devices
    }

    /// Readable when there is something to handle.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Handles what the kernel said, a bounded part of it; cheap when it said nothing. To be called
    /// at every turn of the loop, since the end of a program lets the next batch start.
    pub(crate) fn handle(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        let now = Instant::now();
        if let Some(socket) = &mut self.socket {
            for _ in 0..EVENTS_PER_TURN {
                match socket.receive() {
                    Received::Message(message) => note(message, now, &mut self.queue, &mut news),
                    Received::Lost => {
                        say!("more device events than could be read: looking at all devices");
                        self.queue.note_loss();
                        news.push(News::Disk);
                    }
                    Received::Nothing => break,
                }
            }
        }
        if self.programs.has_room(now)
            && let Some(batch) = self.queue.take()
        {
            self.programs.start(&batch, now);
        }
        news.dedup();
        news.retain(|one| {
            let is_damage = matches!(one, News::RootDamaged { .. });
            !(is_damage && std::mem::replace(&mut self.damage_told, true))
        });
        news
    }
}

fn note(message: &[u8], now: Instant, queue: &mut Queue, news: &mut Vec<News>) {
    let Some(event) = parse(message) else { return };
    if let Some(block) = event.bad_block {
        news.push(News::RootDamaged { block: block.to_owned() });
    }
    if event.action == "add"
        && let Some(modalias) = event.modalias
    {
        queue.note(modalias, now);
    }
    // Device-mapper's own devices hold nothing new; a card reader changes when a card comes.
    let disk = event.subsystem == "block" && ["add", "change"].contains(&event.action);
    if disk && event.device.is_some_and(|device| !device.starts_with("dm-")) {
        news.push(News::Disk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(message: &str) -> (Vec<News>, Option<Batch>) {
        let (mut queue, mut news) = (Queue::default(), Vec::new());
        note(message.as_bytes(), Instant::now(), &mut queue, &mut news);
        (news, queue.take())
    }

    #[test]
    fn events_become_news_and_drivers() {
        let (news, batch) = heard("add@/d\0ACTION=add\0SUBSYSTEM=usb\0MODALIAS=usb:v1\0");
        assert_eq!((news, batch), (vec![], Some(Batch::These(vec!["usb:v1".to_owned()]))));
        let (news, batch) = heard("add@/d\0ACTION=add\0SUBSYSTEM=block\0DEVNAME=sda\0");
        assert_eq!((news, batch), (vec![News::Disk], None));
        let gone = "remove@/d\0ACTION=remove\0SUBSYSTEM=usb\0MODALIAS=usb:v1\0DEVNAME=sda\0";
        assert_eq!(heard(gone), (vec![], None));
        let bad = "change@/d\0ACTION=change\0SUBSYSTEM=block\0DEVNAME=dm-0\0\
            DM_VERITY_ERR_BLOCK_NR=0,7\0";
        assert_eq!(heard(bad).0, [News::RootDamaged { block: "0,7".to_owned() }]);
    }
}
