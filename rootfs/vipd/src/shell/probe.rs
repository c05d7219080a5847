//! One check in progress: started, waited for in the loop, and ended when its time is up.
//!
//! Commands are children, which nobody waits for: not for their end, and not for their start either,
//! since a program's pages may lie on a disk that hangs. TCP and plain HTTP are sockets that never block;
//! of files that are looked for, the same can't be had. HTTPS is a child too,
//! this program again as `vipd probe`: TLS is a lot of code to have in a process that may change the
//! machine's addresses.

use std::ffi::{CString, OsString};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, connect,
    getpeername, getsockname, recv, send, socket_with, sockopt,
};
use rustix::process::{
    Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_send_signal, waitid,
};
use sys::process::{Program, Started, no_input, start};

use super::landscape::Landscape;
use crate::config::{CheckConfig, Subject, Url};
use crate::http;

/// This program, whatever became of the file that it was started from.
const OURSELVES: &str = "/proc/self/exe";

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Good,
    Bad,
    Waiting,
}

#[derive(Debug)]
enum Running {
    Child(Started),
    Tcp(OwnedFd),
    Http { socket: OwnedFd, request: Vec<u8>, sent: usize, answer: Vec<u8> },
}

/// A check of an instance, and its attempt under way.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) config: CheckConfig,
    pub(super) instance: String,
    running: Option<Running>,
    /// A child that was killed and has not ended yet. There is no next attempt before it has, so
    /// that a script which hangs in the kernel does not become a crowd.
    dying: Option<Started>,
}

impl Probe {
    pub(super) fn new(instance: &str, config: CheckConfig) -> Self {
        Self { config, instance: instance.to_owned(), running: None, dying: None }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether it starts programs.
    pub(super) fn starts_programs(&self) -> bool {
        match &self.config.subject {
            Subject::Command(_) => true,
            Subject::Http { url, .. } => url.tls,
            _ => false,
        }
    }

    /// The descriptor to wait for, if the attempt has one.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self.running.as_ref()? {
            Running::Child(_) => None,
            Running::Tcp(socket) | Running::Http { socket, .. } => Some(socket.as_fd()),
        }
    }

    /// Starts an attempt. Files and carrier are known at once.
    pub(super) fn start(&mut self, landscape: &Landscape) -> Progress {
        self.bury();
        if self.dying.is_some() {
            return Progress::Bad;
        }
        let started = match &self.config.subject {
            Subject::File(path) => return truth(std::fs::metadata(path).is_ok()),
            Subject::Carrier(interface) => return truth(landscape.is_up(interface)),
            Subject::Command(command) => run(command).map(Running::Child),
            Subject::Tcp(address) => begin_connect(*address).map(Running::Tcp),
            Subject::Http { url, insecure, authorities } if url.tls => {
                let mut command = vec![OURSELVES.to_owned(), "probe".to_owned(), url.to_string()];
                if *insecure {
                    command.push("--insecure".to_owned());
                } else if let Some(path) = authorities {
                    command.extend(["--ca".to_owned(), path.display().to_string()]);
                }
                run(&command).map(Running::Child)
            }
            Subject::Http { url, .. } => begin_http(url),
        };
        match started {
            Ok(running) => {
                self.running = Some(running);
                Progress::Waiting
            }
            Err(_) => Progress::Bad,
        }
    }

    /// Goes on after the descriptor became ready, or a child ended.
    pub(super) fn go_on(&mut self) -> Progress {
        let progress = match &mut self.running {
            None => return Progress::Waiting,
            Some(Running::Child(child)) => end_of(child),
            Some(Running::Tcp(socket)) => connected(socket),
            Some(Running::Http { socket, request, sent, answer }) => {
                go_on_with_http(socket, request, sent, answer)
            }
        };
        if progress != Progress::Waiting {
            self.running = None;
        }
        progress
    }

    /// Ends the attempt; a child is killed with whatever it started.
    pub(super) fn abandon(&mut self) {
        if let Some(Running::Child(child)) = self.running.take() {
            // It leads its group, unless it hasn't come so far.
            let _ = kill_process_group(child.pid, Signal::KILL);
            let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
            self.dying = Some(child);
            self.bury();
        }
    }

    /// Takes note of a killed child's end.
    pub(super) fn bury(&mut self) {
        self.dying.take_if(|child| end_of(child) != Progress::Waiting);
    }
}

fn truth(good: bool) -> Progress {
    if good { Progress::Good } else { Progress::Bad }
}

/// Starts a program in a session of its own, so that a timeout ends what a script has started, too.
fn run(command: &[String]) -> io::Result<Started> {
    let command: Result<Vec<CString>, _> =
        command.iter().map(|word| CString::new(word.as_str())).collect();
    let variable = |(name, value): (OsString, OsString)| {
        CString::new([name.into_vec(), value.into_vec()].join(&b'=')).ok()
    };
    let environment: Vec<CString> = std::env::vars_os().filter_map(variable).collect();
    let nothing = no_input()?;
    start(&Program {
        command: &command?,
        environment: &environment,
        working_directory: c".",
        directories: &[],
        input: nothing.as_fd(),
        output: nothing.as_fd(),
        cgroup: None,
        identity: None,
        limits: &[],
        oom_score: None,
        realtime_priority: None,
    })
}

/// Whether a child has ended, and how.
fn end_of(child: &Started) -> Progress {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match waitid(WaitId::PidFd(child.pidfd.as_fd()), options) {
        Ok(None) => Progress::Waiting,
        Ok(Some(status)) => truth(status.exit_status() == Some(0)),
        Err(_) => Progress::Bad,
    }
}

fn begin_connect(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

fn begin_http(url: &Url) -> io::Result<Running> {
    let host = if url.host == "localhost" {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else {
        url.host.parse().map_err(|_| io::ErrorKind::InvalidInput)?
    };
    let socket = begin_connect(SocketAddr::new(host, url.port))?;
    let request = http::request(url);
    Ok(Running::Http { socket, request, sent: 0, answer: Vec::new() })
}

/// Whether somebody is at the other end. A connection from a free port to itself succeeds without
/// anybody listening, and would count as a good look at a service that is down.
fn connected(socket: &OwnedFd) -> Progress {
    let ours: Option<SocketAddrAny> = getsockname(socket).ok();
    let another = || matches!(getpeername(socket), Ok(Some(it)) if Some(&it) != ours.as_ref());
    match sockopt::socket_error(socket) {
        Ok(Ok(())) if another() => Progress::Good,
        _ => Progress::Bad,
    }
}

fn go_on_with_http(
    socket: &OwnedFd,
    request: &[u8],
    sent: &mut usize,
    answer: &mut Vec<u8>,
) -> Progress {
    if connected(socket) == Progress::Bad {
        return Progress::Bad;
    }
    while let Some(rest) = request.get(*sent..).filter(|rest| !rest.is_empty()) {
        match send(socket, rest, SendFlags::NOSIGNAL) {
            Ok(count) => *sent += count,
            Err(rustix::io::Errno::AGAIN) => return Progress::Waiting,
            Err(_) => return Progress::Bad,
        }
    }
    let mut part = [0; http::STATUS_BYTES_MAX];
    match recv(socket, &mut part[..], RecvFlags::empty()) {
        Ok((0, _)) => Progress::Bad,
        Ok((count, _)) => {
            answer.extend(part.iter().take(count));
            match http::judge(answer) {
                Some(good) => truth(good),
                None if answer.len() >= http::STATUS_BYTES_MAX => Progress::Bad,
                None => Progress::Waiting,
            }
        }
        Err(rustix::io::Errno::AGAIN) => Progress::Waiting,
        Err(_) => Progress::Bad,
    }
}
