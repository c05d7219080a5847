//! The signs of readiness that have to be looked for: a port, a file, a command.
//!
//! A probe never waits: a connection is made without blocking and polled, a command is a child, a
//! file is looked at now and then. It goes on until it sees the sign, or is dropped because the
//! service moved on.

use std::ffi::CString;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketFlags, SocketType, connect, getpeername, getsockname,
    socket_with, sockopt,
};
use rustix::process::Pid;
use seed::manifest::{PortSource, Ready, Service};
use serde_json::Value;
use supervise::Exit;
use sys::process::Started;

use super::cgroup::RunGroup;
use super::launch::texts;

/// Time between two looks. It is what readiness may be late by; a look costs some microseconds.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How long a connection may take; on the node itself it takes microseconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// How long a readiness command may take until it is killed and tried again.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);

/// No command is tried more often, whatever the service says.
const COMMAND_PAUSE_MIN: Duration = Duration::from_millis(100);

/// What a look gave.
#[derive(Debug)]
pub(crate) enum Look {
    Ready,
    NotYet,
    /// The probe wants its command started; answer with [`Probe::started`].
    Start,
}

/// A probe in progress.
#[derive(Debug)]
pub(crate) struct Probe {
    sign: Sign,
    /// When to look again, or when what is under way has taken too long.
    next: Duration,
}

#[derive(Debug)]
enum Sign {
    Port { address: SocketAddr, connection: Option<OwnedFd> },
    File(PathBuf),
    Command { command: Vec<CString>, pause: Duration, attempt: Option<Attempt>, attempts: u64 },
}

/// A readiness command that runs.
#[derive(Debug)]
struct Attempt {
    started: Started,
    group: RunGroup,
    ended: Option<Exit>,
}

impl Probe {
    /// What to look for, if there is anything; or why it can't be looked for.
    pub(crate) fn of(service: &Service, context: &Value) -> Result<Option<Self>, String> {
        let sign = match &service.ready {
            Ready::Running | Ready::Done | Ready::Notify => return Ok(None),
            Ready::Tcp { address, port } => {
                let connection = None;
                Sign::Port { address: socket_address(address, port, context)?, connection }
            }
            Ready::File { path } => Sign::File(PathBuf::from(path.as_str())),
            Ready::Command { command, interval } => {
                let command = texts(command).map_err(|error| format!("ready.command: {error}"))?;
                let pause = interval.duration().max(COMMAND_PAUSE_MIN);
                Sign::Command { command, pause, attempt: None, attempts: 0 }
            }
        };
        Ok(Some(Self { sign, next: Duration::ZERO }))
    }

    /// When to look next.
    pub(crate) fn deadline(&self) -> Duration {
        self.next
    }

    /// What to poll, for a connection under way.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.sign {
            Sign::Port { connection, .. } => connection.as_ref().map(AsFd::as_fd),
            _ => None,
        }
    }

    /// Looks; call it when the deadline has passed, or something happened.
    pub(crate) fn look(&mut self, now: Duration, has_happened: bool) -> Look {
        let due = self.next <= now;
        if !due && !has_happened {
            return Look::NotYet;
        }
        match &mut self.sign {
            Sign::File(_) | Sign::Port { connection: None, .. } if !due => Look::NotYet,
            Sign::File(path) => {
                self.next = now.saturating_add(LOOK_AGAIN);
                if path.exists() { Look::Ready } else { Look::NotYet }
            }
            Sign::Port { address, connection } => {
                let (look, next) = look_at_port(*address, connection, now, due, self.next);
                self.next = next;
                look
            }
            Sign::Command { pause, attempt, .. } => {
                let Some(running) = attempt else {
                    return if due { Look::Start } else { Look::NotYet };
                };
                let look = match running.ended {
                    Some(exit) if exit.is_success() => Look::Ready,
                    Some(_) => Look::NotYet,
                    None if due => Look::NotYet,
                    None => return Look::NotYet,
                };
                end(attempt);
                self.next = now.saturating_add(*pause);
                look
            }
        }
    }

    /// The command to start, and the name of a cgroup for it.
    pub(crate) fn command(&mut self) -> Option<(&[CString], String)> {
        let Sign::Command { command, attempts, .. } = &mut self.sign else { return None };
        *attempts = attempts.saturating_add(1);
        Some((command, format!("probe-{attempts}")))
    }

    /// The command runs, or couldn't be started.
    pub(crate) fn started(&mut self, now: Duration, started: Option<(Started, RunGroup)>) {
        let Sign::Command { attempt, pause, .. } = &mut self.sign else { return };
        let limit = if started.is_some() { COMMAND_LIMIT } else { *pause };
        self.next = now.saturating_add(limit);
        *attempt = started.map(|(started, group)| Attempt { started, group, ended: None });
    }

    /// A child has ended; whether it was this probe's.
    pub(crate) fn take_end(&mut self, pid: Pid, exit: Exit) -> bool {
        match &mut self.sign {
            Sign::Command { attempt: Some(attempt), .. } if attempt.started.pid == pid => {
                attempt.ended = Some(exit);
                true
            }
            _ => false,
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Sign::Command { attempt, .. } = &mut self.sign {
            end(attempt);
        }
    }
}

/// Kills what is left of an attempt. A group that can't be removed yet goes with its run's.
fn end(attempt: &mut Option<Attempt>) {
    if let Some(attempt) = attempt.take() {
        let _gone = attempt.group.kill();
        let _later = attempt.group.remove();
    }
}

fn look_at_port(
    address: SocketAddr,
    connection: &mut Option<OwnedFd>,
    now: Duration,
    due: bool,
    next: Duration,
) -> (Look, Duration) {
    let again = now.saturating_add(LOOK_AGAIN);
    if let Some(socket) = connection {
        return match sockopt::socket_error(&*socket) {
            Ok(Ok(())) if is_connected(socket) => (Look::Ready, again),
            // Neither failed nor connected: it is still on its way.
            Ok(Ok(())) if !due => (Look::NotYet, next),
            _ => {
                *connection = None;
                (Look::NotYet, again)
            }
        };
    }
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let Ok(socket) = socket_with(family, SocketType::STREAM, flags, None) else {
        return (Look::NotYet, again);
    };
    match connect(&socket, &address) {
        Ok(()) if is_connected(&socket) => (Look::Ready, again),
        Err(Errno::INPROGRESS) => {
            *connection = Some(socket);
            (Look::NotYet, now.saturating_add(CONNECT_LIMIT))
        }
        _ => (Look::NotYet, again),
    }
}

/// Whether there is someone at the other end. A connection from a free port to itself succeeds
/// without anybody listening, and would make a service ready that isn't.
fn is_connected(socket: &OwnedFd) -> bool {
    let ours: Option<SocketAddrAny> = getsockname(socket).ok();
    matches!(getpeername(socket), Ok(Some(theirs)) if Some(&theirs) != ours.as_ref())
}

fn socket_address(address: &str, port: &PortSource, context: &Value) -> Result<SocketAddr, String> {
    let ip: IpAddr = address
        .parse()
        .map_err(|_| format!("ready.address {address:?} is no IP address: write one"))?;
    let port = port.resolve(context).ok_or_else(|| {
        let key = match port {
            PortSource::Key(key) => key.clone(),
            PortSource::Number(number) => number.to_string(),
        };
        format!("ready.port: the seed has no port under {key}: set it there, or name another key")
    })?;
    Ok(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustix::event::PollFlags;
    use serde_json::json;

    use super::*;
    use crate::clock;
    use crate::services::tests::service;
    use crate::watch::{Source, Watch};

    fn probe(toml: &str, context: &Value) -> Probe {
        Probe::of(&service(toml), context).expect("good").expect("something to look for")
    }

    /// Looks until the port is ready, or `limit` looks were in vain.
    fn look_often(probe: &mut Probe, limit: usize) -> bool {
        (0..limit).any(|_| {
            let mut watch = Watch::default();
            if let Some(descriptor) = probe.descriptor() {
                watch.add(descriptor, PollFlags::OUT, Source::Probe(0));
            }
            let now = clock::now();
            let left = probe.deadline().saturating_sub(now);
            let happened = !watch.wait(left).expect("polled").is_empty();
            matches!(probe.look(clock::now(), happened), Look::Ready)
        })
    }

    #[test]
    fn a_port_is_ready_when_somebody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("known").port();
        let context = json!({ "database": { "port": port } });
        let toml = "name = \"p\"\nready = { kind = \"tcp\", port = \"database.port\" }";
        assert!(look_often(&mut probe(toml, &context), 5));
        drop(listener);
        assert!(!look_often(&mut probe(toml, &context), 3));
    }

    #[test]
    fn a_file_is_ready_when_it_is_there() {
        let path = std::env::temp_dir().join(format!("edgepair-probe-{}", std::process::id()));
        let toml = format!("name = \"p\"\nready = {{ kind = \"file\", path = {path:?} }}");
        let mut probe = probe(&toml, &Value::Null);
        assert!(matches!(probe.look(Duration::ZERO, false), Look::NotYet));
        std::fs::write(&path, "").expect("written");
        assert!(matches!(probe.look(Duration::from_millis(50), false), Look::NotYet), "not due");
        assert!(matches!(probe.look(Duration::from_millis(100), false), Look::Ready));
        std::fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn what_cannot_be_looked_for_is_explained() {
        let of = |ready: &str| {
            let service = service(&format!("name = \"p\"\nready = {ready}"));
            Probe::of(&service, &json!({})).expect_err("refused")
        };
        assert!(of("{ kind = \"tcp\", port = \"database.port\" }").contains("database.port"));
        assert!(of("{ kind = \"tcp\", port = 1, address = \"here\" }").contains("here"));
    }
}
