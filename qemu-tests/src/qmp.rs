//! QEMU's control protocol: commands with their answers, and the events in between with their times.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thiserror::Error;

const POLL: Duration = Duration::from_millis(10);
/// QEMU opens its control socket before the guest runs its first instruction.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Saving a guest to a file is the longest that is ever asked for in one command.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug, Error)]
pub enum QmpError {
    #[error("QEMU's control socket: {0}")]
    Socket(io::Error),
    #[error("QEMU ended before it could be controlled: {0}")]
    Ended(std::process::ExitStatus),
    #[error("QEMU refused {command}: {answer}")]
    Refused { command: String, answer: String },
    #[error("QEMU did not answer {command} within {ANSWER_LIMIT:?}; is its process stopped?")]
    Silent { command: String },
    #[error("QEMU ended during {command}")]
    Gone { command: String },
}

/// Something that QEMU told by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Since the run's beginning.
    pub at: Duration,
    pub name: String,
    pub data: Value,
}

/// What the QEMUs of a machine told by themselves, from one start to the next. Clones are the same.
#[derive(Clone, Debug)]
pub struct Events {
    told: Arc<Mutex<Vec<Event>>>,
    origin: Instant,
}

impl Events {
    /// Nothing yet; times count from a beginning that others share.
    pub fn since(origin: Instant) -> Self {
        Self { told: Arc::default(), origin }
    }

    /// What was told so far.
    pub fn all(&self) -> Vec<Event> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, name: &str, data: Value) {
        let event = Event { at: self.origin.elapsed(), name: name.to_owned(), data };
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

/// The way to one QEMU.
#[derive(Debug)]
pub struct Control {
    writer: UnixStream,
    answers: Receiver<Value>,
}

impl Control {
    /// Connects to a QEMU that was just started. What it tells by itself is added to `events`.
    pub fn connect(socket: &Path, child: &mut Child, events: &Events) -> Result<Self, QmpError> {
        let writer = wait_for_socket(socket, child)?;
        let reader = writer.try_clone().map_err(QmpError::Socket)?;
        let (sender, answers) = mpsc::channel();
        let events = events.clone();
        // It ends with QEMU's end of the socket.
        thread::spawn(move || read(reader, &sender, &events));
        let mut control = Self { writer, answers };
        control.ask("qmp_capabilities", &json!({}))?;
        Ok(control)
    }

    /// Sends a command and waits for its answer.
    pub fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value, QmpError> {
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        self.writer.write_all(line.as_bytes()).map_err(QmpError::Socket)?;
        let command = command.to_owned();
        match self.answers.recv_timeout(ANSWER_LIMIT) {
            Ok(answer) => match answer.get("return") {
                Some(result) => Ok(result.clone()),
                None => Err(QmpError::Refused { command, answer: answer.to_string() }),
            },
            Err(RecvTimeoutError::Timeout) => Err(QmpError::Silent { command }),
            Err(RecvTimeoutError::Disconnected) => Err(QmpError::Gone { command }),
        }
    }
}

fn wait_for_socket(socket: &Path, child: &mut Child) -> Result<UnixStream, QmpError> {
    let deadline = Instant::now() + CONNECT_LIMIT;
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => return Err(QmpError::Socket(error)),
            Err(_) => {}
        }
        if let Some(status) = child.try_wait().map_err(QmpError::Socket)? {
            return Err(QmpError::Ended(status));
        }
        thread::sleep(POLL);
    }
}

fn read(from: UnixStream, answers: &Sender<Value>, events: &Events) {
    for line in BufReader::new(from).lines() {
        let Ok(line) = line else { return };
        let value: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(name) = value.get("event").and_then(Value::as_str) {
            let data = value.get("data").cloned().unwrap_or_default();
            events.add(name, data);
        } else if value.get("QMP").is_none() && answers.send(value).is_err() {
            return;
        }
    }
}
