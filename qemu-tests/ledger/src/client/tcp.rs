//! Whether anybody answers at an address: a new connection each time, as a new client would make.

use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::timed::Timed;
use super::{Answer, Request, Service};
use crate::history::Outcome;

/// A node's name is short; whoever says more is no test service.
const NAME_BYTES_MAX: u64 = 64;

/// What counts as an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// The connection is accepted.
    #[default]
    Accepted,
    /// It is accepted or refused: either way somebody has the address.
    Anybody,
    /// It is accepted, and the first line that comes is the name of the node.
    Name,
}

/// The address that is asked.
#[derive(Clone, Copy, Debug)]
pub struct Tcp {
    /// Where.
    pub address: SocketAddr,
    /// What counts.
    pub wanted: Wanted,
    /// For how long.
    pub limit: Duration,
}

impl Tcp {
    fn ask(&self) -> io::Result<Option<String>> {
        let stream = Timed::connect(self.address, self.limit)?;
        if self.wanted != Wanted::Name {
            return Ok(None);
        }
        let mut name = String::new();
        BufReader::new(stream.take(NAME_BYTES_MAX)).read_line(&mut name)?;
        let name = name.trim().to_owned();
        if name.is_empty() {
            return Err(io::Error::other("no name was said"));
        }
        Ok(Some(name))
    }
}

impl Service for Tcp {
    fn perform(&mut self, request: Request) -> Answer {
        if request != Request::Ping {
            return Answer::new(Outcome::Fail, "an address can only be pinged");
        }
        match self.ask() {
            Ok(node) => Answer { node, ..Answer::new(Outcome::Ok, "") },
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused if self.wanted == Wanted::Anybody => {
                    Answer::new(Outcome::Ok, "refused")
                }
                io::ErrorKind::TimedOut => {
                    let limit = self.limit.as_millis();
                    Answer::new(Outcome::Info, format!("no answer within {limit} ms"))
                }
                _ => Answer::new(Outcome::Fail, error.to_string()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[test]
    fn who_accepts_answers_and_may_say_its_name() {
        let (listener, address) = listener();
        let accepted = Tcp { address, wanted: Wanted::Accepted, limit: LIMIT };
        assert_eq!(accepted.clone().perform(Request::Ping).outcome, Outcome::Ok);
        let mut named = Tcp { wanted: Wanted::Name, limit: Duration::from_secs(20), ..accepted };
        let answer = thread::scope(|scope| {
            scope.spawn(|| {
                let _first = listener.accept().unwrap();
                listener.accept().unwrap().0.write_all(b"node2\nrest").unwrap();
            });
            named.perform(Request::Ping)
        });
        assert_eq!((answer.outcome, answer.node.as_deref()), (Outcome::Ok, Some("node2")));
    }

    #[test]
    fn a_closed_port_fails_unless_anybody_will_do() {
        let (listener, address) = listener();
        drop(listener);
        let mut tcp = Tcp { address, wanted: Wanted::Accepted, limit: LIMIT };
        assert_eq!(tcp.perform(Request::Ping).outcome, Outcome::Fail);
        tcp.wanted = Wanted::Anybody;
        assert_eq!(tcp.perform(Request::Ping).outcome, Outcome::Ok);
    }

    #[test]
    fn silence_is_unknown_and_ends_in_time() {
        let (_listener, address) = listener();
        let mut tcp = Tcp { address, wanted: Wanted::Name, limit: LIMIT };
        let answer = tcp.perform(Request::Ping);
        assert_eq!((answer.outcome, &*answer.note), (Outcome::Info, "no answer within 100 ms"));
    }
}
