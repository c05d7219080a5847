//! The shell around the client: sockets, names, the clocks, the disk.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use sys::notify::Notifier;
use thiserror::Error;

use crate::config::{Config, ServerName};
use crate::machine::Machine;
use crate::ntp::{ANSWER_BYTES_MAX, Action, Client, Event, Nanos, ServerId, Settings, question};
use crate::resolver::Resolver;
use crate::saved::{self, Floor};

/// Packets that are read from one socket in one turn. Nobody but the server's address reaches it,
/// and one packet is what we wait for.
const PACKETS_PER_TURN: usize = 4;

#[derive(Debug, Error)]
pub enum ShellError {
    #[error("can't set up the resolver: {0}")]
    Resolver(io::Error),
    #[error("can't wait for answers: {0}")]
    Wait(io::Error),
}

/// A running client.
#[derive(Debug)]
pub struct Shell<M> {
    client: Client,
    machine: M,
    names: Vec<ServerName>,
    sockets: BTreeMap<ServerId, UdpSocket>,
    resolver: Resolver,
    notifier: Notifier,
    /// Where the time is saved.
    saved: PathBuf,
    /// The start of the last status that went to the log.
    logged: String,
}

impl<M: Machine> Shell<M> {
    pub fn new(
        config: Config,
        floor: &Floor,
        saved: PathBuf,
        machine: M,
        notifier: Notifier,
    ) -> Result<Self, ShellError> {
        let settings = Settings {
            servers: config.servers.iter().map(ServerName::to_string).collect(),
            step_threshold: Nanos::from(config.step_ms) * 1_000_000,
            image: floor.image,
            floor: floor.nanos,
        };
        let resolver = Resolver::new().map_err(ShellError::Resolver)?;
        Ok(Self {
            client: Client::new(settings),
            machine,
            names: config.servers,
            sockets: BTreeMap::new(),
            resolver,
            notifier,
            saved,
            logged: String::new(),
        })
    }

    /// Does what is due, then waits for an answer, for time, or for `ending` to become readable;
    /// says whether that did.
    pub fn turn(&mut self, ending: BorrowedFd<'_>) -> Result<bool, ShellError> {
        self.step(Event::Tick);
        let ended = self.wait(ending)?;
        while let Some((server, addresses)) = self.resolver.next() {
            self.step(Event::Resolved(server, addresses));
        }
        for server in self.sockets.keys().copied().collect::<Vec<_>>() {
            self.receive(server);
        }
        Ok(ended)
    }

    /// The end: the time is saved, if it is worth it.
    pub fn finish(&mut self) {
        let now = self.machine.moment();
        for action in self.client.finish(now) {
            self.carry_out(action);
        }
    }

    pub fn machine(&self) -> &M {
        &self.machine
    }

    fn wait(&mut self, ending: BorrowedFd<'_>) -> Result<bool, ShellError> {
        let now = self.machine.moment();
        let limit = self.client.next_deadline().map(|when| when.saturating_sub(now.boot));
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut inputs = vec![PollFd::from_borrowed_fd(ending, PollFlags::IN)];
        inputs.push(PollFd::from_borrowed_fd(self.resolver.as_fd(), PollFlags::IN));
        let sockets = self.sockets.values();
        inputs
            .extend(sockets.map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)));
        match poll(&mut inputs, limit.as_ref()) {
            Ok(_) => Ok(inputs.first().is_some_and(|ending| !ending.revents().is_empty())),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(ShellError::Wait(errno.into())),
        }
    }

    fn receive(&mut self, server: ServerId) {
        for _ in 0..PACKETS_PER_TURN {
            let Some(socket) = self.sockets.get(&server) else { return };
            let mut buffer = [0; ANSWER_BYTES_MAX];
            let received = socket.recv(&mut buffer);
            let raw = self.machine.moment().raw;
            match received {
                Ok(length) => {
                    let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                    self.step(Event::Received { server, bytes, raw });
                }
                // Nobody listens there; the question's time runs out by itself.
                Err(_) => return,
            }
        }
    }

    fn step(&mut self, event: Event) {
        let now = self.machine.moment();
        for action in self.client.step(now, event) {
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: Action) {
        let done = match action {
            Action::Resolve(server) => {
                if let Some(name) = self.names.get(server.0) {
                    self.resolver.look_up(server, name);
                }
                Ok(())
            }
            Action::Ask(server, address) => {
                self.ask(server, address);
                Ok(())
            }
            Action::Close(server) => {
                self.sockets.remove(&server);
                Ok(())
            }
            Action::Step(by) => {
                let (sign, size) = (if by < 0 { "-" } else { "+" }, by.unsigned_abs());
                let (seconds, rest) = (size / 1_000_000_000, size % 1_000_000_000);
                eprintln!("the clock is stepped by {sign}{seconds}.{rest:09} s");
                self.machine.step(by)
            }
            Action::Slew(by) => self.machine.slew(by),
            Action::Tune(parts_per_billion) => self.machine.tune(parts_per_billion),
            Action::Declare { error } => self.machine.declare(error),
            Action::SetBattery => self.machine.set_battery(),
            Action::Save => {
                let wall = self.machine.moment().wall;
                if let Err(error) = saved::save(&self.saved, wall) {
                    self.log("save", &error.to_string());
                }
                Ok(())
            }
            Action::Ready => {
                self.notifier.ready();
                Ok(())
            }
            Action::Status(status) => {
                self.notifier.status(&status);
                let kind = status.split([':', ';']).next().unwrap_or_default().to_owned();
                self.log(&kind, &status);
                Ok(())
            }
        };
        if let Err(error) = done {
            let error = error.to_string();
            self.notifier.status(&error);
            self.log(&error, &error);
        }
    }

    /// Says something, unless the last that was said is of the same kind.
    fn log(&mut self, kind: &str, text: &str) {
        if self.logged != kind {
            kind.clone_into(&mut self.logged);
            eprintln!("{text}");
        }
    }

    fn ask(&mut self, server: ServerId, address: SocketAddr) {
        let sent = self.machine.cookie().and_then(|cookie| {
            let socket = open(address)?;
            let raw = self.machine.moment().raw;
            socket.send(&question(cookie))?;
            Ok((socket, cookie, raw))
        });
        match sent {
            Ok((socket, cookie, raw)) => {
                self.sockets.insert(server, socket);
                self.step(Event::Sent { server, cookie, raw });
            }
            Err(_) => self.step(Event::SendFailed(server)),
        }
    }
}

/// A socket of its own for each question: a port that nobody knows is more to guess, and the
/// kernel drops what comes from elsewhere.
fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    }?;
    socket.set_nonblocking(true)?;
    socket.connect(address)?;
    Ok(socket)
}
