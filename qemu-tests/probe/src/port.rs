//! The port to the rig: found by its name, read and written line by line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use thiserror::Error;

use crate::place;
use crate::words::PORT;

/// The driver makes the port a moment after it was loaded; emulated processors are slow.
const FIND_LIMIT: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// No question is longer: it may hold a few certificates.
const LINE_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Error)]
pub enum PortError {
    #[error("no virtio-serial port is called {PORT:?}, after {FIND_LIMIT:?}")]
    NotFound,
    #[error("{}: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("reading the port: {0}")]
    Read(io::Error),
    #[error("a line of more than {LINE_BYTES_MAX} bytes")]
    TooLong,
}

/// What the probe says goes through here, from any thread, a whole line at a time.
#[derive(Clone, Debug)]
pub struct Speaker(Arc<Mutex<File>>);

/// The lines that come in.
#[derive(Debug)]
pub struct Listener {
    file: File,
    pending: Vec<u8>,
}

/// Waits for the port and opens it.
pub fn open() -> Result<(Speaker, Listener), PortError> {
    let path = find()?;
    let fail = |source| PortError::Open { path: path.clone(), source };
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(fail)?;
    let speaker = Speaker(Arc::new(Mutex::new(file.try_clone().map_err(fail)?)));
    Ok((speaker, Listener { file, pending: Vec::new() }))
}

fn find() -> Result<PathBuf, PortError> {
    let deadline = Instant::now() + FIND_LIMIT;
    while Instant::now() < deadline {
        for entry in fs::read_dir(place::path("sys/class/virtio-ports")).into_iter().flatten() {
            let Ok(entry) = entry else { continue };
            let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            if name.trim_end() == PORT {
                return Ok(place::path("dev").join(entry.file_name()));
            }
        }
        thread::sleep(LOOK_AGAIN);
    }
    Err(PortError::NotFound)
}

impl Speaker {
    /// Ends whatever an earlier start of this guest was in the middle of saying: after a reset the
    /// other end is still the same.
    pub fn begin(&self) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _unheard = file.write_all(b"\n");
    }

    /// Says one thing. If nobody listens any more, there is nobody to tell about it either.
    pub fn say(&self, word: &impl Serialize) {
        let Ok(mut line) = serde_json::to_vec(word) else { return };
        line.push(b'\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _unheard = file.write_all(&line);
    }
}

impl Listener {
    /// The next line.
    pub fn line(&mut self) -> Result<Vec<u8>, PortError> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.pending.drain(..=end).collect();
                line.pop();
                return Ok(line);
            }
            if self.pending.len() > LINE_BYTES_MAX {
                return Err(PortError::TooLong);
            }
            let mut part = [0; 4096];
            match self.file.read(&mut part).map_err(PortError::Read)? {
                // The rig isn't at the other end yet.
                0 => thread::sleep(LOOK_AGAIN),
                count => self.pending.extend_from_slice(part.get(..count).unwrap_or_default()),
            }
        }
    }
}
