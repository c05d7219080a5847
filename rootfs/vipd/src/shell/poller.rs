//! What the loop waits for: descriptors and what each of them means.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// Ready descriptors per turn. What stays ready comes to the end of the kernel's queue, so none is
/// starved by another.
const EVENTS_PER_TURN: usize = 64;

/// What a descriptor means; the number is an index into the daemon's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Alarm,
    Signals,
    Monitor,
    Adverts(usize),
    Claims(usize),
    Probe(usize),
    PermitListener,
    PermitHolder,
    ControlListener,
    ControlClient(usize),
}

/// An epoll instance.
pub(super) struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl fmt::Debug for Poller {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Poller").field("epoll", &self.epoll).finish_non_exhaustive()
    }
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS_PER_TURN) })
    }

    pub(super) fn add(&self, descriptor: impl AsFd, source: Source) -> io::Result<()> {
        self.register(descriptor, source, EventFlags::IN)
    }

    /// Also when it can be written to.
    pub(super) fn add_writable(&self, descriptor: impl AsFd, source: Source) -> io::Result<()> {
        self.register(descriptor, source, EventFlags::IN | EventFlags::OUT)
    }

    pub(super) fn wait_readable(&self, descriptor: impl AsFd, source: Source) -> io::Result<()> {
        epoll::modify(&self.epoll, descriptor, EventData::new_u64(encode(source)), EventFlags::IN)?;
        Ok(())
    }

    /// A closed descriptor leaves by itself; one that lives on is removed here.
    pub(super) fn remove(&self, descriptor: impl AsFd) {
        let _ = epoll::delete(&self.epoll, descriptor);
    }

    /// Waits until something is ready.
    pub(super) fn wait(&mut self) -> io::Result<Vec<Source>> {
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        Ok(self.events.iter().filter_map(|event| decode(event.data.u64())).collect())
    }

    fn register(&self, descriptor: impl AsFd, source: Source, flags: EventFlags) -> io::Result<()> {
        epoll::add(&self.epoll, descriptor, EventData::new_u64(encode(source)), flags)?;
        Ok(())
    }
}

/// The kernel keeps one number for each descriptor: the kind above, the index below.
fn encode(source: Source) -> u64 {
    let (kind, index) = match source {
        Source::Alarm => (0, 0),
        Source::Signals => (1, 0),
        Source::Monitor => (2, 0),
        Source::Adverts(index) => (3, index),
        Source::Claims(index) => (4, index),
        Source::Probe(index) => (5, index),
        Source::PermitListener => (6, 0),
        Source::PermitHolder => (7, 0),
        Source::ControlListener => (8, 0),
        Source::ControlClient(index) => (9, index),
    };
    (kind << 32) | u64::try_from(index).unwrap_or(0)
}

fn decode(number: u64) -> Option<Source> {
    let index = usize::try_from(number & 0xffff_ffff).ok()?;
    Some(match number >> 32 {
        0 => Source::Alarm,
        1 => Source::Signals,
        2 => Source::Monitor,
        3 => Source::Adverts(index),
        4 => Source::Claims(index),
        5 => Source::Probe(index),
        6 => Source::PermitListener,
        7 => Source::PermitHolder,
        8 => Source::ControlListener,
        9 => Source::ControlClient(index),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_comes_back_as_itself() {
        let sources = [
            Source::Alarm,
            Source::Signals,
            Source::Monitor,
            Source::Adverts(3),
            Source::Claims(4),
            Source::Probe(5),
            Source::PermitListener,
            Source::PermitHolder,
            Source::ControlListener,
            Source::ControlClient(7),
        ];
        for source in sources {
            assert_eq!(decode(encode(source)), Some(source));
        }
    }
}
