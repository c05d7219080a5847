//! A queue into the keeper's loop: whoever puts something in wakes the loop, and nobody waits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::event::{EventfdFlags, eventfd};

/// The loop's end.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    queue: Receiver<T>,
    bell: Arc<OwnedFd>,
}

/// An end for others; there may be many.
#[derive(Debug)]
pub(crate) struct Outlet<T> {
    queue: Sender<T>,
    bell: Arc<OwnedFd>,
}

impl<T> Clone for Outlet<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), bell: self.bell.clone() }
    }
}

/// A queue with its two ends.
pub(crate) fn inbox<T>() -> io::Result<(Outlet<T>, Inbox<T>)> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let bell = Arc::new(eventfd(0, flags)?);
    let (sender, receiver) = channel();
    Ok((Outlet { queue: sender, bell: bell.clone() }, Inbox { queue: receiver, bell }))
}

impl<T> Outlet<T> {
    /// Puts something in; says whether anybody will ever take it out.
    pub(crate) fn put(&self, item: T) -> bool {
        let taken = self.queue.send(item).is_ok();
        // The counter can't overflow before the loop looks, and an error would mean that it did.
        let _rung = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
        taken
    }
}

impl<T> Inbox<T> {
    /// Silences the bell; to be called before the queue is emptied, so that nothing that comes in
    /// meanwhile goes unnoticed.
    pub(crate) fn quiet(&self) {
        let mut count = [0; 8];
        let _none = rustix::io::read(&*self.bell, &mut count);
    }

    /// Rings, as if something had come in.
    pub(crate) fn ring(&self) {
        let _rung = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
    }

    /// The next item, if there is one.
    pub(crate) fn take(&self) -> Option<T> {
        self.queue.try_recv().ok()
    }
}

impl<T> AsFd for Inbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn rings<T>(inbox: &Inbox<T>) -> bool {
        let mut waits = [PollFd::new(inbox, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut waits, Some(&at_once)).expect("poll") == 1
    }

    #[test]
    fn the_bell_rings_until_it_is_silenced() {
        let (outlet, inbox) = inbox().expect("an inbox");
        assert!(!rings(&inbox));
        let other = outlet.clone();
        assert!(std::thread::spawn(move || other.put(1)).join().expect("a thread"));
        assert!(outlet.put(2));
        assert!(rings(&inbox));
        inbox.quiet();
        assert!(!rings(&inbox));
        assert_eq!((inbox.take(), inbox.take(), inbox.take()), (Some(1), Some(2), None));
        drop(inbox);
        assert!(!outlet.put(3), "nobody is there any more");
    }
}
