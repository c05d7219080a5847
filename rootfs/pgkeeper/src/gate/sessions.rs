//! Whether the gate is open, and both ends of every session: what makes "closed" final at once.
//!
//! ```text
//!  Closed --open(e)--> Open(e) --open(e') with e' > e--> Open(e')      sessions go on
//!  Open(e) --close--> Closed                                          every session is cut
//! ```
//!
//! Entering and closing take the same lock, so a session either enters before the close and is cut
//! by it, or finds the gate closed. PostgreSQL hears nothing of a client that hasn't entered.
//!
//! A cut doesn't wait for the session's thread. The TCP connection is *aborted*: the kernel forgets
//! what it has not sent, tells the client by a reset, and every later write fails. An orderly
//! shutdown would still deliver queued bytes, and keep trying after the VIP is gone.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use failover::Epoch;

use super::refusal::Refusal;

/// Both ends of a session.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    pub(super) client: Arc<TcpStream>,
    pub(super) backend: Arc<UnixStream>,
}

impl Ends {
    fn cut(&self) {
        // Either may have ended by itself; there is nothing left to cut then.
        let _client = rustix::net::connect_unspec(&*self.client);
        let _client_gone = self.client.shutdown(Shutdown::Both);
        let _backend_gone = self.backend.shutdown(Shutdown::Both);
    }
}

#[derive(Debug, Default)]
struct Inner {
    open: Option<Epoch>,
    highest: Epoch,
    next: u64,
    live: BTreeMap<u64, Ends>,
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    inner: Mutex<Inner>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets sessions in; an epoch below one that was seen is refused, and returned.
    pub(super) fn open(&self, epoch: Epoch) -> Result<(), Epoch> {
        let mut inner = self.lock();
        if epoch < inner.highest {
            return Err(inner.highest);
        }
        inner.highest = epoch;
        inner.open = Some(epoch);
        Ok(())
    }

    /// Cuts all sessions and lets none in; returns how many there were.
    pub(super) fn close(&self) -> usize {
        let mut inner = self.lock();
        inner.open = None;
        let live = std::mem::take(&mut inner.live);
        for ends in live.values() {
            ends.cut();
        }
        live.len()
    }

    /// The epoch for which the gate is open, and how many are inside.
    pub(super) fn state(&self) -> (Option<Epoch>, usize) {
        let inner = self.lock();
        (inner.open, inner.live.len())
    }

    /// Takes a place until the ticket is dropped.
    pub(super) fn enter(&self, ends: &Ends, limit: usize) -> Result<Ticket<'_>, Refusal> {
        let mut inner = self.lock();
        if inner.open.is_none() {
            return Err(Refusal::Closed);
        }
        if inner.live.len() >= limit {
            return Err(Refusal::Full);
        }
        let number = inner.next;
        inner.next += 1;
        inner.live.insert(number, ends.clone());
        Ok(Ticket { sessions: self, number })
    }
}

/// A session's place.
#[derive(Debug)]
pub(super) struct Ticket<'a> {
    sessions: &'a Sessions,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.sessions.lock().live.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    fn ends() -> (Ends, TcpStream, UnixStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let outside = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (client, _) = listener.accept().unwrap();
        client.set_nonblocking(true).unwrap();
        let (backend, postgres) = UnixStream::pair().unwrap();
        (Ends { client: Arc::new(client), backend: Arc::new(backend) }, outside, postgres)
    }

    #[test]
    fn nobody_enters_a_closed_gate_and_old_epochs_open_none() {
        let sessions = Sessions::default();
        let (ends, ..) = ends();
        assert_eq!(sessions.enter(&ends, 9).unwrap_err(), Refusal::Closed);
        sessions.open(Epoch(7)).unwrap();
        let ticket = sessions.enter(&ends, 1).unwrap();
        assert_eq!(sessions.enter(&ends, 1).unwrap_err(), Refusal::Full);
        drop(ticket);
        assert_eq!(sessions.state(), (Some(Epoch(7)), 0));
        assert_eq!(sessions.close(), 0);
        assert_eq!(sessions.open(Epoch(6)), Err(Epoch(7)));
        assert_eq!(sessions.enter(&ends, 9).unwrap_err(), Refusal::Closed);
    }

    #[test]
    fn a_cut_forgets_what_was_not_sent_and_takes_nothing_more() {
        let sessions = Sessions::default();
        sessions.open(Epoch(1)).unwrap();
        let (ends, mut outside, mut postgres) = ends();
        let ticket = sessions.enter(&ends, 1).unwrap();
        // Nobody reads, so most of this waits in the kernel.
        let mut queued = 0;
        while let Ok(count @ 1..) = (&*ends.client).write(&[7; 8192]) {
            queued += count;
        }
        assert_eq!(sessions.close(), 1);
        assert!((&*ends.client).write(&[7]).is_err());
        let mut got = 0;
        let mut piece = vec![0; 65536];
        let end = loop {
            match outside.read(&mut piece) {
                Ok(count @ 1..) => got += count,
                end => break end,
            }
        };
        assert!(end.is_err(), "a reset, not an orderly end");
        assert!(got < queued, "{got} of {queued} bytes arrived");
        assert_eq!(postgres.read(&mut piece).unwrap(), 0);
        drop(ticket);
    }
}
