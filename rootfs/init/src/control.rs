//! PID 1's end of the control socket: `nodectl`, the node API and `logd` ask here.
//!
//! ```text
//!   listener ──accept──> who is it? ──stranger──> refused, closed
//!                            │ root, or the node API's group
//!                            v
//!        [Reading] ──a whole request──> answered from the NodeView
//!            │                              │ one line          │ logs
//!            │ too late, not understood     v                   v
//!            └───────refused──────> [Finishing] <──end── [Following] <─┐
//!                                        │                     └───────┘ new lines
//!                                        v
//!                                 written, or too slow: closed
//! ```
//!
//! Everything is bounded: the number of clients, what each may send and have waiting, all that waits
//! together, and how long a client may take. What a client does costs itself: a slow reader of logs
//! misses lines and is told how many; one that takes nothing at all is dropped. No call blocks, and
//! nothing here can fail in a way that ends PID 1.
//!
//! The loop calls [`Server::watch`] before it waits, [`Server::attend`] for what is ready, and
//! [`Server::pass_time`] in every turn, which is also what brings new lines to followers.

mod client;
pub mod facts;
mod log_reader;
pub mod usage;
mod view;

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::control::{Answer, Fact, Logs, Reason, Request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
    sockopt,
};
use thiserror::Error;

use client::{Client, Heard};
use log_reader::LogReader;
pub use view::{NodeView, Order, service_status};

/// Clients at a time: the node API's sixteen at most, `logd`, and people on the console.
const CLIENTS: usize = 24;
/// Places among them that only root gets, so that nobody from afar keeps `logd` out.
const ROOTS_CLIENTS: usize = 8;
/// Connections that are accepted in one turn.
const ACCEPTS_PER_TURN: usize = 4;
/// Connections that the kernel holds ready for us.
const BACKLOG: i32 = 16;
/// After an accept that failed for want of files or memory, trying at once would spin.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Bytes of answers that may wait for all clients together.
const WAITING_MAX: usize = 1024 * 1024;

/// Why nobody can ask.
#[derive(Debug, Error)]
#[error("control socket {}: {source}; nodectl will find nobody", path.display())]
pub struct ControlError {
    path: PathBuf,
    source: io::Error,
}

/// What became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlInput {
    /// Somebody connects.
    Listener,
    /// The client in this place sent something, takes something, or left.
    Client(usize),
}

/// The socket and its clients.
#[derive(Debug)]
pub struct Server {
    listener: OwnedFd,
    /// The group that may ask beside root.
    group: Option<u32>,
    clients: [Option<Client<UnixStream>>; CLIENTS],
    /// No connection is accepted before.
    accept_from: Duration,
}

impl Server {
    /// Listens at this path, for root and a group.
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
        mut add: impl FnMut(BorrowedFd<'fd>, PollFlags, ControlInput),
    ) {
        if now >= self.accept_from {
            add(self.listener.as_fd(), PollFlags::IN, ControlInput::Listener);
        }
        for (place, client) in self.clients.iter().enumerate() {
            if let Some(client) = client {
                add(client.stream().as_fd(), client.interest(), ControlInput::Client(place));
            }
        }
    }

    /// A bounded piece of work for one input that is ready.
    pub fn attend(&mut self, input: ControlInput, view: &mut dyn NodeView, now: Duration) {
        match input {
            ControlInput::Listener => self.accept(now),
            ControlInput::Client(place) => {
                let Some(client) = self.clients.get_mut(place).and_then(Option::take) else {
                    return;
                };
                let kept = self.attend_client(client, view, now);
                if let Some(free) = self.clients.get_mut(place) {
                    *free = kept;
                }
            }
        }
    }

    /// New lines for followers; an end for who is too slow.
    pub fn pass_time(&mut self, view: &dyn NodeView, now: Duration) {
        for place in &mut self.clients {
            let Some(client) = place else { continue };
            if let Some(journal) = view.journal() {
                client.follow(journal, now, view.unix_ms());
            }
            if client.write(now).is_gone() || client.is_late(now) {
                *place = None;
            }
        }
    }

    /// When somebody will be too slow, or may be accepted again.
    pub fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let accept = (self.accept_from > now).then_some(self.accept_from);
        let clients = self.clients.iter().flatten().filter_map(Client::deadline);
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
        let root = peer.uid.is_root();
        let stream = UnixStream::from(stream);
        if !root && self.group != Some(peer.gid.as_raw()) {
            let message = "the control socket is for root and the node API: run nodectl as root";
            return turn_away(stream, Reason::Forbidden, message, now);
        }
        let places = if root { CLIENTS } else { CLIENTS - ROOTS_CLIENTS };
        let full = self.clients() >= places;
        match self.clients.iter_mut().find(|place| place.is_none()) {
            Some(place) if !full => *place = Some(Client::new(stream, now)),
            _ => {
                let message = "too many ask at once: end a `nodectl logs -f`, or try again";
                turn_away(stream, Reason::Busy, message, now);
            }
        }
    }

    /// Reads, answers, writes. Gives the client back if it stays.
    fn attend_client(
        &self,
        mut client: Client<UnixStream>,
        view: &mut dyn NodeView,
        now: Duration,
    ) -> Option<Client<UnixStream>> {
        match client.read() {
            // Left unnoticed, a client that hung up would wake the loop again and again.
            Heard::Nothing if is_hung_up(client.stream()) => return None,
            Heard::Nothing => {}
            Heard::Gone => return None,
            Heard::Broken(error) => client.finish(&Answer::Refused(error.refusal()), now),
            Heard::Request(request) => self.answer(&mut client, &request, view, now),
        }
        if let Some(journal) = view.journal() {
            client.follow(journal, now, view.unix_ms());
        }
        (!client.write(now).is_gone()).then_some(client)
    }

    fn answer(
        &self,
        client: &mut Client<UnixStream>,
        request: &Request,
        view: &mut dyn NodeView,
        now: Duration,
    ) {
        let waiting: usize = self.clients.iter().flatten().map(Client::waiting).sum();
        if waiting > WAITING_MAX {
            let message = "too many answers wait to be read: try again in a moment";
            return client.finish(&Answer::refused(Reason::Busy, message), now);
        }
        let order = |view: &mut dyn NodeView, order| match view.order(order, now) {
            Ok(()) => Answer::Accepted,
            Err(refusal) => Answer::Refused(refusal),
        };
        let answer = match request {
            Request::Logs(logs) => match reader(logs, view) {
                Ok(reader) => return client.begin_following(reader, now),
                Err(answer) => answer,
            },
            Request::Status => Answer::Status(Box::new(view.status(now))),
            Request::Top => Answer::Top(view.top(now)),
            Request::Metrics => {
                Answer::Metrics { text: ::control::metrics(&view.status(now), &view.top(now)) }
            }
            Request::Get { fact } => fact_answer(*fact, view),
            // PID 1 passes nothing on: it would have to wait for whoever answers.
            Request::Pg(_) | Request::Vip(_) => {
                let message = "pgkeeper and vipd have sockets of their own beside this one: use a \
                               nodectl of the node's own version";
                Answer::refused(Reason::Malformed, message)
            }
            Request::Start { service } => order(view, Order::Start(service.clone())),
            Request::Stop { service } => order(view, Order::Stop(service.clone())),
            Request::Restart { service } => order(view, Order::Restart(service.clone())),
            Request::Reboot => order(view, Order::Reboot),
            Request::PowerOff => order(view, Order::PowerOff),
        };
        client.finish(&answer, now);
    }
}

/// Where the log is to be read from.
fn reader(logs: &Logs, view: &dyn NodeView) -> Result<LogReader, Answer> {
    let Some(journal) = view.journal() else {
        return Err(Answer::refused(Reason::NotNow, "there are no logs yet: the node is booting"));
    };
    LogReader::new(logs, journal).ok_or_else(|| {
        let name = logs.service.as_ref().map(ToString::to_string).unwrap_or_default();
        let text = format!("nothing is called `{name}` here: `nodectl status` lists the services");
        Answer::refused(Reason::UnknownService, text)
    })
}

fn fact_answer(fact: Fact, view: &dyn NodeView) -> Answer {
    match view.fact(fact) {
        Ok(text) => Answer::Fact(text),
        Err(error) => Answer::refused(Reason::Failed, format!("{fact}: {error}")),
    }
}

/// Whether the other side has closed.
fn is_hung_up(stream: &UnixStream) -> bool {
    let mut polls = [PollFd::new(stream, PollFlags::empty())];
    let asked = poll(&mut polls, Some(&Timespec::default()));
    asked.is_ok_and(|count| count > 0)
}

/// Says why, as far as the socket takes it at once, and closes.
fn turn_away(stream: UnixStream, reason: Reason, message: &str, now: Duration) {
    let mut client = Client::new(stream, now);
    client.finish(&Answer::refused(reason, message), now);
    let _gone = client.write(now);
}

fn make_listener(path: &Path, group: Option<u32>) -> io::Result<OwnedFd> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&listener, &SocketAddrUnix::new(path)?)?;
    // The kernel keeps others out; who still gets in before this is asked for credentials.
    chown(path, None, group)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    listen(&listener, BACKLOG)?;
    Ok(listener)
}

#[cfg(test)]
mod tests;
