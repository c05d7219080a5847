//! Names become addresses on a thread of their own: the resolver of the C library blocks for as
//! long as its servers don't answer, and the clock must not wait for that.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::config::ServerName;
use crate::ntp::ServerId;

/// Bounded by the servers: each has at most one thread, since the client asks again only after it
/// got an answer.
#[derive(Debug)]
pub(crate) struct Resolver {
    found: Receiver<(ServerId, Vec<SocketAddr>)>,
    finder: Sender<(ServerId, Vec<SocketAddr>)>,
    /// A byte comes here with each answer, so that the loop wakes up.
    bell: UnixStream,
    ringer: UnixStream,
}

impl Resolver {
    pub(crate) fn new() -> io::Result<Self> {
        let (bell, ringer) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let (finder, found) = channel();
        Ok(Self { found, finder, bell, ringer })
    }

    /// Looks a name up; the answer comes later, and comes always.
    pub(crate) fn look_up(&self, server: ServerId, name: &ServerName) {
        let (host, port) = (name.host.clone(), name.port);
        let finder = self.finder.clone();
        let ringer = self.ringer.try_clone();
        let look = move || {
            let found = (host.as_str(), port).to_socket_addrs();
            // Not found is an answer too: an empty one.
            report(&finder, ringer, server, found.map(Iterator::collect).unwrap_or_default());
        };
        if thread::Builder::new().name("resolver".to_owned()).spawn(look).is_err() {
            report(&self.finder, self.ringer.try_clone(), server, Vec::new());
        }
    }

    /// The next answer, if there is one.
    pub(crate) fn next(&mut self) -> Option<(ServerId, Vec<SocketAddr>)> {
        let mut bytes = [0; 64];
        // Whoever rang has put an answer into the channel before.
        let _rung = self.bell.read(&mut bytes);
        self.found.try_recv().ok()
    }
}

fn report(
    finder: &Sender<(ServerId, Vec<SocketAddr>)>,
    ringer: io::Result<UnixStream>,
    server: ServerId,
    addresses: Vec<SocketAddr>,
) {
    // The service may be ending; then nobody listens, and nobody minds.
    let _heard = finder.send((server, addresses));
    let _rung = ringer.and_then(|mut ringer| ringer.write_all(b"!"));
}

impl AsFd for Resolver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
