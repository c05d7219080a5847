//! A web server of a hundred lines, for one folder, on the loopback, that can misbehave.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What goes wrong, for requests whose path contains `path`.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The connection is cut after this many bytes of the body.
    Cut { path: &'static str, bytes: usize, times: usize },
    /// This status is answered.
    Status { path: &'static str, status: u16, times: usize },
}

pub(crate) struct Server {
    address: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    root: PathBuf,
    stop: AtomicBool,
    /// Request lines, with the range that was asked for.
    log: Mutex<Vec<String>>,
    faults: Mutex<Vec<Fault>>,
}

impl Server {
    pub(crate) fn start(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            stop: AtomicBool::new(false),
            log: Mutex::default(),
            faults: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if own.stop.load(Ordering::Relaxed) {
                    return;
                }
                let own = Arc::clone(&own);
                if let Ok(stream) = stream {
                    // A client that goes away in the middle is none of the server's business.
                    std::thread::spawn(move || drop(own.answer(&stream)));
                }
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// `HOST:PORT`
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn misbehave(&self, fault: Fault) {
        self.shared.faults.lock().expect("unpoisoned").push(fault);
    }

    /// The requests since the last call.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.log.lock().expect("unpoisoned"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn answer(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        let mut target = request.split(' ').nth(1).unwrap_or("/").to_owned();
        let (mut start, mut known) = (0, None);
        for line in lines {
            let line = line?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "range" => {
                    let number = value.trim_start_matches("bytes=").trim_end_matches('-');
                    start = number.parse().expect("a range that we ask for");
                }
                "if-none-match" => known = Some(value.to_owned()),
                "proxy-authorization" => self.note(&format!("login {value}")),
                _ => {}
            }
        }
        self.note(&format!("{target} {start}"));
        // A proxy is asked for whole addresses; this one plays the other host as well.
        if let Some(rest) = target.strip_prefix("http://") {
            target = rest[rest.find('/').unwrap_or(rest.len())..].to_owned();
        }
        self.send(stream, &target, start, known.as_deref())
    }

    fn note(&self, line: &str) {
        self.log.lock().expect("unpoisoned").push(line.to_owned());
    }

    fn send(
        &self,
        mut stream: &TcpStream,
        target: &str,
        start: usize,
        known: Option<&str>,
    ) -> std::io::Result<()> {
        let fault = self.take_fault(target);
        let bytes = std::fs::read(self.root.join(target.trim_start_matches('/')));
        let tag = bytes.as_ref().map_or(String::new(), |bytes| format!("\"{}\"", bytes.len()));
        let (status, mut body) = match (fault.as_ref(), bytes) {
            (Some(Fault::Status { status, .. }), _) => (*status, Vec::new()),
            (_, Err(_)) => (404, Vec::new()),
            (_, Ok(_)) if known == Some(tag.as_str()) => (304, Vec::new()),
            (_, Ok(bytes)) if start > 0 && start >= bytes.len() => (416, Vec::new()),
            (_, Ok(bytes)) if start > 0 => (206, bytes[start..].to_vec()),
            (_, Ok(bytes)) => (200, bytes),
        };
        let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
        if status == 206 {
            let end = start + body.len();
            let _ = write!(head, "Content-Range: bytes {start}-{}/{end}\r\n", end.max(1) - 1);
        }
        if !tag.is_empty() {
            let _ = write!(head, "ETag: {tag}\r\n");
        }
        let _ = write!(head, "Content-Length: {}\r\n\r\n", body.len());
        if let Some(Fault::Cut { bytes, .. }) = fault {
            body.truncate(bytes);
        }
        stream.write_all(head.as_bytes())?;
        stream.write_all(&body)
    }

    fn take_fault(&self, target: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().expect("unpoisoned");
        faults.iter_mut().find_map(|fault| {
            let current = fault.clone();
            let (Fault::Cut { path, times, .. } | Fault::Status { path, times, .. }) = fault;
            let hit = *times > 0 && target.contains(*path);
            *times -= usize::from(hit);
            hit.then_some(current)
        })
    }
}
