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

/// The way to one QEMU.
#[derive(Debug)]
pub struct Control {
    writer: UnixStream,
    answers: Receiver<Value>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Control {
    /// Connects to a QEMU that was just started. Times of events count from `origin`.
    pub fn connect(socket: &Path, child: &mut Child, origin: Instant) -> Result<Self, QmpError> {
        let writer = wait_for_socket(socket, child)?;
        let reader = writer.try_clone().map_err(QmpError::Socket)?;
        let (sender, answers) = mpsc::channel();
        let events = Arc::default();
        let of_reader = Arc::clone(&events);
        // It ends with QEMU's end of the socket.
        thread::spawn(move || read(reader, &sender, &of_reader, origin));
        let mut control = Self { writer, answers, events };
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

    /// What QEMU told by itself so far.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

fn read(from: UnixStream, answers: &Sender<Value>, events: &Mutex<Vec<Event>>, origin: Instant) {
    for line in BufReader::new(from).lines() {
        let Ok(line) = line else { return };
        let value: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(name) = value.get("event").and_then(Value::as_str) {
            let data = value.get("data").cloned().unwrap_or_default();
            let event = Event { at: origin.elapsed(), name: name.to_owned(), data };
            events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        } else if value.get("QMP").is_none() && answers.send(value).is_err() {
            return;
        }
    }
}
