//! The keeper's control socket: `nodectl` and the node API ask here, and order.
//!
//! ```text
//!   listener ──accept──> who is it? ──stranger──> refused, closed
//!                            │ root, our own user, or the node API's group
//!                            v
//!        [Reading] ──a whole request──> answered by whoever owns the loop
//!            │                              │ one line
//!            │ too late, not understood     v
//!            └───────refused──────> [Finishing] ──> written, or too slow: closed
//! ```
//!
//! Pieces for a poll loop, as in PID 1; no thread. The loop calls [`Server::watch`] before it waits,
//! [`Server::attend`] for what is ready, and [`Server::pass_time`] in every turn. No call blocks, and
//! clients, requests, answers and time are bounded: whoever asks costs itself.
//!
//! The loop gives a closure that answers. For the keeper that is [`answer`] over a [`Keeper`], whose
//! order is one step of `failover`: the core replies within the step.

mod client;
mod orders;
mod snapshot;

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::control::{Answer, Reason, Request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
    sockopt,
};
use thiserror::Error;

use client::{Client, Heard};
pub use orders::{Keeper, answer};
pub use snapshot::{Names, role, snapshot};

/// Clients at a time: the node API's, and people on the console.
const CLIENTS: usize = 12;
/// Places among them that the node API's group doesn't get, so that nobody from afar keeps the
/// node's own out.
const OWN_CLIENTS: usize = 4;
/// Connections that are accepted in one turn.
const ACCEPTS_PER_TURN: usize = 4;
/// Connections that the kernel holds ready for us.
const BACKLOG: i32 = 16;
/// After an accept that failed for want of files or memory, trying at once would spin.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Why nobody can ask.
#[derive(Debug, Error)]
#[error("{}: {source}; nodectl pg will find nobody: check that the folder is there", path.display())]
pub struct ControlError {
    path: PathBuf,
    source: io::Error,
}

/// What became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Somebody connects.
    Listener,
    /// The client in this place sent something, takes something, or left.
    Client(usize),
}

/// The socket and its clients.
#[derive(Debug)]
pub struct Server {
    listener: OwnedFd,
    /// The group that may ask beside root and ourselves.
    group: Option<u32>,
    clients: [Option<Client<UnixStream>>; CLIENTS],
    /// No connection is accepted before.
    accept_from: Duration,
}

impl Server {
    /// Listens at this path for root, our own user, and a group by its number; what a predecessor
    /// left there is removed.
    pub fn bind(path: &Path, group: Option<u32>) -> Result<Self, ControlError> {
        let listener = make_listener(path, group)
            .map_err(|source| ControlError { path: path.to_owned(), source })?;
        let clients = [const { None }; CLIENTS];
        Ok(Self { listener, group, clients, accept_from: Duration::ZERO })
    }

    /// What the loop has to wait for.
    pub fn watch<'fd>(
        &'fd self,
        now: Duration,
        mut add: impl FnMut(BorrowedFd<'fd>, PollFlags, Input),
    ) {
        if now >= self.accept_from {
            add(self.listener.as_fd(), PollFlags::IN, Input::Listener);
        }
        for (place, client) in self.clients.iter().enumerate() {
            if let Some(client) = client {
                add(client.stream().as_fd(), client.interest(), Input::Client(place));
            }
        }
    }

    /// A bounded piece of work for one input that is ready.
    pub fn attend(
        &mut self,
        input: Input,
        answer: &mut dyn FnMut(&Request) -> Answer,
        now: Duration,
    ) {
        match input {
            Input::Listener => self.accept(now),
            Input::Client(place) => {
                let Some(client) = self.clients.get_mut(place).and_then(Option::take) else {
                    return;
                };
                let kept = attend_client(client, answer, now);
                if let Some(free) = self.clients.get_mut(place) {
                    *free = kept;
                }
            }
        }
    }

    /// Ends those that are too slow.
    pub fn pass_time(&mut self, now: Duration) {
        for place in &mut self.clients {
            if place.as_ref().is_some_and(|client| client.deadline() <= now) {
                *place = None;
            }
        }
    }

    /// When somebody will be too slow, or may be accepted again.
    pub fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let accept = (self.accept_from > now).then_some(self.accept_from);
        let clients = self.clients.iter().flatten().map(Client::deadline);
        clients.chain(accept).min()
    }

    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.clients.iter().flatten().count()
    }

    fn accept(&mut self, now: Duration) {
        for _ in 0..ACCEPTS_PER_TURN {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match accept_with(&self.listener, flags) {
                Ok(stream) => self.take_in(stream, now),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(_) => {
                    self.accept_from = now.saturating_add(PAUSE_AFTER_FAILURE);
                    return;
                }
            }
        }
    }

    /// Gives a connection a place, or tells why there is none.
    fn take_in(&mut self, stream: OwnedFd, now: Duration) {
        let Ok(peer) = sockopt::socket_peercred(&stream) else { return };
        let own = peer.uid.is_root() || peer.uid == rustix::process::geteuid();
        let stream = UnixStream::from(stream);
        if !own && self.group != Some(peer.gid.as_raw()) {
            let message = "this socket is for root and the node API: run nodectl as root";
            return turn_away(stream, Reason::Forbidden, message, now);
        }
        let places = if own { CLIENTS } else { CLIENTS - OWN_CLIENTS };
        let full = self.clients() >= places;
        match self.clients.iter_mut().find(|place| place.is_none()) {
            Some(place) if !full => *place = Some(Client::new(stream, now)),
            _ => turn_away(stream, Reason::Busy, "too many ask at once: try again", now),
        }
    }
}

/// Reads, answers, writes. Gives the client back if it stays.
fn attend_client(
    mut client: Client<UnixStream>,
    answer: &mut dyn FnMut(&Request) -> Answer,
    now: Duration,
) -> Option<Client<UnixStream>> {
    match client.read() {
        // Left unnoticed, a client that hung up would wake the loop again and again.
        Heard::Nothing if is_hung_up(client.stream()) => return None,
        Heard::Nothing => {}
        Heard::Gone => return None,
        Heard::Broken(error) => client.finish(&Answer::Refused(error.refusal()), now),
        Heard::Request(request) => client.finish(&answer(&request), now),
    }
    client.write(now).then_some(client)
}

/// Whether the other side has closed.
fn is_hung_up(stream: &UnixStream) -> bool {
    let mut polls = [PollFd::new(stream, PollFlags::empty())];
    poll(&mut polls, Some(&Timespec::default())).is_ok_and(|count| count > 0)
}

/// Says why, as far as the socket takes it at once, and closes.
fn turn_away(stream: UnixStream, reason: Reason, message: &str, now: Duration) {
    let mut client = Client::new(stream, now);
    client.finish(&Answer::refused(reason, message), now);
    let _gone = client.write(now);
}

fn make_listener(path: &Path, group: Option<u32>) -> io::Result<OwnedFd> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&listener, &SocketAddrUnix::new(path)?)?;
    // The kernel keeps others out; who still gets in before this is asked for credentials. A service
    // whose own group it is already needs no right to give the file away.
    if group.is_some() && group != Some(rustix::process::getegid().as_raw()) {
        chown(path, None, group)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    listen(&listener, BACKLOG)?;
    Ok(listener)
}

#[cfg(test)]
mod tests;
