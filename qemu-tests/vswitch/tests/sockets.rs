//! The switch as QEMU sees it: unix sockets, streams, and an end that leaves nothing behind.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use vswitch::framing::{self, Unpacker};
use vswitch::rule::{Effect, Port, Rule};
use vswitch::server::{Plan, Server};

const LIMIT: Duration = Duration::from_secs(20);

/// The guest's end of a cable.
struct Guest {
    stream: UnixStream,
    unpacker: Unpacker,
}

impl Guest {
    fn plug_in(server: &Server, port: usize) -> Self {
        let path = server.socket(Port(port)).expect("a port");
        let stream = UnixStream::connect(path).expect("connected");
        stream.set_read_timeout(Some(LIMIT)).expect("set");
        Self { stream, unpacker: Unpacker::default() }
    }

    fn send(&mut self, frame: &[u8]) {
        let mut bytes = Vec::new();
        framing::pack(frame, &mut bytes);
        self.stream.write_all(&bytes).expect("written");
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = self.unpacker.take().expect("a stream") {
                return frame.to_vec();
            }
            let count = self.stream.read(&mut buffer).expect("something within the limit");
            assert!(count > 0, "the switch closed the cable");
            self.unpacker.feed(&buffer[..count]);
        }
    }
}

fn frame(to: u8, from: u8, mark: u8) -> Vec<u8> {
    let mut bytes = vec![0x52, 0, 0, 0, 0, to, 0x52, 0, 0, 0, 0, from, 0x88, 0xb5];
    bytes.extend([mark; 50]);
    bytes
}

fn server(folder: &tempfile::TempDir) -> Server {
    let plan = Plan {
        folder: folder.path().to_owned(),
        ports: ["one", "two", "three"].map(str::to_owned).to_vec(),
        seed: 1,
        capture: Some(folder.path().join("wire.pcapng")),
        origin: Instant::now(),
    };
    Server::start(&plan).expect("started")
}

#[test]
fn frames_pass_faults_bite_and_the_end_is_clean() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(&folder);
    let mut one = Guest::plug_in(&server, 0);
    let mut two = Guest::plug_in(&server, 1);
    // Each hears the other once, whichever cable is noticed first.
    two.send(&frame(1, 2, 0));
    assert_eq!(one.receive(), frame(1, 2, 0));
    one.send(&frame(2, 1, 1));
    assert_eq!(two.receive(), frame(2, 1, 1));

    let hold = server.add(Rule::one_way(Port(0), Port(1), Effect::Hold));
    one.send(&frame(2, 1, 2));
    let deadline = Instant::now() + LIMIT;
    while server.taken(hold) == 0 {
        assert!(Instant::now() < deadline, "the hold took nothing");
        std::thread::yield_now();
    }
    assert_eq!(server.remove(hold), 1);
    assert_eq!(two.receive(), frame(2, 1, 2), "what was held comes at once");

    let socket = server.socket(Port(0)).expect("a port").to_owned();
    server.stop().expect("stopped");
    assert!(!socket.exists());
    let capture = std::fs::read(folder.path().join("wire.pcapng")).expect("a capture");
    assert!(capture.windows(4).any(|bytes| bytes == b"held"), "faults are in the capture");
}

#[test]
fn a_guest_that_talks_nonsense_is_unplugged_and_others_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(&folder);
    let mut bad = Guest::plug_in(&server, 2);
    bad.stream.write_all(&[0xff; 64]).expect("written");
    let mut buffer = [0; 16];
    let ended = bad.stream.read(&mut buffer);
    let closed = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset;
    assert!(matches!(&ended, Ok(0)) || ended.as_ref().is_err_and(closed), "{ended:?}");
    let mut one = Guest::plug_in(&server, 0);
    let mut again = Guest::plug_in(&server, 2);
    again.send(&frame(1, 3, 4));
    assert_eq!(one.receive(), frame(1, 3, 4));
}
