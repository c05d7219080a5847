//! A power switch as sites have them on their network: `GET /off/NAME` cuts an outlet and is answered
//! when it is off. Here the rig cuts it, and says so; until then whoever asked waits.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// Where fence commands find it.
pub const PORT: u16 = 8000;
const OFF: &str = "GET /off/";
/// No request of a fence command is longer.
const REQUEST_BYTES_MAX: u64 = 4096;
const DONE: &str = "HTTP/1.0 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\noff\n";
const UNKNOWN: &str = "HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Outlets that somebody asked to cut, and whether they are.
#[derive(Debug, Default)]
struct Outlets {
    asked: Mutex<BTreeMap<String, bool>>,
    changed: Condvar,
}

/// The switch, for as long as its guest runs.
#[derive(Debug)]
pub struct PowerSwitch {
    outlets: Arc<Outlets>,
}

impl PowerSwitch {
    /// Listens on all addresses of both families.
    pub fn plug_in() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT))?;
        let outlets = Arc::<Outlets>::default();
        let of_thread = Arc::clone(&outlets);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let outlets = Arc::clone(&of_thread);
                // Whoever hangs up gets no answer, and needs none.
                thread::spawn(move || drop(serve(&stream, &outlets)));
            }
        });
        Ok(Self { outlets })
    }

    /// The outlets that somebody asked to cut since the switch was plugged in.
    pub fn asked(&self) -> Vec<String> {
        let asked = self.outlets.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.keys().cloned().collect()
    }

    /// The outlet is off: whoever asked is told.
    pub fn confirm(&self, outlet: String) {
        let mut asked = self.outlets.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.insert(outlet, true);
        self.outlets.changed.notify_all();
    }
}

fn serve(stream: &TcpStream, outlets: &Outlets) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(stream.take(REQUEST_BYTES_MAX)).read_line(&mut line)?;
    let mut stream = stream;
    let Some(outlet) = outlet_of(&line) else { return stream.write_all(UNKNOWN.as_bytes()) };
    let mut asked = outlets.asked.lock().unwrap_or_else(PoisonError::into_inner);
    asked.entry(outlet.to_owned()).or_insert(false);
    while asked.get(outlet) != Some(&true) {
        asked = outlets.changed.wait(asked).unwrap_or_else(PoisonError::into_inner);
    }
    drop(asked);
    stream.write_all(DONE.as_bytes())
}

/// The outlet that a request line names.
fn outlet_of(line: &str) -> Option<&str> {
    let (outlet, _version) = line.strip_prefix(OFF)?.split_once(' ')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (!outlet.is_empty() && outlet.chars().all(plain)).then_some(outlet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_outlet_can_be_asked_for() {
        assert_eq!(outlet_of("GET /off/node1 HTTP/1.1\r\n"), Some("node1"));
        assert_eq!(outlet_of("GET /off/ HTTP/1.1"), None);
        assert_eq!(outlet_of("GET /on/node1 HTTP/1.1"), None);
        assert_eq!(outlet_of("GET /off/../x HTTP/1.1"), None);
        assert_eq!(outlet_of(""), None);
    }
}
