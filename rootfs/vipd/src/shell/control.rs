//! The control socket: one word in, one answer out, and the connection is closed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::permits::{make_folder, remove};

/// The name of the lock. Abstract sockets belong to a network namespace, as addresses do.
const LOCK: &[u8] = b"edgepair-vipd";
/// For root, and for our own group where whoever starts us gives us one: it may look, and no word
/// here changes anything.
const MODE: u32 = 0o660;
/// Askers at a time; more wait in the kernel's queue or are refused there.
const CLIENTS_MAX: usize = 8;
/// The longest question, with its line end.
const QUESTION_BYTES_MAX: usize = 16;
/// An asker that does not come to the point is not waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How long `vipd status` waits for its answer.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    Status,
    StatusJson,
    Metrics,
}

const WORDS: [(&str, Question); 3] = [
    ("status\n", Question::Status),
    ("json\n", Question::StatusJson),
    ("metrics\n", Question::Metrics),
];

/// Asks a running `vipd`.
pub fn ask(path: &Path, question: Question) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    let word = WORDS.iter().find(|(_, known)| *known == question).map_or("", |(word, _)| word);
    stream.write_all(word.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Held while this `vipd` is the only one of its network namespace: another one would take its
/// addresses for what a killed predecessor has left behind.
#[derive(Debug)]
pub(super) struct Lock {
    _socket: UnixListener,
}

impl Lock {
    pub(super) fn take() -> io::Result<Self> {
        let name = SocketAddr::from_abstract_name(LOCK)?;
        Ok(Self { _socket: UnixListener::bind_addr(&name)? })
    }
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    since: Duration,
    question: Vec<u8>,
    answer: Vec<u8>,
    sent: usize,
}

/// What became of an asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The question is whole; call `answer`.
    Asked(Question),
    Waiting,
    /// The connection is closed.
    Done,
}

/// The listening socket and those who ask.
#[derive(Debug)]
pub(super) struct Control {
    listener: UnixListener,
    clients: BTreeMap<usize, Client>,
    path: PathBuf,
}

impl Control {
    /// Listens; what a predecessor left at the path is removed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        make_folder(path)?;
        remove(path)?;
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, clients: BTreeMap::new(), path: path.to_owned() })
    }

    pub(super) fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Takes the next asker; its number and descriptor.
    pub(super) fn accept(&mut self, now: Duration) -> Option<(usize, BorrowedFd<'_>)> {
        self.clients.retain(|_, client| now < client.since.saturating_add(PATIENCE));
        let (stream, _) = self.listener.accept().ok()?;
        let number = (0..CLIENTS_MAX).find(|number| !self.clients.contains_key(number))?;
        stream.set_nonblocking(true).ok()?;
        let client =
            Client { stream, since: now, question: Vec::new(), answer: Vec::new(), sent: 0 };
        let client = self.clients.entry(number).or_insert(client);
        Some((number, client.stream.as_fd()))
    }

    /// Goes on with an asker whose descriptor became ready.
    pub(super) fn go_on(&mut self, number: usize) -> Step {
        let Some(client) = self.clients.get_mut(&number) else { return Step::Done };
        let step = if client.answer.is_empty() { client.read() } else { client.write() };
        if step == Step::Done {
            self.clients.remove(&number);
        }
        step
    }

    /// The answer to the question that `go_on` found; the descriptor, if it has to wait.
    pub(super) fn answer(&mut self, number: usize, answer: String) -> Option<BorrowedFd<'_>> {
        let client = self.clients.get_mut(&number)?;
        client.answer = answer.into_bytes();
        if client.write() == Step::Done {
            self.clients.remove(&number);
            return None;
        }
        self.clients.get(&number).map(|client| client.stream.as_fd())
    }

    /// Forgets those whose patience ours is not; says whether any are left.
    pub(super) fn expire(&mut self, now: Duration) {
        self.clients.retain(|_, client| now < client.since.saturating_add(PATIENCE));
    }
}

impl Client {
    fn read(&mut self) -> Step {
        let mut part = [0; QUESTION_BYTES_MAX];
        match self.stream.read(&mut part) {
            Ok(0) => return Step::Done,
            Ok(count) => self.question.extend(part.iter().take(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Waiting,
            Err(_) => return Step::Done,
        }
        let known = WORDS.iter().find(|(word, _)| word.as_bytes() == self.question);
        match known {
            Some((_, question)) => Step::Asked(*question),
            None if self.question.len() >= QUESTION_BYTES_MAX || self.question.ends_with(b"\n") => {
                Step::Done
            }
            None => Step::Waiting,
        }
    }

    fn write(&mut self) -> Step {
        while let Some(rest) = self.answer.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Waiting,
                Err(_) => return Step::Done,
            }
        }
        Step::Done
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = remove(&self.path);
    }
}
