//! A small HTTP server on this machine that serves files, notes what it is asked, and can fail.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

/// How an answer goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The connection ends after so many bytes of the body.
    BreakOffAfter(usize),
}

/// What somebody asked for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) range: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    faults: BTreeMap<String, (Fault, usize)>,
    requests: Vec<Request>,
}

/// The server; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct ReleaseServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ReleaseServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of this machine");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(Mutex::new(State::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&state), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { address, state, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        lock(&self.state).files.insert(path.to_owned(), bytes.to_owned());
    }

    pub(crate) fn remove(&self, path: &str) {
        lock(&self.state).files.remove(path);
    }

    /// Lets the next answers for this path go wrong.
    pub(crate) fn fail(&self, path: &str, fault: Fault, times: usize) {
        lock(&self.state).faults.insert(path.to_owned(), (fault, times));
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        lock(&self.state).requests.clone()
    }
}

impl Drop for ReleaseServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread, which waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no test panics while it holds the lock")
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut range = None;
    for line in lines {
        let line = line.ok()?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("range")
        {
            range = Some(value.trim().to_owned());
        }
    }
    Some(Request { path, range })
}

/// One request for each connection.
fn serve(mut stream: &TcpStream, state: &Mutex<State>) {
    let Some(request) = read_request(stream) else {
        return;
    };
    let (body, fault) = {
        let mut state = lock(state);
        state.requests.push(request.clone());
        let fault = state.faults.get_mut(&request.path).filter(|(_, times)| *times > 0);
        let fault = fault.map(|(fault, times)| {
            *times -= 1;
            *fault
        });
        (state.files.get(&request.path).cloned(), fault)
    };
    let Some(body) = body else {
        let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let _ = stream.write_all(answer.as_bytes());
        return;
    };
    let from = request
        .range
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let status = match from {
        Some(from) => format!(
            "206 Partial Content\r\nContent-Range: bytes {from}-{}/{}",
            body.len() - 1,
            body.len()
        ),
        None => "200 OK".to_owned(),
    };
    let rest = &body[from.unwrap_or(0).min(body.len())..];
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", rest.len());
    let sent = match fault {
        Some(Fault::BreakOffAfter(count)) => &rest[..count.min(rest.len())],
        None => rest,
    };
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(sent));
}
